"""What the inventory becomes when a plan is carried out without a fault.

For asking "and then?": the next plan from here must be empty. The simulator does not use it; it plays
real agents.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address, NodeName, PoolName, VmName
from pvc_gitops.model.inventory import (
    Deviation,
    GuestFacts,
    GuestState,
    ImageFacts,
    Inventory,
    NetworkFacts,
    NodeFacts,
    PoolFacts,
    TrashFacts,
    UnmanagedDisk,
    UnmanagedGuest,
    UnmanagedNic,
)
from pvc_gitops.model.plan import Operation, Plan, Step
from pvc_gitops.model.records import Applied, GuestPhase, PlacementRecord, Wanted
from pvc_gitops.model.spec import VirtualMachine
from pvc_gitops.planner.diff import RESTARTING, shown
from pvc_gitops.planner.steps.restarts import part_of


class _World:
    """The parts of an inventory that steps change, open for change."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.applied: dict[Address, Applied] = dict(inventory.applied)
        self.placements = dict(inventory.placements)
        self.networks = {name: dict(n.networks) for name, n in inventory.nodes.items()}
        self.unmanaged = {name: list(n.unmanaged) for name, n in inventory.nodes.items()}
        self.guests = {name: dict(n.guests) for name, n in inventory.nodes.items()}
        assert inventory.storage is not None
        self.storage = inventory.storage
        self.pools: dict[PoolName, PoolFacts] = dict(self.storage.pools)
        self.images: dict[str, ImageFacts] = dict(self.storage.images)
        self.trash = {pool: list(entries) for pool, entries in self.storage.trash.items()}

    def frozen(self) -> Inventory:
        nodes: dict[NodeName, NodeFacts] = {
            name: replace(
                facts,
                networks=self.networks[name],
                guests=self.guests[name],
                unmanaged=tuple(self.unmanaged[name]),
            )
            for name, facts in self.inventory.nodes.items()
        }
        return replace(
            self.inventory,
            nodes=nodes,
            applied=self.applied,
            placements=self.placements,
            storage=replace(
                self.storage,
                pools=self.pools,
                images=self.images,
                trash={pool: tuple(entries) for pool, entries in self.trash.items() if entries},
            ),
        )


def applied_after(
    plan: Plan, inventory: Inventory, steps: Iterable[Step] | None = None
) -> Inventory:
    """The inventory after the steps (all of the plan's, if not said), each done as it promises."""
    world = _World(inventory)
    for step in plan.steps if steps is None else steps:
        if step.operation is Operation.RECORD_MOVE:
            _moved(world, step)
        elif step.operation in (Operation.VM_ADOPT, Operation.VM_FORGET):
            _ownership(world, step)
        _storage(world, step)
        _guests(world, plan, step)
        _networks(world, step)
        _record(world, plan, step)
    return world.frozen()


def _record(world: _World, plan: Plan, step: Step) -> None:
    name = VmName(step.address.partition("/")[2])
    if step.operation in (Operation.RECORD_DROP, Operation.RECORD_KEEP, Operation.VM_FORGET):
        world.applied.pop(step.address, None)
        if step.address.startswith(f"{Kind.VM}/"):
            world.placements.pop(name, None)
    if step.record is not None:
        world.applied[step.address] = replace(step.record, plan=plan.id)


def _moved(world: _World, step: Step) -> None:
    """The record goes, its guest runs on under libvirt's old name, marked with the new record."""
    old, record = Address(str(step.inputs["from"])), step.record
    assert record is not None
    del world.applied[old]
    before, after = VmName(old.partition("/")[2]), VmName(record.name)
    if record.kind is Kind.NETWORK:
        for networks in world.networks.values():
            networks.pop(before, None)
    if record.kind is not Kind.VM:
        return
    if before in world.placements:
        world.placements[after] = world.placements.pop(before)
    for guests in world.guests.values():
        if before in guests:
            facts = guests.pop(before)
            bears = "" if facts.bears == after else facts.bears or before
            guests[after] = replace(facts, digest=record.digest, bears=bears)


def _ownership(world: _World, step: Step) -> None:
    """A running guest gets our mark, or loses it."""
    uuid = str(step.inputs["uuid"])
    name, guests = VmName(step.address.partition("/")[2]), world.guests[step.node]
    unmanaged = world.unmanaged[step.node]
    if step.operation is Operation.VM_FORGET:
        facts = guests.pop(name, None)
        if facts is not None:
            before = world.applied[step.address]
            unmanaged.append(_described(before, facts))
        return
    world.unmanaged[step.node] = [each for each in unmanaged if each.uuid != uuid]
    assert step.record is not None
    guests[name] = GuestFacts(state=GuestState.RUNNING, uuid=uuid, digest=step.record.digest)
    world.placements[name] = PlacementRecord(
        owner=step.node,
        incoming=None,
        incarnation=world.inventory.nodes[step.node].incarnation,
        starts=0,
        state=GuestPhase.RUNNING,
        why="",
        since_s=world.inventory.now_s,
    )


