"""Guests on their way, before all else of a tick: one that has arrived stands still until then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from pvc_gitops.controllers import migrate
from pvc_gitops.controllers.guest_acts import GuestMemory
from pvc_gitops.controllers.guests import GuestsDone
from pvc_gitops.controllers.migrate import Moved, Traveller
from pvc_gitops.controllers.records import read
from pvc_gitops.controllers.view import View
from pvc_gitops.errors import HypervisorError
from pvc_gitops.model import paths
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import VmName, address
from pvc_gitops.model.inventory import StorageReach
from pvc_gitops.model.records import Applied, GuestPhase, IncarnationRecord, PlacementRecord
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import World

_Guests = Mapping[VmName, GuestMemory]


@dataclass(slots=True, kw_only=True)
class _Round:
    """What a tick did. `memory` is of all guests."""

    memory: dict[VmName, GuestMemory]
    faults: list[str] = field(default_factory=list)
    due: list[float] = field(default_factory=list)
    has_acted: bool = False

    def add(self, name: VmName, before: GuestMemory, moved: Moved) -> None:
        self.memory[name] = GuestMemory(up_since_s=before.up_since_s, move=moved.memory)
        self.has_acted = self.has_acted or moved.has_acted
        self.faults += [moved.fault] if moved.fault else []
        self.due += [moved.due_at_s] if moved.due_at_s is not None else []


def tick(world: World, view: View, memory: _Guests, storage: StorageReach) -> GuestsDone:
    """One act for every guest that leaves this node or comes to it. `storage`: of this node, now."""
    done = _Round(memory=dict(memory))
    if view.domains is None or view.incarnation is None or view.incarnation.is_over:
        return GuestsDone(memory=memory, has_acted=False, faults=(), due_at_s=None)
    for name, placement in view.placements.items():
        record, facts = view.guests.get(name), view.domains.get(name)
        if not migrate.is_on_its_way(world.me.node, placement, record):
            continue
        before = memory.get(name, GuestMemory())
        guest = Traveller(
            world=world,
            now_s=view.now_s,
            name=name,
            placement=placement,
            record=record,
            facts=facts,
            incarnation=view.incarnation,
            memory=migrate.remembered(placement, facts, name, before.move),
            storage=storage,
        )
        done.add(name, before, migrate.tick(guest))
    return GuestsDone(
        memory=done.memory,
        has_acted=done.has_acted,
        faults=tuple(done.faults),
        due_at_s=min(done.due, default=None),
    )


def at_once(world: World, memory: _Guests) -> _Guests:
    """What a guest stands still for, without looking at anything else: its process here has ended and it
    is to be given away, or it was given to this node. Raises StoreError."""
    after: dict[VmName, GuestMemory] = {}
    for name, before in memory.items():
        if before.move is None:
            continue
        guest = _standing_still(world, name, before)
        if guest is not None:
            moved = migrate.tick(guest)
            after[name] = GuestMemory(up_since_s=before.up_since_s, move=moved.memory)
    return {**memory, **after} if after else memory


def _standing_still(world: World, name: VmName, before: GuestMemory) -> Traveller | None:
    assert before.move is not None
    store, me = world.store, world.me.node
    sending = world.hypervisor.sending(before.move.domain)
    has_left = sending is not None and sending.is_done and not sending.error
    placement = read(store, paths.placement(name), PlacementRecord)
    if placement is None:
        return None
    is_leaving = placement.owner == me and placement.incoming is not None and has_left
    has_come = placement.owner == me and placement.state is GuestPhase.MIGRATING
    if not (is_leaving or has_come):
        return None
    incarnation = read(store, paths.incarnation(me), IncarnationRecord)
    record = read(store, paths.applied(address(Kind.VM, name)), Applied)
    if incarnation is None or incarnation.is_over:
        return None
    if not migrate.is_on_its_way(me, placement, record):
        return None
    try:
        facts = world.hypervisor.domains().get(before.move.domain)
    except HypervisorError:
        return None  # the tick that follows says so
    return Traveller(
        world=world,
        now_s=world.clock.monotonic_s(),
        name=name,
        placement=placement,
        record=record,
        facts=facts,
        incarnation=incarnation,
        memory=migrate.remembered(placement, facts, name, before.move),
    )
