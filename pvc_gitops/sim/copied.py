"""A simulated cluster that begins as a copy of a real one: what `pvc export` wrote of it.

Records, data and placements are as they were; machines, links and processes are new. Nodes that were at
work boot and start their guests where they are, the others stay dark.
"""

from __future__ import annotations

from typing import Any

from pvc_gitops.errors import UsageError
from pvc_gitops.model import paths
from pvc_gitops.model.codec import encode
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.inventory import ImageFacts, Inventory, NodeState, StorageFacts
from pvc_gitops.model.records import GuestPhase
from pvc_gitops.model.values import replace
from pvc_gitops.sim.before import lived
from pvc_gitops.sim.ceph import IMPORTED_MIB
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.world.ports import Create, Put

# What guests that were being started or stopped go on from: their owners begin anew.
_GOES_ON = (GuestPhase.STARTING, GuestPhase.STOPPING, GuestPhase.MIGRATING)
_AT_WORK = (NodeState.ONLINE, NodeState.DEGRADED, NodeState.MAINTENANCE)


def restore(cluster: SimCluster, inventory: Inventory) -> tuple[NodeName, ...]:
    """Put all that an inventory says in force. Returns the nodes that were at work.

    Args:
        cluster: just founded, of the inventory's commit, no node on.
        inventory: of the real one.

    Raises:
        UsageError: it does not say what there is.
    """
    if inventory.storage is None:
        raise UsageError(
            "the export does not say what Ceph holds, so its guests have no disks",
            hint="pvc export again, when `pvc status` shows the storage",
        )
    unknown = sorted(inventory.nodes.keys() - cluster.nodes.keys())
    if unknown:
        raise UsageError(f"the repository declares no node {unknown[0]!r}, and the export has it")
    for record in inventory.applied.values():
        _write(cluster, paths.applied(record.address), encode(record))
    for name, was in sorted(inventory.placements.items()):
        state = GuestPhase.WAITING if was.state in _GOES_ON else was.state
        _write(cluster, paths.placement(name), encode(replace(was, state=state)))
    for intent in inventory.intents.values():
        _write(cluster, paths.intent(intent.id), encode(intent))
    _store(cluster, inventory, inventory.storage)
    for node, facts in sorted(inventory.nodes.items()):
        if facts.state is not NodeState.ABSENT:
            lived(cluster, node, has_left=facts.state is NodeState.LEFT)
    return tuple(name for name, facts in sorted(inventory.nodes.items()) if facts.state in _AT_WORK)


def _store(cluster: SimCluster, inventory: Inventory, storage: StorageFacts) -> None:
    ceph = cluster.ceph
    ceph.pools.update({str(name): facts for name, facts in storage.pools.items()})
    for key, facts in storage.images.items():
        pool, _, image = key.partition("/")
        ceph.images[pool, image] = facts
    sizes = {
        disk.image: disk.size_mib
        for record in inventory.applied.values()
        for disk in record.disks.values()
    }
    for pool, entries in storage.trash.items():
        ceph.trash[pool] = tuple(entries)
        for entry in entries:
            size_mib = sizes.get(entry.name, IMPORTED_MIB)
            ceph.trashed[entry.id] = ImageFacts(size_mib=size_mib, parent=None, snapshots=())


def _write(cluster: SimCluster, path: str, value: Any) -> None:  # noqa: ANN401  a record as JSON
    stamped = cluster.tree.records.get(path)
    op = (
        Create(path=path, value=value)
        if stamped is None
        else Put(path=path, value=value, version=stamped.version)
    )
    cluster.tree.apply((op,))
