"""One simulated machine, as values: its parts, its power, and the clock and journal of its processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.spec import Node, NodeRole
from pvc_gitops.sim.clock import MachineClock
from pvc_gitops.sim.guard import SimGuard
from pvc_gitops.sim.hardware import Guests, Interfaces
from pvc_gitops.sim.kernel import Event, Kernel
from pvc_gitops.sim.origin import Mirror
from pvc_gitops.sim.process import Process
from pvc_gitops.sim.store import Client
from pvc_gitops.world.ports import Json


@dataclass(slots=True)
class SimClock:
    """The Clock port of one machine."""

    kernel: Kernel
    machine: MachineClock
    started_at_s: int

    def now_s(self) -> int:
        return self.started_at_s + int(self.kernel.now_s)

    def monotonic_s(self) -> float:
        return self.machine.now_s()


@dataclass(slots=True)
class SimJournal:
    """The Journal port: everything ends up in the simulation's events."""

    record: Callable[..., None]
    node: str

    def event(self, kind: str, **fields: object) -> None:
        self.record(kind, **{"node": self.node, **fields})


@dataclass(slots=True, eq=False)
class SimNode:
    """One machine."""

    name: NodeName
    declared: Node
    clock: MachineClock
    guests: Guests
    interfaces: Interfaces
    guard: SimGuard
    agent: Process
    planner: Process | None
    ha: Process | None
    mirror: Mirror
    notes: dict[str, Json]
    archive: list[Json] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)  # on its disk, by path
    has_mains: bool = False
    is_powered: bool = False
    is_up: bool = False  # booted
    is_paused: bool = False
    is_leaving: bool = False  # it goes down in order
    has_store: bool = True
    boots: int = 0
    clients: dict[str, Client] = field(default_factory=dict)
    boot_event: Event | None = None

    @property
    def is_coordinator(self) -> bool:
        return self.declared.role is NodeRole.COORDINATOR

    def processes(self) -> tuple[Process, ...]:
        return tuple(p for p in (self.agent, self.planner, self.ha) if p is not None)
