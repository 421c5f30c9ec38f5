"""Virtual time: a queue of events, played in order. Deterministic: ties in order of scheduling."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pvc_gitops.errors import InvariantViolation

# 3 nodes make about 10 events a virtual second. A simulation that needs more than this is in a loop.
EVENTS_MAX: Final = 20_000_000
# What happens without time passing is bounded too: a process that never rests is a bug.
EVENTS_AT_ONCE_MAX: Final = 100_000


@dataclass(slots=True)
class Event:
    """Something that will happen, unless it is cancelled."""

    at_s: float
    act: Callable[[], None] | None

    def cancel(self) -> None:
        self.act = None


@dataclass(slots=True)
class Kernel:
    """The queue and the clock."""

    now_s: float = 0.0
    played: int = 0
    _seq: int = 0
    _at_once: int = 0
    _queue: list[tuple[float, int, Event]] = field(default_factory=list)

    def after(self, delay_s: float, act: Callable[[], None]) -> Event:
        """Let `act` happen `delay_s` from now."""
        event = Event(self.now_s + delay_s, act)
        self._seq += 1
        heapq.heappush(self._queue, (event.at_s, self._seq, event))
        return event

    def run_until(self, until_s: float) -> None:
        """Play everything up to and including this moment."""
        while self._queue and self._queue[0][0] <= until_s:
            self._step()
        self.now_s = max(self.now_s, until_s)

    def _step(self) -> None:
        at_s, _, event = heapq.heappop(self._queue)
        if event.act is None:
            return
        self._at_once = self._at_once + 1 if at_s == self.now_s else 0
        self.now_s = at_s
        self.played += 1
        if self._at_once > EVENTS_AT_ONCE_MAX or self.played > EVENTS_MAX:
            raise InvariantViolation(f"the simulation does not come to rest at {at_s:.3f} s")
        event.act()
