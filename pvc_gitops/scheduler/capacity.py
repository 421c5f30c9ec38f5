"""What a node offers guests, and what a guest takes of it."""

from __future__ import annotations

from pvc_gitops.model.inventory import Hardware
from pvc_gitops.model.room import GUEST_OVERHEAD_MIB, usable_mib
from pvc_gitops.model.spec import Cluster, Node, VirtualMachine
from pvc_gitops.scheduler.board import Host


def host(
    node: Node, reported: Hardware | None, cluster: Cluster, *, load: float | None = None
) -> Host:
    """The smaller of what is declared and what the machine reports, less the reserve. `load`: as it
    was reported; a node that reports none counts as idle."""
    memory_mib, cpus = node.memory_mib, node.cpus
    if reported is not None:
        memory_mib, cpus = min(memory_mib, reported.memory_mib), min(cpus, reported.cpus)
    return Host(
        name=node.name,
        memory_mib=usable_mib(node, memory_mib, cluster),
        vcpus=cpus * cluster.vcpu_ratio,
        vfs=node.vfs,
        load=0.0 if load is None else load,
    )


def guest_mib(vm: VirtualMachine) -> int:
    return vm.memory_mib + GUEST_OVERHEAD_MIB
