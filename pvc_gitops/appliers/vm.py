"""Guests. The steps write the record and wait; the owner's agent makes the domain match it.

Pure here: what a record means as a domain, which differences a running domain can take, and when
a step is done. Starting and stopping are in `controllers/guests.py`, the one mechanism (DESIGN 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, assert_never

from pvc_gitops.appliers.outcome import Applier, Outcome, Progress, Writes
from pvc_gitops.errors import ApplyError, HypervisorError, PrereqError
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.ids import VmName
from pvc_gitops.model.inventory import Deviation, GuestState
from pvc_gitops.model.plan import Operation, Step
from pvc_gitops.model.records import Applied, GuestPhase, PlacementRecord, Wanted
from pvc_gitops.model.spec import Network, VirtualMachine
from pvc_gitops.model.units import size_text
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
class ResizeDisk:
    """A disk has grown: say so to the guest."""

    disk: DiskAttachment


@dataclass(frozen=True, slots=True, kw_only=True)
class EndAtReboot:
    """A reboot from inside is the next start, which brings what waits for one."""

    ends: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What the domain shows now of its record."""

    digest: str
    sizes_mib: Mapping[str, int]


Command = AttachNic | DetachNic | AttachDisk | DetachDisk | ResizeDisk | EndAtReboot | Mark


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
    for name in sorted(new_disks.keys() & old_disks.keys()):
        if new_disks[name].size_mib > old_disks[name].size_mib:
            yield ResizeDisk(disk=new_disks[name])
    for name in sorted(new_disks.keys() - old_disks.keys()):
        yield AttachDisk(disk=new_disks[name])
    for name in sorted(new_nics.keys() - old_nics.keys()):
        yield AttachNic(nic=new_nics[name])
    waits = needs_restart(want, have)
    if waits != have.ends_at_reboot:
        yield EndAtReboot(ends=waits)
    digest = have.digest if waits else want.digest
    sizes_mib = {disk.name: disk.size_mib for disk in want.disks}
    if digest != have.digest or sizes_mib != {disk.name: disk.size_mib for disk in have.disks}:
        yield Mark(digest=digest, sizes_mib=sizes_mib)


def needs_restart(want: Domain, have: Domain) -> bool:
    """Is there a difference that only a stop and a start brings into force?"""
    return any(each.needs_restart for each in deviations(want, have))


def deviations(want: Domain, have: Domain) -> tuple[Deviation, ...]:
    """Every part of a running domain that is not as wanted, in words.

    A NIC's MTU is its network's and comes with the next start, whenever that is. A disk that is larger
    than wanted is not the domain's business.
    """
    is_drift = have.digest == want.digest
    found: list[Deviation] = []

    def differ(part: str, live: object, applied: object, *, needs_restart: bool) -> None:
        if live != applied:
            found.append(
                Deviation(
                    part=part,
                    live=str(live),
                    applied=str(applied),
                    needs_restart=needs_restart,
                    is_drift=is_drift,
                )
            )

    differ("vcpus", have.vcpus, want.vcpus, needs_restart=True)
    live, applied = (size_text(each.memory_mib) for each in (have, want))
    differ("memory", live, applied, needs_restart=True)
    differ("cpu model", have.cpu_model, want.cpu_model, needs_restart=True)
    differ("firmware", have.firmware, want.firmware, needs_restart=True)
    differ("console log", have.console_log, want.console_log, needs_restart=True)
    # A channel that nobody asks any more is no reason for a restart.
    differ("guest agent", have.agent, have.agent or want.agent, needs_restart=True)
    for word, old, new in (
        ("disk", _by_name(have.disks), _by_name(want.disks)),
        ("nic", _by_name(have.nics), _by_name(want.nics)),
    ):
        for name in sorted(old.keys() | new.keys()):
            if name not in old or name not in new:
                seen = ["there" if name in of else "absent" for of in (old, new)]
                differ(f"{word} {name}", *seen, needs_restart=False)
                continue
            for field in _DEVICE_FIELDS[word]:
                part, values = f"{word} {name} {field}", (old[name], new[name])
                differ(part, *(getattr(each, field) for each in values), needs_restart=True)
            if word == "disk" and old[name].size_mib < new[name].size_mib:
                told = (size_text(each[name].size_mib) for each in (old, new))
                differ(f"disk {name} size", *told, needs_restart=False)
    return tuple(found)


_DEVICE_FIELDS: Final = {
    "disk": ("pool", "image", "bus", "boot"),
    "nic": ("mac", "bridge", "model"),
}


def _by_name(devices: Iterable[Any]) -> Mapping[str, Any]:
    return {device.name: device for device in devices}


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
        case ResizeDisk():
            _resize(command.disk, vm, world)
        case EndAtReboot():
            world.hypervisor.end_at_reboot(vm, ends=command.ends)
        case Mark():
            world.hypervisor.mark(vm, command.digest, command.sizes_mib)
        case other:
            assert_never(other)


def _resize(disk: DiskAttachment, vm: str, world: World) -> None:
    """As large as the image is: told less, QEMU would cut it off."""
    facts = world.images.images(disk.pool).get(disk.image)
    if facts is None or facts.size_mib < disk.size_mib:
        has = "not there" if facts is None else f"{facts.size_mib} MiB"
        what = f"{disk.pool}/{disk.image} should have {disk.size_mib} MiB and is {has}"
        raise HypervisorError("resize", f"{vm} {disk.name}", what, retryable=True)
    world.hypervisor.resize_disk(vm, disk.name, facts.size_mib)


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
                mtu_bytes=net.guest_mtu_bytes(core_mtu_bytes),
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
                size_mib=record.disks[name].size_mib,
            )
            for name in sorted(vm.disks)
        ),
        nics=tuple(nics),
        console_log=vm.console_log,
        agent=vm.ha.ready is not None and vm.ha.ready.agent,
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
    is_deferred = step.inputs.get("is_deferred", False) and _has_devices(facts.domain, step.record)
    if not is_current and not is_deferred:
        return None
    pending = "" if is_current else "; the rest of the change waits for the next start"
    return Outcome(
        evidence={"domain": f"running on {world.me.node}, start {placement.starts}{pending}"}
    )


def _has_devices(domain: Domain, record: Applied) -> bool:
    """Is everything plugged and told that can be while it runs?"""
    disks = {disk.name: (disk.image, disk.size_mib) for disk in domain.disks}
    recorded = {name: (ref.image, ref.size_mib) for name, ref in record.disks.items()}
    return disks == recorded and {nic.name for nic in domain.nics} == record.nics.keys()


def _is_stopped(step: Step) -> bool:
    return step.record is None or step.record.wanted is not Wanted.RUNNING


def _placement(step: Step, world: World) -> PlacementRecord | None:
    stamped = world.store.read(paths.placement(VmName(step.address.partition("/")[2])))
    return None if stamped is None else decode(PlacementRecord, stamped.value)


PUT = Applier(check=check, run=run, writes=Writes.FIRST, is_long=False)
