"""The Hypervisor port on libvirt (qemu:///system). Domains are transient: a rebooted node has none.

Every call is bounded twice: libvirt's keepalive ends a connection to a daemon that is silent, and our
own limit leaves a call behind that does not return (`adapters.bounded`), so that a hung libvirtd
costs an error and not the agent. A connection that died is made anew by the next call; a restart of
libvirtd touches no guest and is not noticed above.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from xml.etree import ElementTree as ET

import libvirt

from pvc_gitops.adapters.bounded import Bounded, TimeLimitError
from pvc_gitops.adapters.libvirt import foreign, xml
from pvc_gitops.adapters.libvirt.kvm import Acceleration
from pvc_gitops.adapters.libvirt.sending import Sendings
from pvc_gitops.errors import HypervisorError
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.inventory import GuestState, Hardware
from pvc_gitops.model.units import MIB
from pvc_gitops.model.values import replace
from pvc_gitops.world import names
from pvc_gitops.world.ports import (
    ARRIVED,
    ARRIVING,
    DiskAttachment,
    Domain,
    DomainFacts,
    NicAttachment,
    Sending,
)

T = TypeVar("T")
# libvirt has no types; these names say what is meant.
Connection = Any
Running = Any

URI: Final = "qemu:///system"
KEEPALIVE_S: Final = 2  # with 3 misses a silent daemon is given up after 8 s
KEEPALIVE_MISSES: Final = 3
ASK_LIMIT_S: Final = 10.0  # questions and small changes: milliseconds at rest
# QEMU opens its disks while it is created; after a power cut elsewhere RBD took 8.4 s (measured). What
# takes longer than the agent's watchdog allows a tick is left behind, and seen by a later `domains`.
CREATE_LIMIT_S: Final = 25.0
DESTROY_LIMIT_S: Final = 25.0  # libvirt waits 15 s for SIGTERM before it kills
UNPLUG_LIMIT_S: Final = 8.0  # a booted Linux lets go within one second
UNPLUG_POLL_S: Final = 0.1
# Definitions change by our own hand, and then are read again at once; this is for changes by others.
REREAD_S: Final = 60.0
VHOST: Final = "/dev/vhost-net"

_STATES: Final = {
    libvirt.VIR_DOMAIN_RUNNING: GuestState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: GuestState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: GuestState.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: GuestState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: GuestState.STOPPING,
    libvirt.VIR_DOMAIN_SHUTOFF: GuestState.STOPPING,  # a transient one: gone in a moment
    libvirt.VIR_DOMAIN_CRASHED: GuestState.CRASHED,
    libvirt.VIR_DOMAIN_NOSTATE: GuestState.CRASHED,
}
_PAUSED: Final = {
    libvirt.VIR_DOMAIN_PAUSED_UNKNOWN: "unknown",
    libvirt.VIR_DOMAIN_PAUSED_USER: ARRIVED,
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION: ARRIVING,
    libvirt.VIR_DOMAIN_PAUSED_SAVE: "saving",
    libvirt.VIR_DOMAIN_PAUSED_DUMP: "dumping",
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: "I/O error",
    libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: "watchdog",
    libvirt.VIR_DOMAIN_PAUSED_FROM_SNAPSHOT: "snapshot",
    libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN: "shutting down",
    libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT: "snapshot",
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: "guest crashed",
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: "starting up",
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY: "migration",
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: "migration failed after the switch",
}
# Answers that stay the same until somebody changes something.
_LASTING: Final = frozenset(
    {
        libvirt.VIR_ERR_XML_ERROR,
        libvirt.VIR_ERR_XML_DETAIL,
        libvirt.VIR_ERR_XML_INVALID_SCHEMA,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_INVALID_ARG,
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_DOM_EXIST,
        libvirt.VIR_ERR_OPERATION_INVALID,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_NO_SECRET,
    }
)


# When it was read, the domain if it is ours, else what it would be if it were, or why it cannot be.
_Read = tuple[float, Domain | None, Domain | None, str]
_Known = dict[tuple[str, int], _Read]


class LibvirtHypervisor:
    """Implements `world.ports.Hypervisor`."""

    def __init__(
        self,
        *,
        access: xml.CephAccess,
        acceleration: Acceleration,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`wake`: called when something that was begun has ended."""
        self._access = access
        self._sendings = Sendings(_open, wake)
        self._acceleration = acceleration
        self._bounded = Bounded("libvirt")
        self._connection: Connection = None
        # By uuid and libvirt's id, which is another one after each start: when it was read, and what.
        self._known: _Known = {}
        self._changes = 0  # grows before and after each change of ours
        self._lock = threading.Lock()
        _start_event_loop()

    def domains(self) -> Mapping[str, DomainFacts]:
        def work(connection: Connection) -> Mapping[str, DomainFacts]:
            # One question for the states of all, whatever their number; definitions are remembered.
            changes = self._changes
            stats = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
            known = dict(self._known)
            found = [_facts(running, values, known) for running, values in stats]
            here = _keys(stats)
            with self._lock:
                if changes == self._changes:  # else what was read may be from before the change
                    self._known = {key: each for key, each in known.items() if key in here}
            return {facts.name: facts for facts in found if facts is not None}

        return self._run("list", "domains", work)

    def create_paused(self, domain: Domain) -> None:
        def work(connection: Connection) -> None:
            text = xml.domain_xml(
                domain,
                access=self._access,
                accel=self._acceleration.kind,
                has_vhost=Path(VHOST).exists(),
            )
            Path(names.CONSOLE_LOGS).mkdir(parents=True, exist_ok=True)
            connection.createXML(text, libvirt.VIR_DOMAIN_START_PAUSED)

        self._run("create", domain.name, work, CREATE_LIMIT_S)

    def resume(self, name: str) -> None:
        self._run("resume", name, lambda c: c.lookupByName(name).resume())

    def shutdown(self, name: str) -> None:
        flags = libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
        self._run("shutdown", name, lambda c: c.lookupByName(name).shutdownFlags(flags))

    def send(self, name: str, to: NodeName, *, max_downtime_s: float) -> None:
        self._sendings.begin(name, to, max_downtime_s)

    def sending(self, name: str) -> Sending | None:
        return self._sendings.state(name)

    def forget_sending(self, name: str) -> None:
        self._sendings.forget(name)

    def destroy(self, name: str) -> None:
        def work(connection: Connection) -> None:
            try:
                connection.lookupByName(name).destroy()
            except libvirt.libvirtError as err:
                if err.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise

        self._run("destroy", name, work, DESTROY_LIMIT_S)

    def attach_nic(self, name: str, nic: NicAttachment) -> None:
        has_vhost = Path(VHOST).exists()
        self._attach(
            name,
            "interface",
            nic.name,
            lambda running: xml.nic_xml(nic, has_vhost=has_vhost, running=running),
        )

    def detach_nic(self, name: str, nic: str) -> None:
        self._detach(name, "interface", nic)

    def attach_disk(self, name: str, disk: DiskAttachment) -> None:
        self._attach(
            name,
            "disk",
            disk.name,
            lambda running: xml.disk_xml(disk, access=self._access, running=running),
        )

    def detach_disk(self, name: str, disk: str) -> None:
        self._detach(name, "disk", disk)

    def resize_disk(self, name: str, disk: str, size_mib: int) -> None:
        def work(connection: Connection) -> None:
            found = connection.lookupByName(name)
            handle = xml.handle_of(found.XMLDesc(), disk)
            told_bytes = found.blockInfo(handle)[0]
            if told_bytes > size_mib * MIB:
                raise ValueError(
                    f"disk {disk} has {told_bytes // MIB} MiB; it is never made smaller"
                )
            flags = libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES
            found.blockResize(handle, size_mib * MIB, flags)
            told_bytes = found.blockInfo(handle)[0]
            if told_bytes != size_mib * MIB:
                raise ValueError(f"disk {disk} still has {told_bytes // MIB} MiB afterwards")

        self._run("resize", f"{name} {disk}", work, CREATE_LIMIT_S)

    def end_at_reboot(self, name: str, *, ends: bool) -> None:
        action = (
            libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY
            if ends
            else libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_RESTART
        )

        def work(connection: Connection) -> None:
            connection.lookupByName(name).setLifecycleAction(
                libvirt.VIR_DOMAIN_LIFECYCLE_REBOOT, action, libvirt.VIR_DOMAIN_AFFECT_LIVE
            )

        self._run("set what a reboot does", name, work)

    def mark(self, name: str, digest: str, sizes_mib: Mapping[str, int]) -> None:
        self._set_mark("mark", name, lambda running: xml.remarked(running, digest, sizes_mib))

    def adopt(self, name: str, domain: Domain) -> None:
        def mark(running: str) -> str:
            is_same = xml.has_cpu(running, domain.cpu_model, self._acceleration.kind)
            return foreign.adoption(running, domain if is_same else replace(domain, cpu_model=""))

        self._set_mark("adopt", name, mark)

        def forget_definition(connection: Connection) -> None:
            # What is defined would stay, shut off, after its guest has stopped; ours are transient.
            found = connection.lookupByName(name)
            if found.isPersistent():
                found.undefine()

        self._run("adopt", name, forget_definition)

    def disown(self, name: str) -> None:
        self._set_mark("disown", name, lambda _: None)

    def _set_mark(self, operation: str, name: str, render: Callable[[str], str | None]) -> None:
        def work(connection: Connection) -> None:
            found = connection.lookupByName(name)
            found.setMetadata(
                libvirt.VIR_DOMAIN_METADATA_ELEMENT,
                render(found.XMLDesc()),
                foreign.PREFIX,
                foreign.NAMESPACE,
                libvirt.VIR_DOMAIN_AFFECT_LIVE,
            )

        self._run(operation, name, work)

    def load(self) -> float:
        return os.getloadavg()[0]

    def hardware(self) -> Hardware:
        # Not libvirt's getInfo: it adds up NUMA cells, and some machines give those 6 of 24 GiB (seen).
        pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        return Hardware(cpus=os.cpu_count() or 1, memory_mib=pages * page_bytes // MIB)

    def faults(self) -> tuple[str, ...]:
        if self._acceleration.kind == xml.KVM:
            return ()
        return (f"guests run without hardware virtualisation: {self._acceleration.reason}",)

    def _attach(self, name: str, tag: str, device: str, render: Callable[[str], str]) -> None:
        """Plug a disk or interface in, unless one of its name is there already."""

        def work(connection: Connection) -> None:
            found = connection.lookupByName(name)
            running = found.XMLDesc()
            if xml.alias_of(running, tag, device) is None:
                found.attachDeviceFlags(render(running), libvirt.VIR_DOMAIN_AFFECT_LIVE)

        self._run("attach", f"{name} {tag} {device}", work, CREATE_LIMIT_S)

    def _detach(self, name: str, tag: str, device: str) -> None:
        """Ask the guest to let go of a device, and wait until it has."""

        def work(connection: Connection) -> None:
            found = connection.lookupByName(name)
            alias = xml.alias_of(found.XMLDesc(), tag, device)
            if alias is not None:
                found.detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            until = time.monotonic() + UNPLUG_LIMIT_S
            while xml.alias_of(found.XMLDesc(), tag, device) is not None:
                if time.monotonic() > until:
                    raise HypervisorError(
                        "detach",
                        f"{name} {tag} {device}",
                        "the guest has not let go of it; it must be running and have booted",
                        retryable=True,
                    )
                time.sleep(UNPLUG_POLL_S)

        self._run("detach", f"{name} {tag} {device}", work, ASK_LIMIT_S + UNPLUG_LIMIT_S)

    def _run(
        self,
        operation: str,
        target: str,
        work: Callable[[Connection], T],
        limit_s: float = ASK_LIMIT_S,
    ) -> T:
        is_change = operation != "list"
        if is_change:
            self._forget()
        try:
            return self._bounded.call(lambda: work(self._connected()), limit_s)
        except TimeLimitError as err:
            with self._lock:
                self._connection = None  # its socket may be wedged: the next call takes another
            raise HypervisorError(operation, target, str(err), retryable=True) from err
        except libvirt.libvirtError as err:
            is_lasting = err.get_error_code() in _LASTING
            raise HypervisorError(operation, target, str(err), retryable=not is_lasting) from err
        except ValueError as err:  # what `xml` refuses to describe
            raise HypervisorError(operation, target, str(err), retryable=False) from err
        finally:
            if is_change:
                self._forget()

    def _forget(self) -> None:
        with self._lock:
            self._changes += 1
            self._known = {}

    def _connected(self) -> Connection:
        with self._lock:
            known = self._connection
        if known is not None and known.isAlive():
            return known
        fresh = _open()
        with self._lock:
            self._connection = fresh
        return fresh


def _open() -> Connection:
    fresh = libvirt.open(URI)
    fresh.setKeepAlive(KEEPALIVE_S, KEEPALIVE_MISSES)
    return fresh


def _facts(running: Running, values: Mapping[str, int], known: _Known) -> DomainFacts | None:
    """From `known` or libvirt, into `known`; None for a domain that ended between two questions."""
    key = (running.UUIDString(), running.ID())
    now_s = time.monotonic()
    read = known.get(key)
    if read is None or now_s > read[0] + REREAD_S:
        try:
            read = (now_s, *_read(running))
        except libvirt.libvirtError as err:
            if err.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        known[key] = read
    state, reason = values["state.state"], values["state.reason"]
    return DomainFacts(
        name=running.name(),
        uuid=running.UUIDString(),
        state=_STATES.get(state, GuestState.CRASHED),
        domain=read[1],
        reason=_PAUSED.get(reason, "unknown") if state == libvirt.VIR_DOMAIN_PAUSED else "",
        foreign=read[2],
        hindrance=read[3],
    )


def _keys(stats: Iterable[tuple[Running, Mapping[str, int]]]) -> frozenset[tuple[str, int]]:
    return frozenset((running.UUIDString(), running.ID()) for running, _ in stats)


def _read(running: Running) -> tuple[Domain | None, Domain | None, str]:
    """Ours; else a foreign one that could be ours; else why it could not."""
    text = running.XMLDesc()
    try:
        ours = xml.parse_domain_xml(text)
    except (ValueError, ET.ParseError):
        # Shown, never touched.
        return None, None, "it bears our mark, and is not described as we describe guests"
    if ours is not None:
        return ours, None, ""
    try:
        return None, foreign.parse(text), ""
    except foreign.ForeignError as error:
        return None, None, str(error)


_event_loop: threading.Thread | None = None


def _start_event_loop() -> None:
    """Keepalive needs libvirt's event loop: one a process, registered before the first connection.

    It hands nothing to anybody; we register no callback but libvirt's own. Errors stay off stderr,
    since each of them reaches its caller as an exception.
    """
    global _event_loop  # noqa: PLW0603  libvirt's loop is a property of the process
    if _event_loop is not None:
        return
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    libvirt.virEventRegisterDefaultImpl()
    _event_loop = threading.Thread(target=_turn, name="libvirt-events", daemon=True)
    _event_loop.start()


def _turn() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
