"""A proposal's files to an answer: what a node's child process computes. Pure.

Whatever the proposal holds, this returns; that it returns in time and in memory is its caller's care.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pvc_gitops.controllers.source import sentences
from pvc_gitops.errors import SpecError
from pvc_gitops.model.export import Export
from pvc_gitops.model.ids import Address, CommitId
from pvc_gitops.model.preview import Answer, Ask, Outcome
from pvc_gitops.model.problem import Problem
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.codec import plan_to_bytes
from pvc_gitops.planner.markdown import STATUS_MAX, Setting, markdown, refused, status_line
from pvc_gitops.planner.planner import PLANNER_VERSION, exit_code
from pvc_gitops.planner.preview import preview
from pvc_gitops.planner.render import text
from pvc_gitops.spec.load import load

_TEXT_MAX: Final = 64 * 1024  # of a record; whoever wants all plans at home
_DIGITS: Final = 7
_ERROR: Final = 1


def planned(
    ask: Ask,
    inputs: Export,
    files: Mapping[str, bytes],
    base_files: Mapping[str, bytes],
    *,
    commit: CommitId | None,
    found: Iterable[Problem] = (),
) -> Answer:
    """Plan the merge.

    Args:
        ask: what is asked, and how it is spoken of.
        inputs: the cluster now, with the policy of its accepted commit.
        files: of the merge.
        base_files: of the base.
        commit: what the merge is, where it is a commit.
        found: what must not lie in the merge.
    """
    base = load(base_files, commit=ask.base)
    try:
        proposed = load(files, commit=commit)
        bad = tuple(found)
    except SpecError as error:
        bad = tuple(sorted({*found, *error.problems}))
    if bad:
        return invalid(ask, bad)
    proposal = preview(proposed, base, inputs.inventory, inputs.policy)
    wrong = problems(proposal.plan, inputs.inventory)
    if wrong:
        return unplanned(ask, Outcome.FAILED, f"the verifier refuses the plan: {wrong[0]}")
    plan = proposal.plan
    setting = _setting(ask, proposal.already)
    return Answer(
        outcome=Outcome.PLANNED,
        reason="",
        problems=(),
        planner_version=PLANNER_VERSION,
        effect=plan.effect,
        exit_code=exit_code(plan),
        status=status_line(plan.summary),
        text=_cut(text(plan, already=proposal.already)),
        markdown=markdown(plan, setting),
        steps=tuple(f"{step.id} @ {step.node}" for step in plan.steps),
        plan=plan_to_bytes(plan).decode(),
    )


def invalid(ask: Ask, found: tuple[Problem, ...]) -> Answer:
    """The merge is no valid repository."""
    told = sentences(found)
    count = len(found)
    return _without_plan(
        Outcome.INVALID,
        f"{count} problem{'s' if count > 1 else ''}",
        told,
        refused(found, _setting(ask)),
    )


def unplanned(ask: Ask, outcome: Outcome, reason: str) -> Answer:
    """It was not planned for a reason of its own, or of ours."""
    return _without_plan(outcome, reason, (), refused((), _setting(ask), reason))


def _without_plan(outcome: Outcome, reason: str, told: tuple[str, ...], comment: str) -> Answer:
    return Answer(
        outcome=outcome,
        reason=reason,
        problems=told,
        planner_version=PLANNER_VERSION,
        effect="",
        exit_code=_ERROR,
        status=reason[:STATUS_MAX],
        text="\n".join([f"not planned: {reason}", *(f"  {line}" for line in told)]),
        markdown=comment,
        steps=(),
        plan="",
    )


def _setting(ask: Ask, already: frozenset[Address] = frozenset()) -> Setting:
    return Setting(
        cluster=ask.cluster,
        head="your tree" if ask.head is None else ask.head[:_DIGITS],
        branch=ask.branch,
        base=ask.onto,
        base_commit=ask.base,
        by="the cluster",
        exact=f"Updated in place when the branch or `{ask.onto}` moves.",
        again=ask.again,
        links=ask.links,
        already=already,
    )


def _cut(shown: str) -> str:
    """Whole lines, and how many are missing."""
    if len(shown) <= _TEXT_MAX:
        return shown
    lines = shown.split("\n")
    tail = lines[-2:]
    room = _TEXT_MAX - sum(len(line) + 1 for line in tail) - 64
    kept: list[str] = []
    for line in lines[:-2]:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join([*kept, f"… and {len(lines) - 2 - len(kept)} more lines", *tail])