def _described(record: Applied, facts: GuestFacts) -> UnmanagedGuest:
    vm = VirtualMachine.from_spec(record.name, record.spec)
    return UnmanagedGuest(
        name=facts.bears or record.name,
        uuid=facts.uuid,
        vcpus=vm.vcpus,
        memory_mib=vm.memory_mib,
        disks=tuple(
            UnmanagedDisk(
                name=name, pool=PoolName(ref.pool), image=ref.image, bus=vm.disks[name].bus
            )
            for name, ref in sorted(record.disks.items())
        ),
        nics=tuple(
            UnmanagedNic(mac=lease.mac, bridge="", model=vm.nics[name].model, name=name)
            for name, lease in sorted(record.nics.items())
        ),
        hindrance="",
        console_log=vm.console_log,
    )


def _storage(world: _World, step: Step) -> None:
    inputs = step.inputs
    pool = PoolName(str(inputs.get("pool", "")))
    key = f"{pool}/{inputs.get('image', '')}"
    match step.operation:
        case Operation.POOL_CREATE | Operation.POOL_UPDATE:
            old = world.pools.get(pool)
            world.pools[pool] = PoolFacts(
                copies=inputs["copies"],
                min_copies=inputs["min_copies"],
                pgs=inputs["pgs"] if old is None else old.pgs,
            )
        case Operation.POOL_DELETE:
            del world.pools[pool]
        case Operation.IMAGE_IMPORT:
            snapshots = (inputs["snapshot"],)
            world.images[key] = ImageFacts(size_mib=32, parent=None, snapshots=snapshots)
        case Operation.IMAGE_DELETE:
            del world.images[key]
        case Operation.DISK_CREATE:
            parent = inputs["parent"]
            of = None if parent is None else "{pool}/{image}@{snapshot}".format(**parent)
            world.images[key] = ImageFacts(size_mib=inputs["size_mib"], parent=of, snapshots=())
        case Operation.DISK_GROW:
            world.images[key] = replace(world.images[key], size_mib=inputs["size_mib"])
        case Operation.DISK_TRASH:
            del world.images[key]
            until_s = world.inventory.now_s + inputs["keep_s"]
            entry = TrashFacts(id=f"id-{inputs['image']}", name=inputs["image"], until_s=until_s)
            world.trash.setdefault(pool, []).append(entry)
        case Operation.DISK_PURGE:
            entries = world.trash[pool]
            world.trash[pool] = [entry for entry in entries if entry.id != inputs["trash_id"]]
        case Operation.DISK_RESTORE:
            entries = world.trash[pool]
            world.trash[pool] = [entry for entry in entries if entry.id != inputs["trash_id"]]
            world.images[key] = ImageFacts(size_mib=inputs["size_mib"], parent=None, snapshots=())
        case _:
            pass


def _guests(world: _World, plan: Plan, step: Step) -> None:
    if step.operation not in (Operation.VM_PUT, Operation.VM_STOP, Operation.VM_RETIRE):
        return
    assert step.record is not None
    name, record = VmName(step.record.name), step.record
    guests = world.guests[step.node]
    runs, before = record.wanted is Wanted.RUNNING, world.placements.get(name)
    starts = 0 if before is None else before.starts
    if not runs:
        guests.pop(name, None)
    elif step.inputs.get("is_deferred") and name in guests:
        guests[name] = replace(guests[name], deviations=_waiting(plan, step, guests[name]))
    else:
        starts += name not in guests
        guests[name] = GuestFacts(
            state=GuestState.RUNNING,
            uuid=record.uuid,
            digest=record.digest,
            starts=starts,
            bears=guests[name].bears if name in guests else "",
        )
    if step.operation is Operation.VM_PUT:
        world.placements[name] = PlacementRecord(
            owner=step.node,
            incoming=None,
            incarnation=world.inventory.nodes[step.node].incarnation,
            starts=starts,
            state=GuestPhase.RUNNING if runs else GuestPhase.STOPPED,
            why="",
            since_s=world.inventory.now_s,
        )


def _waiting(plan: Plan, step: Step, facts: GuestFacts) -> tuple[Deviation, ...]:
    """What the running guest does not take, besides what it had not taken before."""
    found = {each.part: each for each in facts.deviations}
    for change in next(c.fields for c in plan.changes if c.address == step.address):
        if change.disposition in RESTARTING:
            part = part_of(change.path)
            live = found[part].live if part in found else shown(change.before)
            found[part] = Deviation(
                part=part,
                live=live,
                applied=shown(change.after),
                needs_restart=True,
                is_drift=False,
            )
    return tuple(each for _, each in sorted(found.items()))


def _networks(world: _World, step: Step) -> None:
    if step.operation is not Operation.NETWORK_ENSURE:
        return
    name, digest = step.address.partition("/")[2], str(step.inputs["digest"])
    if digest:
        world.networks[step.node][name] = NetworkFacts(digest=digest)
    else:
        world.networks[step.node].pop(name, None)
