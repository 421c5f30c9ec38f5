"""Previews that the cluster makes: of branches and pull requests, and of what a client hands in."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pvc_gitops.model.ids import CommitId, PlanId
from pvc_gitops.model.values import dataclass


class Outcome(StrEnum):
    """What became of a proposal."""

    PLANNED = "planned"
    INVALID = "invalid"  # its merge is no valid repository
    REFUSED = "refused"  # it does not merge, or has nothing in common with the base
    FAILED = "failed"  # the planning ended without an answer: a limit, or a fault of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What to plan. Either `head`, a commit of the proposals' mirror, or `files`, path to base64."""

    cluster: str
    base: CommitId
    head: CommitId | None
    files: Mapping[str, str] | None
    branch: str  # for people, as `onto`: the tracked branch, which the base is the head of
    onto: str
    again: str  # the command that shows the same at home
    links: str  # a file's address at the forge, with {file} and {line}; "" without one


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A planned proposal, or why it was not. `plan` is its JSON, "" where there is none."""

    outcome: Outcome
    reason: str
    problems: tuple[str, ...]
    planner_version: str
    effect: str
    exit_code: int
    status: str  # one line of at most 140 characters
    text: str
    markdown: str
    steps: tuple[str, ...]  # `vm.put vm/web1 @ hv2`, in the plan's order
    plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a forge is told of a proposal, or of a commit that was merged."""

    number: int | None  # of the pull or merge request; None: a branch, which has a status only
    commit: CommitId
    marker: str  # by which our comment is found again
    comment: str
    context: str  # pvc/plan (prod), pvc/apply (prod)
    is_good: bool
    status: str
    is_open: bool = False  # it is not over yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What stands in the store of one proposal: `/pvc/previews/<ref>`."""

    ref: str
    head: CommitId
    base: CommitId
    target: PlanId | None  # in force while it was planned
    made_at_s: int
    outcome: Outcome
    reason: str
    problems: tuple[str, ...]
    planner_version: str
    effect: str
    exit_code: int
    status: str
    text: str
    markdown: str
    steps: tuple[str, ...]  # at most STEPS_KEPT
    steps_total: int
    told: str = ""  # why the forge could not be told; "" where it was, or is not to be
    version: int = 0

    def is_of(self, head: CommitId, base: CommitId, target: PlanId | None, planner: str) -> bool:
        """Would making it again say the same, but for what nodes reported since?"""
        mine = (self.head, self.base, self.target, self.planner_version)
        return mine == (head, base, target, planner)
