"""What a node offers guests: its memory less what the cluster itself needs there."""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.inventory import Hardware
from pvc_gitops.model.spec import Cluster, Node, NodeRole, VirtualMachine
from pvc_gitops.scheduler.board import Host

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
    """Memory of a node that guests do not get."""
    if cluster.reserve_memory_mib is not None:
        return cluster.reserve_memory_mib
    on_disk = sum(osd.file_path is None for osd in node.osds)
    osds = min(on_disk * OSD_DISK_MIB, int(memory_mib * OSD_SHARE_MAX))
    osds += (len(node.osds) - on_disk) * OSD_FILE_MIB
    coordinator = COORDINATOR_MIB if node.role is NodeRole.COORDINATOR else 0
    return SYSTEM_MIB + coordinator + osds


def host(
    node: Node, reported: Hardware | None, cluster: Cluster, *, load: float | None = None
) -> Host:
    """The smaller of what is declared and what the machine reports, less the reserve. `load`: as it
    was reported; a node that reports none counts as idle."""
    memory_mib, cpus = node.memory_mib, node.cpus
    if reported is not None:
        memory_mib, cpus = min(memory_mib, reported.memory_mib), min(cpus, reported.cpus)
    usable = max(0, memory_mib - reserve_mib(node, memory_mib, cluster))
    return Host(
        name=node.name,
        memory_mib=usable,
        vcpus=cpus * cluster.vcpu_ratio,
        vfs=node.vfs,
        load=0.0 if load is None else load,
    )


def guest_mib(vm: VirtualMachine) -> int:
    return vm.memory_mib + GUEST_OVERHEAD_MIB
