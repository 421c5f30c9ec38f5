"""The verifier's eye on what only a word allows: moves, adoption, forgetting; and on what lies in the
trash. Shares no code with the planner, as all of the verifier.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address, NodeName, VmName
from pvc_gitops.model.inventory import Inventory, NodeState
from pvc_gitops.model.plan import Operation, Plan, Step
from pvc_gitops.model.records import Applied, Phase

WORDS = Address("transitions/transitions")


def kept_words(plan: Plan, inventory: Inventory) -> frozenset[str]:
    """What the record of words that are done gains by this plan: `removed vm/web2`."""
    before = inventory.applied.get(WORDS)
    known = set() if before is None else set(before.spec["done"])
    for step in plan.steps:
        if step.address == WORDS and step.record is not None:
            return frozenset(set(step.record.spec["done"]) - known)
    return frozenset()


def under_new_names(plan: Plan, inventory: Inventory) -> Inventory:
    """What exists before the plan, under the addresses that its moves give; not what is in the trash."""
    applied = {of: r for of, r in inventory.applied.items() if r.phase is not Phase.TRASHED}
    placements = dict(inventory.placements)
    nodes = {name: dict(facts.guests) for name, facts in inventory.nodes.items()}
    for step in plan.steps:
        old = Address(str(step.inputs.get("from", "")))
        if step.operation is not Operation.RECORD_MOVE or old not in applied:
            continue
        before = applied.pop(old)
        applied[step.address] = replace(before, address=step.address, name=_name(step.address))
        was, now = VmName(_name(old)), VmName(_name(step.address))
        if before.kind is not Kind.VM:
            continue
        if was in placements:
            placements[now] = placements.pop(was)
        for guests in nodes.values():
            if was in guests and guests[was].uuid == before.uuid:
                guests[now] = guests.pop(was)
    return replace(
        inventory,
        applied=dict(sorted(applied.items())),
        placements=placements,
        nodes={n: replace(facts, guests=nodes[n]) for n, facts in inventory.nodes.items()},
    )


def moved_wrong(
    step: Step, source: Applied | None, owner: NodeName | None, words: frozenset[str]
) -> Iterator[str]:
    """A move changes the address and nothing else, and is meant."""
    old, record = step.inputs.get("from"), step.record
    if source is None or record is None:
        yield f"step {step.id} moves {old}, which does not exist"
        return
    if old not in step.pre:
        yield f"step {step.id} does not say which record of {old} it moves"
    if source.phase is not Phase.PRESENT:
        yield f"step {step.id} moves {old}, which is being removed"
    same = replace(
        source,
        address=record.address,
        name=record.name,
        names=record.names,
        commit=record.commit,
        plan=record.plan,
        version=record.version,
    )
    if same != record or record.address != step.address:
        yield f"step {step.id} changes {old} while it moves it"
    if source.address not in record.names:
        yield f"step {step.id} forgets that {step.address} was {old}"
    if f"moved {step.address} from {old}" not in words and step.address not in source.names:
        yield f"step {step.id} moves {old}, and nobody said so"
    if owner is not None and owner != step.node:
        yield f"step {step.id} moves {old} on {step.node}; {owner} owns it"


def adopted_wrong(
    step: Step, inventory: Inventory, records: Mapping[Address, Applied], words: frozenset[str]
) -> Iterator[str]:
    """An adoption takes what runs, as it runs, and what is nobody's."""
    record, facts = step.record, inventory.nodes.get(step.node)
    unmanaged = () if facts is None else facts.unmanaged
    found = next((each for each in unmanaged if each.uuid == step.inputs["uuid"]), None)
    if record is None or found is None:
        yield f"step {step.id} adopts a domain that does not run on {step.node}"
        return
    if record.uuid != found.uuid:
        yield f"step {step.id} gives {found.name} another uuid"
    if {(r.pool, r.image) for r in record.disks.values()} != {
        (str(disk.pool), disk.image) for disk in found.disks
    }:
        yield f"step {step.id} gives {found.name} other disks than it has"
    if {lease.mac for lease in record.nics.values()} != {nic.mac for nic in found.nics}:
        yield f"step {step.id} gives {found.name} other MACs than it has"
    for of, other in sorted(records.items()):
        if other.uuid == record.uuid:
            yield f"step {step.id} adopts {found.name}, which is {of}"
    if not any(word.split(" from ")[0] == f"adopted {step.address}" for word in words):
        yield f"step {step.id} adopts {found.name}, and nobody said so"


def taken_over_wrong(
    step: Step, inventory: Inventory, records: Mapping[Address, Applied], words: frozenset[str]
) -> Iterator[str]:
    """A new network takes the place of somebody's bridge only by a word."""
    if step.record is None or step.address in records:
        return
    in_place = {
        f"{bridge.bridge} on {node}"
        for node, facts in inventory.nodes.items()
        for bridge in facts.bridges
        if facts.state is NodeState.ONLINE and bridge.vni == step.record.spec.get("vni") is not None
    }
    said = any(word.split(" from ")[0] == f"adopted {step.address}" for word in words)
    if in_place and not said:
        yield f"step {step.id} takes over {min(in_place)}, and nobody said so"


def purged_wrong(
    step: Step, inventory: Inventory, records: Mapping[Address, Applied]
) -> Iterator[str]:
    """A purge takes what lies in the trash, after its time, and what nobody names."""
    pool, trash_id = step.inputs["pool"], step.inputs["trash_id"]
    storage = inventory.storage
    entries = () if storage is None else storage.trash.get(pool, ())
    entry = next((each for each in entries if each.id == trash_id), None)
    if entry is None:
        yield f"step {step.id} purges {trash_id}, which is not in the trash of {pool}"
        return
    if entry.until_s > inventory.now_s:
        yield f"step {step.id} purges {entry.name} {entry.until_s - inventory.now_s} s too early"
    for of, record in sorted(records.items()):
        if any((r.pool, r.image) == (pool, entry.name) for r in record.disks.values()):
            yield f"step {step.id} purges {entry.name}, which {of} names"


def restored_wrong(step: Step, inventory: Inventory, emptied: frozenset[str]) -> Iterator[str]:
    """What comes back must lie there, under that very name."""
    pool, trash_id = step.inputs["pool"], step.inputs["trash_id"]
    entries = () if inventory.storage is None else inventory.storage.trash.get(pool, ())
    if not any((e.id, e.name) == (trash_id, step.inputs["image"]) for e in entries):
        yield f"step {step.id} restores {step.inputs['image']}, which is not in the trash"
    if trash_id in emptied:
        yield f"step {step.id} restores what this plan has purged or restored"


def twins(final: Mapping[Address, Applied]) -> Iterator[str]:
    """Two objects of one identity, or with the same data: one of them would destroy the other's."""
    uuids: dict[str, Address] = {}
    images: dict[tuple[str, str], Address] = {}
    for of, record in sorted(final.items()):
        if record.uuid and uuids.setdefault(record.uuid, of) != of:
            yield f"{of} and {uuids[record.uuid]} have the same uuid"
        for name, ref in sorted(record.disks.items()):
            is_volumes = record.kind is Kind.VM and record.spec["disks"][name].get("volume")
            if is_volumes:
                continue
            key = (ref.pool, ref.image)
            if images.setdefault(key, of) != of:
                yield f"{of} and {images[key]} have the same data {ref.pool}/{ref.image}"


def _name(of: Address) -> str:
    return of.partition("/")[2]
