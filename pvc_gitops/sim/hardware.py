"""What a simulated node is made of: its guests' processes, its kernel's networks, its disk.

Physics only; who may do what is the controllers' business, and `checkers` watches the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from pvc_gitops.errors import HypervisorError, PoolError
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.inventory import GuestState, Hardware, UnmanagedNetwork
from pvc_gitops.model.values import replace
from pvc_gitops.sim.ceph import Ceph
from pvc_gitops.sim.kernel import Kernel
from pvc_gitops.sim.migration import Migration, Migrations
from pvc_gitops.sim.process import Process
from pvc_gitops.world.names import AUTHORIZED_KEYS, BMC_PASSWORDS
from pvc_gitops.world.names import bridge as bridge_name
from pvc_gitops.world.ports import (
    ARRIVED,
    ARRIVING,
    Bridge,
    DhcpConfig,
    DiskAttachment,
    Domain,
    DomainFacts,
    Json,
    Neighbour,
    NicAttachment,
    Sending,
)

if TYPE_CHECKING:
    from pvc_gitops.sim.checkers import Checkers

SHUTDOWN_S: Final = 2.0  # a guest powers off
LOAD_PER_VCPU: Final = 0.25  # simulated guests idle a little


@dataclass(slots=True)
class SimDomain:
    """A guest's process. `address` is its Ceph client."""

    domain: Domain
    state: GuestState
    address: str
    is_ours: bool = True
    reason: str = ""  # why it is paused


@dataclass(slots=True)
class Guests:
    """All guest processes of a node, and what goes wrong with them."""

    kernel: Kernel
    ceph: Ceph
    node: str
    storage_address: str
    checkers: Checkers
    on_change: Callable[[], None]  # libvirt's events wake the agent
    can_reach_storage: Callable[[], bool]
    on_start: Callable[[str], None]  # its vCPUs begin to run
    on_stop: Callable[[str], None]  # they ran, and its process is gone
    domains: dict[str, SimDomain] = field(default_factory=dict)
    failing_starts: dict[str, int] = field(default_factory=dict)
    deaf_to_stops: dict[str, int] = field(default_factory=dict)  # so many wishes are not heard
    is_hanging: bool = False  # libvirt takes calls and never returns
    migrations: Migrations = field(init=False)  # to other nodes

    def receive(self, domain: Domain) -> str:
        """Make the copy of a guest that comes from another node; why not, if it cannot be made."""
        if domain.name in self.domains:
            return "it exists there already"
        if not self.can_reach_storage():
            return "no storage there"
        address = f"{self.storage_address}:0/{self.ceph.nonce()}"
        try:
            for disk in domain.disks:
                self.ceph.open(disk.pool, disk.image, address)
        except PoolError as error:
            self.ceph.close(address, is_clean=True)
            return str(error)
        self.domains[domain.name] = SimDomain(domain, GuestState.PAUSED, address, reason=ARRIVING)
        self.on_change()
        return ""

    def end(self, name: str, *, is_clean: bool) -> None:
        """The process is gone."""
        gone = self.domains.pop(name, None)
        if gone is None:
            return
        was_running = gone.state is not GuestState.PAUSED
        self.checkers.stopped(name, self.node, was_running=was_running)
        if was_running:
            self.on_stop(name)
        # Without a network it cannot say goodbye.
        self.ceph.close(gone.address, is_clean=is_clean and self.can_reach_storage())
        self.on_change()

    def reboot(self, name: str) -> None:
        """From inside: the process goes on with what it has, unless it was told to end then."""
        each = self.domains.get(name)
        if each is not None and each.domain.ends_at_reboot:
            self.end(name, is_clean=True)

    def unplug(self, name: str, kind: str, device: str) -> None:
        """By hand, past us: `kind` is nic or disk."""
        each = self.domains.get(name)
        if each is None:
            return
        if kind == "nic":
            nics = tuple(nic for nic in each.domain.nics if nic.name != device)
            each.domain = replace(each.domain, nics=nics)
        else:
            self.close_disk(name, device)
            disks = tuple(disk for disk in each.domain.disks if disk.name != device)
            each.domain = replace(each.domain, disks=disks)
        self.on_change()

    def close_disk(self, name: str, device: str) -> None:
        """The guest's process lets go of an image."""
        each = self.domains[name]
        for disk in each.domain.disks:
            if disk.name == device:
                watchers = self.ceph.watchers.get((disk.pool, disk.image), set())
                watchers.discard(each.address)

    def end_all(self) -> bool:
        """Power cut, or cgroup.kill. Was there any?"""
        names = sorted(self.domains)
        for name in names:
            self.end(name, is_clean=False)
        return bool(names)


