"""Memory that guests do not get: what a node needs for itself, and what QEMU takes beside a guest's own.

Everybody who counts memory counts with these: validation, placement, N-1, and whoever checks them.
"""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.spec import Cluster, Node, NodeRole

# Debian, libvirt, FRR, our own guard and agent (130 MiB by budget): an idle node holds about this.
SYSTEM_MIB: Final = 256
# ZooKeeper's heap and a monitor of a small cluster.
COORDINATOR_MIB: Final = 192
# Ceph's default osd_memory_target, for an OSD on a disk of its own …
OSD_DISK_MIB: Final = 4096
# … of which a host that also runs guests gives at most a fifth of its memory to all OSDs (the ratio
# that Ceph's own autotuning documents for hyperconverged hosts).
OSD_SHARE_MAX: Final = 0.2
# An OSD on a file is a lab's; its caches are set small.
OSD_FILE_MIB: Final = 128
# QEMU's own memory beside the guest's: device models, video, I/O threads.
GUEST_OVERHEAD_MIB: Final = 64


def reserve_mib(node: Node, memory_mib: int, cluster: Cluster) -> int:
    """Memory of a node that guests do not get. `memory_mib`: what the node has in all."""
    if cluster.reserve_memory_mib is not None:
        return cluster.reserve_memory_mib
    on_disk = sum(osd.file_path is None for osd in node.osds)
    osds = min(on_disk * OSD_DISK_MIB, int(memory_mib * OSD_SHARE_MAX))
    osds += (len(node.osds) - on_disk) * OSD_FILE_MIB
    coordinator = COORDINATOR_MIB if node.role is NodeRole.COORDINATOR else 0
    return SYSTEM_MIB + coordinator + osds


def usable_mib(node: Node, memory_mib: int, cluster: Cluster) -> int:
    """What is left for guests of the memory that a node has."""
    return max(0, memory_mib - reserve_mib(node, memory_mib, cluster))
