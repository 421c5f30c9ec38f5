"""What the leading planner keeps about its own course: what it holds back and why, how often it
published and tried again, and which commits a rollback has put aside (DESIGN D11, section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pvc_gitops.model.ids import Address, CommitId, PlanId
from pvc_gitops.model.values import dataclass


class Obstacle(StrEnum):
    """Why a plan that would do something is not published."""

    HALTED = "halted"  # by an operator: no further step begins, the target stays
    FROZEN = "frozen"  # by an operator: no new target
    RUNAWAY = "runaway"  # too many plans in an hour that nobody asked for
    OSCILLATION = "oscillation"  # it would do again what was done and undone
    APPROVAL = "approval"  # `apply.mode: manual`
    GIVEN_UP = "given-up"  # its steps failed too often; nothing is tried again by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """`/pvc/withheld`: stands as long as the leader holds something back."""

    obstacle: Obstacle
    commit: CommitId  # what would be put in force
    effect: str  # of the plan that is held back; "" where none was made
    text: str  # why, and what it would do
    remedy: str  # the command that lets it go
    since_s: int
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """What a plan does to one address, by the digests of its spec; "" is nothing."""

    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A plan that became the target."""

    at_s: int
    commit: CommitId
    effect: str
    is_wanted: bool  # a commit or a person caused it, not the planner by itself
    flips: Mapping[Address, Flip]


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """The planner stopped itself; a new commit or `pvc retry` lets it go on."""

    obstacle: Obstacle  # RUNAWAY or OSCILLATION
    commit: CommitId
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """`/pvc/pace`: changed in the transaction of what it counts, so that no leader counts anew."""

    published: tuple[Published, ...] = ()  # of the last hour, the oldest first
    tried: CommitId | None = None  # whose failed steps were tried again
    times: int = 0  # how often
    brake: Brake | None = None
    allowed: tuple[PlanId, ...] = ()  # plans of the commit in force that it, or an approval, let go
    converged: CommitId | None = None  # the last commit of which nothing was left to do
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """An accepted commit that a rollback has put aside, and the accepted one before it: what it changed
    is the difference of the two."""

    commit: CommitId
    before: CommitId
    subject: str
    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """`/pvc/source/quarantined`: what is in force instead of the accepted head, and until when.

    It ends when the accepted head holds none of the changes of `commits` any more, or when the last of
    them is released by word. Ancestry has no part in it.
    """

    commit: CommitId  # in force
    commits: tuple[Quarantined, ...]  # the oldest first
    by: str
    reason: str
    at_s: int
    version: int = 0