@dataclass(slots=True)
class HypervisorPort:
    """One process's view of its node's guests: the Hypervisor port."""

    guests: Guests
    process: Process
    declared: Hardware
    sent: dict[str, Migration] = field(default_factory=dict)  # by this process

    def domains(self) -> Mapping[str, DomainFacts]:
        self._reach("list", "libvirt")
        return {
            name: DomainFacts(
                name=name,
                uuid=each.domain.uuid,
                state=each.state,
                domain=each.domain if each.is_ours else None,
                reason=each.reason,
                foreign=None if each.is_ours else each.domain,
            )
            for name, each in sorted(self.guests.domains.items())
        }

    def create_paused(self, domain: Domain) -> None:
        self._reach("start", domain.name)
        self.process.spend()
        left = self.guests.failing_starts.get(domain.name, 0)
        if left:
            self.guests.failing_starts[domain.name] = left - 1
            raise HypervisorError("start", domain.name, "the script says so", retryable=True)
        if domain.name in self.guests.domains:
            raise HypervisorError("start", domain.name, "it exists already", retryable=True)
        if not self.guests.can_reach_storage():
            raise HypervisorError("start", domain.name, "no storage", retryable=True)
        address = f"{self.guests.storage_address}:0/{self.guests.ceph.nonce()}"
        try:
            for disk in domain.disks:
                self.guests.ceph.open(disk.pool, disk.image, address)
        except PoolError as error:
            self.guests.ceph.close(address, is_clean=True)
            raise HypervisorError("start", domain.name, str(error), retryable=True) from error
        self.guests.domains[domain.name] = SimDomain(domain, GuestState.PAUSED, address)

    def resume(self, name: str) -> None:
        self.process.spend()
        each = self._get("resume", name)
        has_arrived = each.reason == ARRIVED
        each.state, each.reason = GuestState.RUNNING, ""
        self.guests.on_start(name)
        if has_arrived:  # no start: it goes on
            self.guests.checkers.runs(name, self.guests.node, now=True)
            self.guests.ceph.on_block()
        else:
            self.guests.checkers.started(each.domain, self.guests.node)

    def shutdown(self, name: str) -> None:
        self.process.spend()
        each = self._get("shutdown", name)
        if each.state is not GuestState.RUNNING:
            return
        left = self.guests.deaf_to_stops.get(name, 0)
        if left:
            self.guests.deaf_to_stops[name] = left - 1
            return
        each.state = GuestState.STOPPING

        def off() -> None:
            if self.guests.domains.get(name) is each:
                self.guests.end(name, is_clean=True)

        self.guests.kernel.after(SHUTDOWN_S, off)

    def send(self, name: str, to: NodeName, *, max_downtime_s: float) -> None:
        del max_downtime_s  # simulated guests change little of their memory
        self.process.spend()
        self._get("send", name)
        self.sent[name] = self.guests.migrations.begin(name, to)

    def sending(self, name: str) -> Sending | None:
        migration = self.sent.get(name)
        return None if migration is None else migration.state()

    def forget_sending(self, name: str) -> None:
        self.sent.pop(name, None)

    def destroy(self, name: str) -> None:
        self._reach("destroy", name)
        self.process.spend()
        self.guests.end(name, is_clean=True)

    def attach_nic(self, name: str, nic: NicAttachment) -> None:
        self._change(name, lambda d: replace(d, nics=_sorted((*d.nics, nic))))

    def detach_nic(self, name: str, nic: str) -> None:
        self._change(name, lambda d: replace(d, nics=tuple(n for n in d.nics if n.name != nic)))

    def attach_disk(self, name: str, disk: DiskAttachment) -> None:
        each = self._get("attach", name)
        self.guests.ceph.open(disk.pool, disk.image, each.address)
        self._change(name, lambda d: replace(d, disks=_sorted((*d.disks, disk))))

    def detach_disk(self, name: str, disk: str) -> None:
        self._get("detach", name)
        self.guests.close_disk(name, disk)
        self._change(name, lambda d: replace(d, disks=tuple(k for k in d.disks if k.name != disk)))

    def resize_disk(self, name: str, disk: str, size_mib: int) -> None:
        each = self._get("resize", name)
        (of,) = [known for known in each.domain.disks if known.name == disk]
        if self.guests.ceph.images[of.pool, of.image].size_mib > size_mib:
            raise HypervisorError("resize", name, "it would cut the image off", retryable=False)

    def end_at_reboot(self, name: str, *, ends: bool) -> None:
        self._change(name, lambda d: replace(d, ends_at_reboot=ends))

    def mark(self, name: str, digest: str, sizes_mib: Mapping[str, int]) -> None:
        def marked(d: Domain) -> Domain:
            disks = tuple(replace(k, size_mib=sizes_mib.get(k.name, 0)) for k in d.disks)
            return replace(d, digest=digest, disks=disks)

        self._change(name, marked)

    def adopt(self, name: str, domain: Domain) -> None:
        self.process.spend()
        each = self._get("adopt", name)
        each.domain = replace(domain, name=name, digest="")
        each.is_ours = True

    def disown(self, name: str) -> None:
        self.process.spend()
        self._get("disown", name).is_ours = False

    def load(self) -> float:
        running = (each.domain.vcpus for each in self.guests.domains.values())
        return sum(running) * LOAD_PER_VCPU

    def hardware(self) -> Hardware:
        return self.declared

    def faults(self) -> tuple[str, ...]:
        return ()

    def _change(self, name: str, change: Callable[[Domain], Domain]) -> None:
        self.process.spend()
        each = self._get("change", name)
        each.domain = change(each.domain)

    def _reach(self, operation: str, name: str) -> None:
        if self.guests.is_hanging:
            raise HypervisorError(operation, name, "no answer within the limit", retryable=True)

    def _get(self, operation: str, name: str) -> SimDomain:
        self._reach(operation, name)
        each = self.guests.domains.get(name)
        if each is None:
            raise HypervisorError(operation, name, "no such domain", retryable=True)
        return each


