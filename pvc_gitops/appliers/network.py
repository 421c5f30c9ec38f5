"""Managed networks on one node: bridge and VXLAN, and DHCP for this node's own guests (D13).

The steps only write the record and wait; every node's agent makes its kernel match the record, by the
functions of this file, whether a step runs or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import assert_never

from pvc_gitops.appliers.outcome import Applier, Outcome, Progress, Writes, unchecked
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.inventory import Deviation
from pvc_gitops.model.plan import Step
from pvc_gitops.model.records import Applied
from pvc_gitops.model.spec import Network
from pvc_gitops.model.values import dataclass
from pvc_gitops.world import names
from pvc_gitops.world.ports import Bridge, DhcpConfig, DhcpHost, World


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBridge:
    """Bridge, VXLAN and their rules, from nothing."""

    bridge: Bridge


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBridge:
    """MTU, gateway, digest or local end of what is there; guests stay plugged in."""

    bridge: Bridge


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteBridge:
    """Take it down."""

    vni: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeDhcp:
    """Start it, or give it other hosts."""

    config: DhcpConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class StopDhcp:
    """End it."""

    vni: int


Command = CreateBridge | UpdateBridge | DeleteBridge | ServeDhcp | StopDhcp


def commands(want: Bridge | None, have: Bridge | None) -> Iterator[Command]:
    """The fewest commands for one network. A wanted bridge is never made anew: guests hang on it."""
    if want is None:
        if have is not None:
            yield DeleteBridge(vni=have.vni)
    elif have is None:
        yield CreateBridge(bridge=want)
    elif have != want:
        yield UpdateBridge(bridge=want)


def deviations(want: Bridge, have: Bridge) -> tuple[Deviation, ...]:
    """What is not as the record says, in words. Only a gateway is somebody's doing for certain: an MTU
    may follow the cluster's."""
    is_drift = have.digest == want.digest
    rows = (
        ("gateway", have.gateway or "none", want.gateway or "none", is_drift),
        ("mtu", have.mtu_bytes, want.mtu_bytes, False),
        ("local address", have.local_address, want.local_address, is_drift),
    )
    return tuple(
        Deviation(
            part=part, live=str(live), applied=str(applied), needs_restart=False, is_drift=is_it
        )
        for part, live, applied, is_it in rows
        if live != applied
    )


def dhcp_commands(
    want: Mapping[int, DhcpConfig], have: Mapping[int, DhcpConfig]
) -> Iterator[Command]:
    """The fewest commands for DHCP of all networks of a node."""
    for vni in sorted(have.keys() - want.keys()):
        yield StopDhcp(vni=vni)
    for vni in sorted(want):
        if have.get(vni) != want[vni]:
            yield ServeDhcp(config=want[vni])


def execute(command: Command, world: World) -> None:
    """One command, on this node."""
    match command:
        case CreateBridge():
            world.links.create(command.bridge)
        case UpdateBridge():
            world.links.update(command.bridge)
        case DeleteBridge():
            world.links.delete(command.vni)
        case ServeDhcp():
            world.services.serve_dhcp(command.config)
        case StopDhcp():
            world.services.stop_dhcp(command.vni)
        case other:
            assert_never(other)


def bridge_of(record: Applied, *, local_address: str, core_mtu_bytes: int) -> Bridge | None:
    """A network's record as this node must realise it; None where it is not a managed network.

    `core_mtu_bytes` is of the cluster network, which carries the VXLAN packets.
    """
    network = Network.from_spec(record.name, record.spec)
    if network.vni is None:
        return None
    return Bridge(
        vni=network.vni,
        mtu_bytes=network.guest_mtu_bytes(core_mtu_bytes),
        local_address=local_address,
        gateway=network.router,
        digest=record.digest,
    )


def dhcp_of(
    record: Applied, *, core_mtu_bytes: int, hosts: Iterable[DhcpHost]
) -> DhcpConfig | None:
    """DHCP of a network for these hosts; None where there is nobody to serve, or no address of the
    node's own to serve from: that is the gateway's."""
    network = Network.from_spec(record.name, record.spec)
    known = tuple(sorted(hosts, key=lambda host: host.mac))
    if network.vni is None or network.ipv4 is None or network.ipv4.gateway is None or not known:
        return None
    return DhcpConfig(
        vni=network.vni,
        bridge=names.bridge(network.vni),
        subnet=network.ipv4.subnet,
        gateway=network.ipv4.gateway,
        domain=network.domain,
        dns_servers=network.dns_servers,
        mtu_bytes=network.guest_mtu_bytes(core_mtu_bytes),
        hosts=known,
    )


def run_put(step: Step, world: World, progress: Progress) -> Outcome:
    """The record stands since the claim."""
    del world, progress
    digest = step.record.digest if step.record is not None else ""
    return Outcome(evidence={"record": digest})


def run_ensure(step: Step, world: World, progress: Progress) -> Outcome | None:
    """Done when this node's kernel shows the network with the digest, or does not show it any more."""
    del progress
    stamped = world.store.read(paths.applied(step.address))
    want: str = step.inputs["digest"]
    if stamped is None:
        return Outcome(evidence={"network": "no record"}) if want == "" else None
    record = decode(Applied, stamped.value)
    vni = record.spec.get("vni")
    have = world.links.bridges().get(vni) if isinstance(vni, int) else None
    if want == "":
        return Outcome(evidence={"network": "gone"}) if have is None else None
    if have is None or have.digest != want:
        return None
    return Outcome(evidence={"network": f"{names.bridge(have.vni)}, MTU {have.mtu_bytes}"})


PUT = Applier(check=unchecked, run=run_put, writes=Writes.FIRST, is_long=False)
ENSURE = Applier(check=unchecked, run=run_ensure, writes=Writes.NEVER, is_long=False)
