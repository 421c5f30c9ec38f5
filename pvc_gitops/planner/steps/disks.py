"""RBD images of guests and volumes: names, lives, and the steps that make them.

A name keeps its data (D6): what lies in the trash under a declared address is restored, never made
empty beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pvc_gitops.model.document import Kind, Value
from pvc_gitops.model.ids import Address, NodeName, address, derived_uuid
from pvc_gitops.model.plan import Operation
from pvc_gitops.model.records import Applied, DiskRef
from pvc_gitops.planner.context import Context, dotted, own_prefix, prefix_of
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.steps.images import SNAPSHOT

_UUID_DIGITS: Final = 8
# Lives of one address that can be told from the names of their data. A replacement makes a new one.
_LIVES_MAX: Final = 64


def rbd_name(cluster_id: str, of: Address, incarnation: int) -> str:
    """`vm.web1.root.0a1b2c3d` or `volume.archive.0a1b2c3d`: unique to one life of one disk."""
    digits = derived_uuid(cluster_id, of, incarnation)[:_UUID_DIGITS]
    return f"{dotted(of)}.{digits}"


def disk_address(vm: str, disk: str) -> Address:
    return address("vm", vm, "disk", disk)


def youngest_life(context: Context, of: Address, parts: Iterable[Address]) -> int:
    """Which life an address without a record is in: that of the data that is left of it, else the
    first that nobody has. One who was renamed took a life of its old name along."""
    cluster_id, addresses = context.inventory.cluster_id, tuple(parts)
    prefix = own_prefix(of)
    images, trash = context.images_of(prefix), context.trash_of(prefix)
    if images or trash:
        names = {n for p, n in images if not context.is_anothers(p, n, than=of)}
        names |= {e.name for p, e in trash if not context.is_anothers(p, e.name, than=of)}
        for life in range(_LIVES_MAX, 0, -1):
            if any(rbd_name(cluster_id, part, life) in names for part in addresses):
                return life
    taken = context.uuids
    life = 1
    while taken and derived_uuid(cluster_id, of, life) in taken:
        life += 1
        assert life < _LIVES_MAX, of
    return life


def lives_of(context: Context, part: Address) -> frozenset[str]:
    """All names that a disk of this cluster may ever have had."""
    cluster_id = context.inventory.cluster_id
    return frozenset(rbd_name(cluster_id, part, n) for n in range(1, _LIVES_MAX + 1))


def trashed(context: Context, ref: DiskRef) -> str | None:
    """The youngest entry of the trash that bears the disk's name."""
    entries = context.trash_of(prefix_of(ref.image))
    if not entries:  # of nearly everybody
        return None
    own = [e for p, e in entries if (p, e.name) == (ref.pool, ref.image)]
    return own[-1].id if own else None


def making(
    context: Context, draft: Draft, ref: DiskRef, *, image: Address | None
) -> tuple[Operation, dict[str, Value]]:
    """How a disk comes to be: out of the trash, as a clone, or empty."""
    inputs: dict[str, Value] = {"pool": ref.pool, "image": ref.image, "size_mib": ref.size_mib}
    trash_id = trashed(context, ref)
    if trash_id is not None:
        return Operation.DISK_RESTORE, inputs | {"trash_id": trash_id}
    parent = None
    if image is not None:
        data = draft.after[image].disks["data"]
        parent = {"pool": data.pool, "image": data.image, "snapshot": SNAPSHOT}
    return Operation.DISK_CREATE, inputs | {"parent": parent}


def make_disks(
    context: Context,
    draft: Draft,
    record: Applied,
    node: NodeName,
    *,
    pre: str,
    old: Applied | None = None,
) -> tuple[list[str], set[Operation]]:
    """Steps for the guest's own disks that are not there or too small."""
    made: list[str] = []
    operations: set[Operation] = set()
    spec = record.spec["disks"]
    for name, ref in sorted(record.disks.items()):
        if spec[name].get("volume") is not None:
            continue
        of = disk_address(record.name, name)
        before = None if old is None else old.disks.get(name)
        needs: list[str] = []
        if before is not None and before.image == ref.image and not context.is_lost(before):
            if before.size_mib == ref.size_mib or is_made(context, of, ref):
                continue
            operation = Operation.DISK_GROW
            inputs = {"pool": ref.pool, "image": ref.image, "size_mib": ref.size_mib}
        elif is_made(context, of, ref):
            continue
        else:
            image = spec[name].get("image")
            of_image = None if image is None else address(Kind.IMAGE, image)
            operation, inputs = making(context, draft, ref, image=of_image)
            sources = [address(Kind.POOL, ref.pool), *([of_image] if of_image else [])]
            needs = draft.lasts(sources)
        made.append(draft.step(operation, of, node, needs=needs, pre=pre, inputs=inputs))
        operations.add(operation)
    return made, operations


def is_made(context: Context, of: Address, ref: DiskRef) -> bool:
    """Whether the data is there in its size, although the record does not say so: of a guest whose
    making, growth or removal was interrupted, since removal takes the data first and the record last."""
    found = context.image(ref.pool, ref.image)
    if found is None or found.size_mib < ref.size_mib:
        return False
    making_it = (Operation.DISK_CREATE, Operation.DISK_RESTORE, Operation.DISK_GROW)
    return not any(context.is_under_way(f"{operation} {of}") for operation in making_it)


def trash_stale(
    context: Context,
    draft: Draft,
    record: Applied,
    node: NodeName,
    *,
    pre: str,
    needs: list[str | None],
) -> list[str]:
    """Data of this guest that its record does not name goes to the trash, by what is seen in the
    pools: so a plan made in the middle of an apply still holds what is left."""
    keep_s = int(context.cluster.trash_keep_s)
    return [
        draft.step(
            Operation.DISK_TRASH,
            disk_address(record.name, disk),
            node,
            needs=needs,
            pre=pre,
            inputs={"pool": pool, "image": image, "keep_s": keep_s},
            qualifier=image.split(".")[-1],
        )
        for (pool, image), disk in sorted(_stale(context, record).items())
    ]


def has_stale(context: Context, record: Applied) -> bool:
    """Whether `trash_stale` would find anything."""
    return bool(_stale(context, record))


def _stale(context: Context, record: Applied) -> Mapping[tuple[str, str], str]:
    """(pool, image) -> disk of what is there and no record names: under its own name, and under those
    that it had, as far as the image bears the mark of this very life."""
    named = {(ref.pool, ref.image) for ref in record.disks.values()}
    cluster_id, life = context.inventory.cluster_id, record.incarnation
    found: dict[tuple[str, str], str] = {}
    for of in (record.address, *record.names):
        for pool, image in context.images_of(".".join([*of.split("/"), ""])):
            parts = image.split(".")
            is_own = of == record.address or image == rbd_name(
                cluster_id, disk_address(of.partition("/")[2], parts[2]), life
            )
            if is_own and not context.is_anothers(pool, image, than=record.address):
                found[pool, image] = parts[2]
    before = context.applied(record.address)
    if before is not None:
        # What was renamed or adopted lies under a name of its own.
        for disk, ref in before.disks.items():
            is_there = context.image(ref.pool, ref.image) is not None
            if before.spec["disks"][disk].get("volume") is None and is_there:
                found[ref.pool, ref.image] = disk
    return {
        key: disk
        for key, disk in found.items()
        if key not in named and context.applied(address(Kind.POOL, key[0])) is not None
    }