_Named = TypeVar("_Named", NicAttachment, DiskAttachment)


def _sorted(items: Sequence[_Named]) -> tuple[_Named, ...]:
    return tuple(sorted(items, key=lambda item: item.name))


@dataclass(slots=True)
class Interfaces:
    """The kernel's part of the guest networks; gone with a reboot."""

    bridges: dict[int, Bridge] = field(default_factory=dict)
    dhcp: dict[int, DhcpConfig] = field(default_factory=dict)
    neighbours: dict[int, tuple[Neighbour, ...]] = field(default_factory=dict)
    foreign: dict[str, UnmanagedNetwork] = field(default_factory=dict)  # somebody else's, by name

    def reboot(self) -> None:
        for table in (self.bridges, self.dhcp, self.neighbours, self.foreign):
            table.clear()


@dataclass(slots=True)
class LinksPort:
    """The Links port."""

    interfaces: Interfaces
    process: Process

    def bridges(self) -> Mapping[int, Bridge]:
        return dict(self.interfaces.bridges)

    def foreign(self) -> tuple[UnmanagedNetwork, ...]:
        return tuple(each for _, each in sorted(self.interfaces.foreign.items()))

    def create(self, bridge: Bridge) -> None:
        self.process.spend()
        self.interfaces.foreign.pop(bridge_name(bridge.vni), None)
        self.interfaces.bridges[bridge.vni] = bridge

    def update(self, bridge: Bridge) -> None:
        self.process.spend()
        self.interfaces.bridges[bridge.vni] = bridge

    def delete(self, vni: int) -> None:
        self.process.spend()
        self.interfaces.bridges.pop(vni, None)

    def set_neighbours(self, vni: int, neighbours: Sequence[Neighbour]) -> None:
        self.process.spend()
        self.interfaces.neighbours[vni] = tuple(neighbours)


@dataclass(slots=True)
class ServicesPort:
    """The NetworkServices port."""

    interfaces: Interfaces
    process: Process

    def dhcp(self) -> Mapping[int, DhcpConfig]:
        return dict(self.interfaces.dhcp)

    def serve_dhcp(self, config: DhcpConfig) -> None:
        self.process.spend()
        self.interfaces.dhcp[config.vni] = config

    def stop_dhcp(self, vni: int) -> None:
        self.process.spend()
        self.interfaces.dhcp.pop(vni, None)


@dataclass(slots=True)
class LoginsPort:
    """The Logins port: a file on the node's disk, which nobody in here logs in by."""

    files: dict[str, str]
    process: Process

    def allow(self, authorized_keys: str) -> None:
        if self.files.get(AUTHORIZED_KEYS) != authorized_keys:
            self.process.spend()
            self.files[AUTHORIZED_KEYS] = authorized_keys


@dataclass(slots=True)
class NotesPort:
    """The Notes port: a disk that survives power cuts."""

    notes: dict[str, Json]
    process: Process

    def get(self, key: str) -> Json | None:
        return self.notes.get(key)

    def put(self, key: str, value: Json) -> None:
        self.process.spend()
        self.notes[key] = dict(value)


@dataclass(slots=True)
class ArchivePort:
    """The Archive port: the same disk."""

    entries: list[Json]
    process: Process

    def last(self) -> int:
        return self.entries[-1]["number"] if self.entries else 0

    def append(self, entries: Sequence[Json]) -> None:
        self.process.spend()
        self.entries.extend(entries)

    def read(self, first: int, last: int) -> Sequence[Json]:
        return [entry for entry in self.entries if first <= entry["number"] <= last]


@dataclass(slots=True)
class VaultPort:
    """The Vault port. Simulated BMCs ask for no password."""

    files: dict[str, str]

    def keep(self, node: NodeName, sealed: bytes, secret: str) -> None:
        self.files[f"{BMC_PASSWORDS}/{node}"] = f"{secret}, {len(sealed)} bytes"

    def forget_others(self, known: frozenset[NodeName]) -> None:
        kept = {f"{BMC_PASSWORDS}/{node}" for node in known}
        for path in [p for p in self.files if p.startswith(BMC_PASSWORDS) and p not in kept]:
            del self.files[path]
