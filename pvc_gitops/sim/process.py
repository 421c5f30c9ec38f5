"""A process of ours on a simulated node: ticks when it is due or woken, and may be killed anywhere.

`spend` stands before every effect on the world. A process with a fuse dies after that many effects:
before the first, between any two, or after the last and before it could write the result. One that is
to stall stands still there for a while, with all that it has checked behind it, and then goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from pvc_gitops.errors import PvcError
from pvc_gitops.model.values import replace
from pvc_gitops.sim.aside import Aside
from pvc_gitops.sim.clock import MachineClock
from pvc_gitops.sim.kernel import Event, Kernel
from pvc_gitops.world.ports import JobState

WAKE_S: Final = 0.01  # a watch event travels and a process is scheduled
PAUSED_LOOK_S: Final = 1.0  # how soon what stood still goes on in a process that is resumed
REST_MIN_S: Final = 0.02  # between two ticks of a process that wants the next one at once

# How long jobs take, by the first word of their key; all others take OTHER_JOBS_S.
JOB_S: Final = {
    "guest.start": 3.0,
    "guest.ready": 0.1,
    "source.fetch": 0.3,
    "storage": 0.2,
    "pool.create": 2.0,
    "image.import": 5.0,
    "disk.create": 1.0,
    "ha.cycle": 4.0,
    "ha.block": 2.0,
    "ha.release": 1.0,
}
OTHER_JOBS_S: Final = 1.0
_AT_STORAGE: Final = (
    *("storage", "pool.", "image.", "disk.", "guest.start", "ha.block", "ha.release"),
)


class Killed(BaseException):
    """SIGKILL: not an Exception, so that nothing can catch it but the simulator."""


@dataclass(slots=True)
class _Job:
    state: JobState
    event: Event | None


@dataclass(slots=True)
class Jobs:
    """The Jobs port: work is done at its end, all of it at once, unless the process dies first."""

    kernel: Kernel
    process: Process
    jobs: dict[str, _Job] = field(default_factory=dict)

    def start(self, key: str, work: Callable[[Callable[[float], None]], Any]) -> None:
        if key in self.jobs:
            return
        running = JobState(is_done=False, value=None, error=None, progress=None)
        delay_s = JOB_S.get(key.partition(" ")[0], OTHER_JOBS_S)
        if key.startswith(_AT_STORAGE):
            delay_s += self.process.storage_delay_s()
        event = self.kernel.after(delay_s, lambda: self._end(key, work))
        self.jobs[key] = _Job(state=running, event=event)

    def state(self, key: str) -> JobState | None:
        job = self.jobs.get(key)
        return None if job is None else job.state

    def forget(self, key: str) -> None:
        job = self.jobs.get(key)
        if job is not None and job.state.is_done:
            del self.jobs[key]

    def cancel_all(self) -> None:
        for job in self.jobs.values():
            if job.event is not None:
                job.event.cancel()
        self.jobs.clear()

    def _end(self, key: str, work: Callable[[Callable[[float], None]], Any]) -> None:
        if self.process.stands_still:
            # Threads stop with their process; the work ends a while after it goes on.
            event = self.kernel.after(PAUSED_LOOK_S, lambda: self._end(key, work))
            self.jobs[key].event = event
            return
        self.process.enter(lambda: self._work(key, work))

    def _work(self, key: str, work: Callable[[Callable[[float], None]], Any]) -> None:
        value: Any = None
        error: Exception | None = None
        try:
            value = work(_no_progress)
        except Killed:
            self.process.die()
            return
        except PvcError as caught:  # anything else is a bug and ends the simulation
            error = caught
        self.jobs[key] = _Job(
            state=JobState(is_done=True, value=value, error=error, progress=1.0), event=None
        )
        self.process.wake()


def _no_progress(done: float) -> None:
    del done


@dataclass(slots=True, eq=False)
class Process:
    """`begin` makes a fresh life of it: tick function and empty memory."""

    kernel: Kernel
    name: str
    begin: Callable[[Process], tuple[Callable[[Any], Any], Any]]
    on_death: Callable[[Process], None]
    clock: MachineClock
    on_still: Callable[[Process], None] = lambda _: None  # nothing of it runs for a while
    storage_delay_s: Callable[[], float] = lambda: 0.0  # on top of what Ceph takes at best
    is_up: bool = False
    is_paused: bool = False
    fuse: int | None = None
    stall: tuple[int, float] | None = None  # after so many effects, for so many seconds
    memory: Any = None
    jobs: Jobs = field(init=False)
    _tick: Callable[[Any], Any] | None = None
    _next: Event | None = None
    _next_s: float = 0.0
    _is_woken: bool = False
    _busy_until_s: float = 0.0
    _inside: Aside | None = None  # what it is at, where that can stand still

    def __post_init__(self) -> None:
        self.jobs = Jobs(kernel=self.kernel, process=self)

    def start(self) -> None:
        if self.is_up:
            return
        self.is_up, self.is_paused, self.fuse = True, False, None
        self._tick, self.memory = self.begin(self)
        self._at(WAKE_S)

    def die(self) -> None:
        """SIGKILL, now."""
        if not self.is_up:
            return
        self.is_up, self.memory, self._tick, self.fuse = False, None, None, None
        self._is_woken, self.stall, self._busy_until_s = False, None, 0.0
        inside, self._inside = self._inside, None
        if inside is not None:
            inside.abandon()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self.jobs.cancel_all()
        self.on_death(self)

    def pause(self) -> None:
        self.is_paused = self.is_up
        self.on_still(self)

    def resume(self) -> None:
        if self.is_paused:
            self.is_paused = False
            self._at(WAKE_S)

    def wake(self) -> None:
        """Something changed: tick soon, and look at everything."""
        if self.is_up:
            self._is_woken = True
            self._at(WAKE_S)

    def poke(self, **fields: object) -> None:
        """Somebody asks: set fields of the memory and tick at once."""
        if self.is_up:
            self.memory = replace(self.memory, **fields)
            self._at(0.0)

    @property
    def stands_still(self) -> bool:
        """Does nothing of it run?"""
        return self.is_paused or self._inside is not None

    def spend(self) -> None:
        """An effect on the world is about to happen."""
        if self.stall is not None:
            effects, seconds = self.stall
            self.stall = (effects - 1, seconds) if effects else None
            inside = self._inside
            if not effects and inside is not None:
                self.kernel.after(seconds, lambda: self._go_on(inside))
                self.on_still(self)
                inside.stand_still()
        if self.fuse is None:
            return
        if self.fuse == 0:
            raise Killed
        self.fuse -= 1

    def enter(self, work: Callable[[], None]) -> None:
        """Do some of its work, in a way that it can stand still in the middle of if it is to."""
        if self.stall is None:
            work()
            return
        self._inside = Aside(work)
        self._go_on(self._inside)

    def _go_on(self, inside: Aside) -> None:
        if self._inside is not inside:
            return  # it died meanwhile
        if self.is_paused:
            self.kernel.after(PAUSED_LOOK_S, lambda: self._go_on(inside))
        elif inside.go() and self._inside is inside:
            self._inside = None

    def block(self, seconds: float) -> None:
        """A call of this tick does not return for so long: the next tick waits for it."""
        self._busy_until_s = max(self._busy_until_s, self.kernel.now_s) + seconds

    def _at(self, delay_s: float) -> None:
        at_s = max(self.kernel.now_s + delay_s, self._busy_until_s)
        if self._next is not None:
            if self._next_s <= at_s:
                return
            self._next.cancel()
        self._next_s = at_s
        self._next = self.kernel.after(at_s - self.kernel.now_s, self._run)

    def _run(self) -> None:
        self._next = None
        if not self.is_up or self.is_paused:
            return
        if self._inside is not None:
            self._at(PAUSED_LOOK_S)  # after what it is at
            return
        self.enter(self._once)

    def _once(self) -> None:
        assert self._tick is not None
        if self._is_woken:
            self._is_woken = False
            self.memory = replace(self.memory, is_woken=True)
        try:
            self.memory = self._tick(self.memory)
        except Killed:
            self.die()
            return
        due_s = self.clock.takes_s(self.memory.due_at_s - self.clock.now_s())
        self._at(max(due_s, REST_MIN_S))
