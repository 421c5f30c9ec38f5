"""This node's part of every guest network: make the kernel match the records, whoever wrote them.

A bridge whose record says removing goes. One without a record goes only if no guest here uses it:
absence is never evidence (D5), but a bridge can be made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field

from pvc_gitops.appliers import network
from pvc_gitops.controllers.view import View
from pvc_gitops.errors import LinkError
from pvc_gitops.model.document import Kind, Spec
from pvc_gitops.model.inventory import GuestState
from pvc_gitops.model.records import Applied, Phase
from pvc_gitops.model.values import dataclass
from pvc_gitops.world import names
from pvc_gitops.world.ports import Bridge, DhcpConfig, DhcpHost, Neighbour, World

Neighbours = Mapping[int, tuple[Neighbour, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkMemory:
    """What was told to the kernel last; it cannot be read back cheaply."""

    neighbours: Neighbours = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworksDone:
    """What a tick did to the networks."""

    memory: NetworkMemory
    has_acted: bool
    faults: tuple[str, ...]


def tick(world: World, view: View, memory: NetworkMemory) -> NetworksDone:
    """Fewest commands towards the records; a failing one is a fault, and tried again next time."""
    if (
        view.bridges is None
        or view.dhcp is None
        or view.core_mtu_bytes is None
        or view.node is None
    ):
        return NetworksDone(memory=memory, has_acted=False, faults=())
    faults: list[str] = []
    has_acted = False
    told = dict(memory.neighbours)
    for command in decide(view):
        vni = _vni(command)
        try:
            network.execute(command, world)
        except LinkError as error:
            faults.append(f"network {vni}: {error.reason}")
            continue
        has_acted = True
        world.journal.event("network", command=type(command).__name__, vni=vni)
        if _is_drift(view, command):
            world.journal.event("drift_healed", vni=vni, command=type(command).__name__)
        if isinstance(command, network.CreateBridge | network.DeleteBridge):
            told.pop(vni, None)  # a new bridge knows nobody
    for vni, record in sorted(_present(view).items()):
        entries = _neighbours(view, record)
        if told.get(vni) == entries:
            continue
        try:
            world.links.set_neighbours(vni, entries)
        except LinkError as error:
            faults.append(f"neighbours of network {vni}: {error.reason}")
            told.pop(vni, None)  # part of it may have been done
            continue
        has_acted = True
        told[vni] = entries
    return NetworksDone(
        memory=NetworkMemory(neighbours=told), has_acted=has_acted, faults=tuple(faults)
    )


def decide(view: View) -> Iterator[network.Command]:
    """All commands for this node's networks, bridges before the daemons that serve on them. Pure."""
    assert view.bridges is not None
    assert view.dhcp is not None
    wanted = _wanted(view)
    for vni in sorted(wanted.keys() | view.bridges.keys()):
        want = wanted.get(vni)
        if want is None and _is_used(view, vni):
            continue
        for command in network.commands(want, view.bridges.get(vni)):
            if view.heals(Kind.NETWORK) or not _is_drift(view, command):
                yield command
    served = dict(_served(view))
    yield from network.dhcp_commands(served, view.dhcp)


def _is_drift(view: View, command: network.Command) -> bool:
    """Does it only undo what somebody did by hand? A bridge that is gone is always made again: a node
    that has just booted has none."""
    if not isinstance(command, network.UpdateBridge) or view.bridges is None:
        return False
    have = view.bridges.get(command.bridge.vni)
    found = () if have is None else network.deviations(command.bridge, have)
    return bool(found) and all(each.is_drift for each in found)


def _wanted(view: View) -> dict[int, Bridge]:
    assert view.core_mtu_bytes is not None
    assert view.node is not None
    found: dict[int, Bridge] = {}
    for vni, record in _present(view).items():
        bridge = network.bridge_of(
            record,
            local_address=view.node.addresses["cluster"],
            core_mtu_bytes=view.core_mtu_bytes,
        )
        if bridge is not None:
            found[vni] = bridge
    return found


def _present(view: View) -> dict[int, Applied]:
    return {
        record.spec["vni"]: record
        for record in view.networks.values()
        if record.phase is Phase.PRESENT and record.spec.get("vni") is not None
    }


def _is_used(view: View, vni: int) -> bool:
    """A network that is being removed has no guests; one without a record may."""
    if any(record.spec.get("vni") == vni for record in view.networks.values()):
        return False
    if view.domains is None:
        return True
    bridge = names.bridge(vni)
    return any(
        nic.bridge == bridge
        for facts in view.domains.values()
        if facts.domain is not None
        for nic in facts.domain.nics
    )


def _served(view: View) -> Iterator[tuple[int, DhcpConfig]]:
    assert view.core_mtu_bytes is not None
    for vni, record in sorted(_present(view).items()):
        config = network.dhcp_of(
            record, core_mtu_bytes=view.core_mtu_bytes, hosts=_hosts(view, record)
        )
        if config is not None:
            yield vni, config


def _hosts(view: View, record: Applied) -> Iterable[DhcpHost]:
    for guest, nic in _nics(view, record, is_expected=True):
        lease = guest.nics.get(nic)
        if lease is not None and lease.address is not None:
            yield DhcpHost(mac=lease.mac, address=lease.address, hostname=guest.name)


def _neighbours(view: View, record: Applied) -> tuple[Neighbour, ...]:
    found = []
    for guest, nic in _nics(view, record):
        facts = (view.domains or {}).get(guest.name)
        lease = guest.nics.get(nic)
        if facts is None or facts.state is GuestState.CRASHED or lease is None:
            continue
        # A guest that was renamed or adopted keeps its interfaces until its next start.
        taps = {} if facts.domain is None else {each.name: each.tap for each in facts.domain.nics}
        tap = taps.get(nic, names.tap(guest.name, nic))
        found.append(Neighbour(mac=lease.mac, address=lease.address, tap=tap))
    return tuple(sorted(found, key=lambda each: each.mac))


def _nics(
    view: View, record: Applied, *, is_expected: bool = False
) -> Iterator[tuple[Applied, str]]:
    """NICs on this network of the guests that this node owns; with those that are on their way to it,
    so that whatever takes time is ready when they come."""
    called = view.networks_called
    for name, guest in view.guests.items():
        placement = view.placements.get(name)
        if placement is None or view.node is None:
            continue
        owners = (placement.owner, placement.incoming if is_expected else None)
        if view.node.name not in owners:
            continue
        nics: Mapping[str, Spec] = guest.spec["nics"]
        for nic in sorted(nics):
            if called.get(nics[nic]["network"]) is record:
                yield guest, nic


def _vni(command: network.Command) -> int:
    match command:
        case network.CreateBridge() | network.UpdateBridge():
            return command.bridge.vni
        case network.ServeDhcp():
            return command.config.vni
        case network.DeleteBridge() | network.StopDhcp():
            return command.vni
