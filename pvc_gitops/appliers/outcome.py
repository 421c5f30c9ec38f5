"""What the three functions of an applier have in common (STYLE B.8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from pvc_gitops.model.plan import Step
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import World

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A step is done: what the world showed afterwards."""

    evidence: Mapping[str, str]


class Writes(StrEnum):
    """When the applied record of a step comes into force."""

    FIRST = "first"  # with the claim: others realise what it says, the step waits for that
    LAST = "last"  # with the result: the step has made it true
    DROP = "drop"  # with the result: the record goes away
    KEEP = "keep"  # with the result, and the guest's placement goes away
    MOVE = "move"  # with the claim, out of its old address: never two records of one object
    NEVER = "never"  # the step has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Applier:
    """How one operation is carried out.

    `check` may read and refuses with PrereqError; nothing was touched then. `run` may be called any
    number of times: it finishes what an interrupted call began, and returns None as long as what it
    waits for has not come true. A long one runs off the deciding thread, once at a time.
    """

    check: Callable[[Step, World], None]
    run: Callable[[Step, World, Progress], Outcome | None]
    writes: Writes
    is_long: bool


def unchecked(step: Step, world: World) -> None:
    """For operations whose claim checks all there is to check."""
    del step, world
