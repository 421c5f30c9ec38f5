"""RBD images of guests and volumes: names, lives, and the steps that make them.

A name keeps its data (D6): what lies in the trash under a declared address is restored, never made
empty beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pvc_gitops.model.document import Value
from pvc_gitops.model.ids import Address, address, derived_uuid
from pvc_gitops.model.plan import Operation
from pvc_gitops.model.records import DiskRef
from pvc_gitops.planner.context import Context, prefix_of
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.steps.images import SNAPSHOT

_UUID_DIGITS: Final = 8
# Lives of one address that can be told from the names of their data. A replacement makes a new one.
_LIVES_MAX: Final = 64


def rbd_name(cluster_id: str, of: Address, incarnation: int) -> str:
    """`vm.web1.root.0a1b2c3d` or `volume.archive.0a1b2c3d`: unique to one life of one disk."""
    kind, name, *parts = of.split("/")
    digits = derived_uuid(cluster_id, of, incarnation)[:_UUID_DIGITS]
    return ".".join([kind, name, *parts[1:], digits])


def disk_address(vm: str, disk: str) -> Address:
    return address("vm", vm, "disk", disk)


def youngest_life(context: Context, prefix: str, parts: Iterable[Address]) -> int:
    """Which life an address without a record is in: that of the data that is left of it, else 1."""
    names = {name for _, name in context.images_of(prefix)}
    names |= {entry.name for _, entry in context.trash_of(prefix)}
    if not names:
        return 1
    cluster_id, addresses = context.inventory.cluster_id, tuple(parts)
    lives = (
        life
        for life in range(_LIVES_MAX, 0, -1)
        if any(rbd_name(cluster_id, of, life) in names for of in addresses)
    )
    return next(lives, 1)


def trashed(context: Context, ref: DiskRef) -> str | None:
    """The youngest entry of the trash that bears the disk's name."""
    entries = [
        e for p, e in context.trash_of(prefix_of(ref.image)) if (p, e.name) == (ref.pool, ref.image)
    ]
    return entries[-1].id if entries else None


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
