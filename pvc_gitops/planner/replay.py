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
)
from pvc_gitops.model.plan import Operation, Plan, Step
from pvc_gitops.model.records import Applied, GuestPhase, PlacementRecord, Wanted
from pvc_gitops.planner.diff import RESTARTING, shown


class _World:
    """The parts of an inventory that steps change, open for change."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.applied: dict[Address, Applied] = dict(inventory.applied)
        self.placements = dict(inventory.placements)
        self.networks = {name: dict(n.networks) for name, n in inventory.nodes.items()}
        self.guests = {name: dict(n.guests) for name, n in inventory.nodes.items()}
        assert inventory.storage is not None
        self.storage = inventory.storage
        self.pools: dict[PoolName, PoolFacts] = dict(self.storage.pools)
        self.images: dict[str, ImageFacts] = dict(self.storage.images)
        self.trash = {pool: list(entries) for pool, entries in self.storage.trash.items()}

    def frozen(self) -> Inventory:
        nodes: dict[NodeName, NodeFacts] = {
            name: replace(facts, networks=self.networks[name], guests=self.guests[name])
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
        _storage(world, step)
        _guests(world, plan, step)
        _networks(world, step)
        _record(world, plan, step)
    return world.frozen()


def _record(world: _World, plan: Plan, step: Step) -> None:
    if step.operation is Operation.RECORD_DROP:
        world.applied.pop(step.address, None)
        world.placements.pop(VmName(step.address.partition("/")[2]), None)
    elif step.record is not None:
        world.applied[step.address] = replace(step.record, plan=plan.id)


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
        case Operation.DISK_RESTORE:
            entries = world.trash[pool]
            world.trash[pool] = [entry for entry in entries if entry.id != inputs["trash_id"]]
            world.images[key] = ImageFacts(size_mib=inputs["size_mib"], parent=None, snapshots=())
        case _:
            pass


def _guests(world: _World, plan: Plan, step: Step) -> None:
    if step.address.partition("/")[0] != Kind.VM or step.record is None:
        return
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
            state=GuestState.RUNNING, uuid=record.uuid, digest=record.digest, starts=starts
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
            part = change.path.removeprefix("cpu.")
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
