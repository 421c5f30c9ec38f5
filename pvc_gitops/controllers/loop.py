"""The loop of a process: tick, survive what a tick raises, give up after too many in a row.

The only broad `except` of the code base (STYLE B.5.5). A round that raises leaves the memory as it
was; systemd starts a process anew whose memory is at fault.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from pvc_gitops.errors import InvariantViolation
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import World

M = TypeVar("M")

FAILURES_MAX: Final = 10  # in a row; with the back-off below that is about a minute
PAUSE_FIRST_S: Final = 0.5
PAUSE_MAX_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round(Generic[M]):
    """What a round left: the memory, and after how long the next one is due at the latest."""

    memory: M
    failures: int
    pause_s: float

    @property
    def must_exit(self) -> bool:
        return self.failures >= FAILURES_MAX


def play(
    world: World,
    before: Round[M],
    tick: Callable[[World, M], M],
    due_at_s: Callable[[M], float],
) -> Round[M]:
    """One round.

    Args:
        world: what the tick may touch.
        before: what the round before left.
        tick: the controller.
        due_at_s: when a memory says its next tick is due, on `world.clock.monotonic_s`.

    Raises:
        InvariantViolation: a bug that must end the process at once.
    """
    try:
        memory = tick(world, before.memory)
    except InvariantViolation:
        raise
    except Exception as error:  # noqa: BLE001  the one place: everything else is a bug to survive
        failures = before.failures + 1
        last = traceback.extract_tb(error.__traceback__)[-1]
        world.journal.event(
            "tick_failed",
            error=f"{type(error).__name__}: {error}",
            at=f"{last.filename}:{last.lineno}",
            failures=failures,
        )
        return Round(memory=before.memory, failures=failures, pause_s=pause_s(failures))
    rest_s = max(0.0, due_at_s(memory) - world.clock.monotonic_s())
    return Round(memory=memory, failures=0, pause_s=rest_s)


def pause_s(failures: int) -> float:
    """0.5, 1, 2 … up to 10 s."""
    return float(min(PAUSE_MAX_S, PAUSE_FIRST_S * 2 ** (failures - 1)))
