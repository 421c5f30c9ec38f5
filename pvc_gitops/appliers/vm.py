"""Guests. The steps write the record and wait; the owner's agent makes the domain match it.

Pure here: what a record means as a domain, which differences a running domain can take, and when
a step is done. Starting and stopping are in `controllers/guests.py`, the one mechanism (DESIGN 6).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import assert_never

from pvc_gitops.appliers import network
from pvc_gitops.appliers.outcome import Applier, Outcome, Progress, Writes
from pvc_gitops.errors import ApplyError, PrereqError
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.ids import VmName
from pvc_gitops.model.inventory import GuestState
from pvc_gitops.model.plan import Operation, Step
from pvc_gitops.model.records import Applied, GuestPhase, PlacementRecord, Wanted
from pvc_gitops.model.spec import Network, VirtualMachine
from pvc_gitops.model.values import dataclass
from pvc_gitops.world import names
from pvc_gitops.world.ports import DiskAttachment, Domain, NicAttachment, World


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachNic:
    """A new NIC."""

    nic: NicAttachment


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachNic:
    """A NIC that is not declared any more."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachDisk:
    """A new disk."""

    disk: DiskAttachment


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachDisk:
    """A disk that is not declared any more."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The domain is all that its record says."""

    digest: str


Command = AttachNic | DetachNic | AttachDisk | DetachDisk | Mark


def commands(want: Domain, have: Domain) -> Iterator[Command]:
    """What a running domain can take without stopping; equal ones yield nothing.

    What is left afterwards (`needs_restart`) waits for the guest's next start.
    """
    old_nics = {nic.name: nic for nic in have.nics}
    new_nics = {nic.name: nic for nic in want.nics}
    old_disks = {disk.name: disk for disk in have.disks}
    new_disks = {disk.name: disk for disk in want.disks}
    for name in sorted(old_nics.keys() - new_nics.keys()):
        yield DetachNic(name=name)
    for name in sorted(old_disks.keys() - new_disks.keys()):
        yield DetachDisk(name=name)
    for name in sorted(new_disks.keys() - old_disks.keys()):
        yield AttachDisk(disk=new_disks[name])
    for name in sorted(new_nics.keys() - old_nics.keys()):
        yield AttachNic(nic=new_nics[name])
    if have.digest != want.digest and not needs_restart(want, have):
        yield Mark(digest=want.digest)


def needs_restart(want: Domain, have: Domain) -> bool:
    """Is there a difference that only a stop and a start brings into force?"""
    nics = {nic.name: nic for nic in have.nics}
    disks = {disk.name: disk for disk in have.disks}
    return (
        any(nics.get(nic.name, nic) != nic for nic in want.nics)
        or any(disks.get(disk.name, disk) != disk for disk in want.disks)
        or _fixed(want) != _fixed(have)
    )


def _fixed(domain: Domain) -> Domain:
    return replace(domain, nics=(), disks=(), digest="", starts=0)


def execute(command: Command, vm: str, world: World) -> None:
    """One command on a running domain."""
    match command:
        case AttachNic():
            world.hypervisor.attach_nic(vm, command.nic)
        case DetachNic():
            world.hypervisor.detach_nic(vm, command.name)
        case AttachDisk():
            world.hypervisor.attach_disk(vm, command.disk)
        case DetachDisk():
            world.hypervisor.detach_disk(vm, command.name)
        case Mark():
            world.hypervisor.mark(vm, command.digest)
        case other:
            assert_never(other)


def domain_of(
    record: Applied, *, networks: Mapping[str, Applied], core_mtu_bytes: int, starts: int
) -> Domain | str:
    """A guest's record as a domain, or the sentence that says what is missing for it."""
    vm = VirtualMachine.from_spec(record.name, record.spec)
    nics: list[NicAttachment] = []
    for name in sorted(vm.nics):
        nic, lease = vm.nics[name], record.nics.get(name)
        of = networks.get(nic.network)
        if lease is None or of is None:
            return f"network {nic.network} is not applied yet"
        net = Network.from_spec(of.name, of.spec)
        if net.vni is None:
            return f"network {nic.network} is not a managed network"
        nics.append(
            NicAttachment(
                name=name,
                mac=lease.mac,
                bridge=names.bridge(net.vni),
                tap=names.tap(record.name, name),
                model=nic.model,
                mtu_bytes=network.mtu_bytes(net, core_mtu_bytes),
            )
        )
    missing = sorted(vm.disks.keys() - record.disks.keys())
    if missing:
        return f"disk {missing[0]} is not made yet"
    return Domain(
        name=record.name,
        uuid=record.uuid,
        digest=record.digest,
        starts=starts,
        vcpus=vm.vcpus,
        cpu_model=vm.cpu_model,
        memory_mib=vm.memory_mib,
        firmware=vm.firmware,
        disks=tuple(
            DiskAttachment(
                name=name,
                pool=record.disks[name].pool,
                image=record.disks[name].image,
                bus=vm.disks[name].bus,
                boot=vm.disks[name].boot,
            )
            for name in sorted(vm.disks)
        ),
        nics=tuple(nics),
        console_log=vm.console_log,
    )


def check(step: Step, world: World) -> None:
    """The step's node must be the guest's: it may have been started elsewhere since the plan."""
    placement = _placement(step, world)
    if placement is not None and placement.owner != world.me.node:
        raise PrereqError(
            f"{step.address} belongs to {placement.owner} by now, not to {world.me.node}; "
            "the next plan takes that into account"
        )


def run(step: Step, world: World, progress: Progress) -> Outcome | None:
    """Done when domain and placement both show what the record wants."""
    del progress
    name = step.address.partition("/")[2]
    placement = _placement(step, world)
    facts = world.hypervisor.domains().get(name)
    if step.operation is not Operation.VM_PUT or _is_stopped(step):
        is_down = facts is None and (placement is None or placement.state is GuestPhase.STOPPED)
        return Outcome(evidence={"domain": "gone"}) if is_down else None
    if placement is None:
        raise ApplyError(f"{step.address} has lost its placement; run the plan again")
    if placement.state is GuestPhase.FAILED:
        raise ApplyError(f"{step.address} does not start: {placement.why}")
    if facts is None or facts.domain is None or facts.state is not GuestState.RUNNING:
        return None
    if placement.state is not GuestPhase.RUNNING:
        return None
    assert step.record is not None
    is_current = facts.domain.digest == step.record.digest
    if not is_current and not step.inputs.get("is_deferred", False):
        return None
    pending = "" if is_current else "; the rest of the change waits for the next start"
    return Outcome(
        evidence={"domain": f"running on {world.me.node}, start {placement.starts}{pending}"}
    )


def _is_stopped(step: Step) -> bool:
    return step.record is None or step.record.wanted is not Wanted.RUNNING


def _placement(step: Step, world: World) -> PlacementRecord | None:
    stamped = world.store.read(paths.placement(VmName(step.address.partition("/")[2])))
    return None if stamped is None else decode(PlacementRecord, stamped.value)


PUT = Applier(check=check, run=run, writes=Writes.FIRST, is_long=False)
