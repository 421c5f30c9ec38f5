"""Live migrations between simulated nodes: libvirt's part, which goes on whatever becomes of agents.

Phases: the destination makes a copy that receives (`prepare`), memory is copied while the guest runs
(`precopy`), the source stands still and the copy gets the rest (`switch`), the source hears of it and
ends its process (`confirm`). What breaks leaves the source running again, as libvirt does; in `confirm`,
when the last answer is lost, with a whole copy at the destination that nobody has told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pvc_gitops.model.inventory import GuestState
from pvc_gitops.sim.kernel import Kernel
from pvc_gitops.world.ports import ARRIVED, ARRIVING, Sending

if TYPE_CHECKING:
    from pvc_gitops.sim.hardware import Guests, SimDomain

PHASES: Final = ("prepare", "precopy", "switch", "confirm")
# How long each phase takes, and how long libvirt looks at a silent peer before it gives up.
PHASE_S: Final = {"prepare": 0.3, "precopy": 1.0, "switch": 0.1, "confirm": 0.1}
KEEPALIVE_S: Final = 8.0
FROZEN_LOOK_S: Final = 0.5


@dataclass(slots=True, eq=False)
class Migration:
    """One under way, or how it ended."""

    name: str
    to: str
    phase: str = PHASES[0]
    is_done: bool = False
    error: str = ""

    def state(self) -> Sending:
        return Sending(is_done=self.is_done, error=self.error)


@dataclass(slots=True)
class Migrations:
    """libvirt of one node, as far as it sends guests away.

    `reach`: the guests of another node, if its libvirt answers on the cluster network. `is_frozen`: does
    this machine stand still?
    """

    kernel: Kernel
    guests: Guests
    reach: Callable[[str], Guests | None]
    is_frozen: Callable[[], bool]
    on_phase: Callable[[str, str, str], None]  # guest, destination, phase: for the events
    under_way: dict[str, Migration] = field(default_factory=dict)
    failing: dict[str, tuple[int, str]] = field(default_factory=dict)  # so often, in that phase

    def begin(self, name: str, to: str) -> Migration:
        """A new one; the one that is under way, if there is any."""
        known = self.under_way.get(name)
        if known is not None:
            return known
        migration = Migration(name=name, to=to)
        self.under_way[name] = migration
        self._enter(migration, self.guests.domains[name], 0)
        return migration

    def lost_power(self) -> None:
        """Nothing of it goes on."""
        self.under_way.clear()

    def _enter(self, migration: Migration, source: SimDomain, number: int) -> None:
        migration.phase = phase = PHASES[number]
        self.on_phase(migration.name, migration.to, phase)
        self.kernel.after(PHASE_S[phase], lambda: self._end_phase(migration, source, number))

    def _end_phase(  # noqa: PLR0911  one return a way to end
        self, migration: Migration, source: SimDomain, number: int
    ) -> None:
        if self.under_way.get(migration.name) is not migration:
            return  # this node lost its power
        if self.is_frozen():
            self.kernel.after(FROZEN_LOOK_S, lambda: self._end_phase(migration, source, number))
            return
        phase, there = PHASES[number], self.reach(migration.to)
        if self.guests.domains.get(migration.name) is not source:
            self._fail(migration, "its process ended", there)
            return
        error = self._told_to_fail(migration.name, phase)
        if error or there is None:
            # A peer that is silent is not known to be: that takes a while, in which nothing runs twice.
            wait_s = 0.0 if error else KEEPALIVE_S
            text = error or f"{migration.to} does not answer"
            self.kernel.after(wait_s, lambda: self._break(migration, source, phase, text))
            return
        if phase == "prepare" and not self._copy(migration, source, there):
            return
        copy = there.domains.get(migration.name)
        if copy is None:
            self._break(migration, source, phase, f"its copy on {migration.to} ended")
            return
        if phase == "precopy":
            self._stand_still(source, still=True)
        elif phase == "switch":
            copy.reason = ARRIVED
            there.on_change()
        elif phase == "confirm":
            self._finish(migration)
            return
        self._enter(migration, source, number + 1)

    def _told_to_fail(self, name: str, phase: str) -> str:
        left, where = self.failing.get(name, (0, ""))
        if not left or where not in ("", phase):
            return ""
        self.failing[name] = left - 1, where
        return f"the script says so, in phase {phase}"

    def _copy(self, migration: Migration, source: SimDomain, there: Guests) -> bool:
        error = there.receive(source.domain)
        if error:
            self._fail(migration, error, None)
        return not error

    def _break(self, migration: Migration, source: SimDomain, phase: str, why: str) -> None:
        """The source goes on. What lies at the destination ends, unless it is whole: the destination
        cannot know then that it is not wanted."""
        if self.under_way.get(migration.name) is not migration:
            return
        if self.is_frozen():
            self.kernel.after(FROZEN_LOOK_S, lambda: self._break(migration, source, phase, why))
            return
        if self.guests.domains.get(migration.name) is source:
            self._stand_still(source, still=False)
        is_whole = phase == "confirm"
        self._fail(migration, why, None if is_whole else self.reach(migration.to))

    def _fail(self, migration: Migration, why: str, there: Guests | None) -> None:
        if there is not None:
            copy = there.domains.get(migration.name)
            if copy is not None and copy.reason == ARRIVING:
                there.end(migration.name, is_clean=True)
        migration.is_done, migration.error = True, why
        del self.under_way[migration.name]
        self.guests.on_change()

    def _stand_still(self, source: SimDomain, *, still: bool) -> None:
        source.state = GuestState.PAUSED if still else GuestState.RUNNING
        source.reason = ARRIVING if still else ""
        self.guests.checkers.runs(source.domain.name, self.guests.node, now=not still)
        self.guests.ceph.on_block()

    def _finish(self, migration: Migration) -> None:
        migration.is_done = True
        del self.under_way[migration.name]
        self.guests.end(migration.name, is_clean=True)
