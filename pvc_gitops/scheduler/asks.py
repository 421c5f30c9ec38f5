"""From what is declared to the scheduler's words. The planner and recovery must count alike: what one
has proven the other carries out."""

from __future__ import annotations

from collections.abc import Container

from pvc_gitops.model.ids import GroupName, NetworkName
from pvc_gitops.model.spec import Group, RunState, VirtualMachine
from pvc_gitops.scheduler.board import Guest, Rule
from pvc_gitops.scheduler.capacity import guest_mib


def ask_of(
    vm: VirtualMachine, rules: Container[GroupName], sriov: Container[NetworkName]
) -> Guest | None:
    """What a guest asks of a host; None for one that is disabled, which nothing counts.

    Args:
        vm: the guest.
        rules: the groups that are known.
        sriov: networks of which each NIC takes a virtual function.
    """
    if vm.run_state is RunState.DISABLED:
        return None
    return Guest(
        name=vm.name,
        memory_mib=guest_mib(vm),
        vcpus=vm.vcpus,
        nodes=frozenset(vm.placement.nodes),
        is_strict=vm.placement.is_strict,
        prefer=dict(vm.placement.prefer),
        groups=tuple(group for group in vm.placement.groups if group in rules),
        tier=vm.ha.tier,
        must_survive=vm.ha.restart and vm.ha.relocate and vm.run_state is not RunState.STOPPED,
        vfs=sum(nic.network in sriov for nic in vm.nics.values()),
        is_running=vm.run_state is not RunState.STOPPED,
        strategy=vm.placement.strategy,
    )


def rule_of(group: Group) -> Rule:
    return Rule(
        name=group.name,
        is_apart=group.policy == "apart",
        is_strict=group.is_strict,
        max_per_node=group.max_per_node,
    )
