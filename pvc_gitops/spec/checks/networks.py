"""Guest networks: identifiers, subnets, gateways and the ranges that addresses come from."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from pvc_gitops.model.document import Document, FieldPath, Kind
from pvc_gitops.spec.checks.repository import (
    CORE_NETWORKS,
    Repository,
    Taken,
    bad_subnet,
    outside,
    subnet,
)
from pvc_gitops.spec.findings import Finding

VXLAN_BYTES = 50  # outer Ethernet, IPv4, UDP and VXLAN headers (RFC 7348, section 5)

_Located = tuple[Document, FieldPath, ipaddress.IPv4Network | ipaddress.IPv6Network]


def network_findings(repository: Repository) -> Iterator[Finding]:
    """Every finding about networks."""
    vnis, vlans = Taken("VNI"), Taken("VLAN")
    for network in repository.of_kind(Kind.NETWORK):
        yield from _type_findings(network)
        if "vni" in network.spec:
            yield from vnis.take(network.spec["vni"], network, ("vni",))
        if "vlan" in network.spec:
            yield from vlans.take(network.spec["vlan"], network, ("vlan",))
        if "ipv4" in network.spec:
            yield from _ipv4_findings(network)
        if "ipv6" in network.spec:
            yield from _ipv6_findings(network)
        yield from _tftp_findings(repository, network)
        if repository.cluster is not None:
            yield from _mtu_findings(repository.cluster, network)
    yield from _overlaps(repository)


def _type_findings(network: Document) -> Iterator[Finding]:
    kind = network.spec["type"]
    wanted, other = ("vni", "vlan") if kind == "managed" else ("vlan", "vni")
    if wanted not in network.spec:
        yield Finding(
            document=network,
            path=("type",),
            code="missing-key",
            message=f"a {kind} network lacks {wanted}",
            hint=f"for example {wanted}: {1000 if wanted == 'vni' else 100}",
            at_key=True,
        )
    if other in network.spec:
        yield Finding(
            document=network,
            path=(other,),
            code="either-or",
            message=f"a {kind} network has no {other}",
            hint="remove it",
            at_key=True,
        )


def _ipv4_findings(network: Document) -> Iterator[Finding]:
    ipv4 = network.spec["ipv4"]
    net_text, gateway = ipv4["subnet"], ipv4.get("gateway")
    path: FieldPath = ("ipv4",)
    yield from bad_subnet(network, (*path, "subnet"), net_text)
    if gateway is not None:
        yield from outside(network, (*path, "gateway"), "gateway", gateway, net_text)
    addresses = Taken("address")
    macs = Taken("MAC")
    for index, row in enumerate(network.spec["reservations"]):
        at = ("reservations", str(index))
        yield from outside(network, (*at, "address"), "address", row["address"], net_text)
        yield from addresses.take(row["address"], network, (*at, "address"))
        yield from macs.take(row["mac"], network, (*at, "mac"))
    if "dhcp" in ipv4:
        yield from _dhcp_findings(network, net_text, gateway)


def _dhcp_findings(network: Document, net_text: str, gateway: str | None) -> Iterator[Finding]:
    dhcp = network.spec["ipv4"]["dhcp"]
    path: FieldPath = ("ipv4", "dhcp")
    for key in ("start", "end"):
        yield from outside(network, (*path, key), f"dhcp.{key}", dhcp[key], net_text)
    start, end = ipaddress.IPv4Address(dhcp["start"]), ipaddress.IPv4Address(dhcp["end"])
    if start > end:
        yield Finding(
            document=network,
            path=(*path, "end"),
            code="bad-range",
            message=f"dhcp.end {end} comes before dhcp.start {start}",
            hint=f"write {{start: {end}, end: {start}}}",
        )
    if gateway is not None and start <= ipaddress.IPv4Address(gateway) <= end:
        yield Finding(
            document=network,
            path=("ipv4", "gateway"),
            code="gateway-in-range",
            message=f"gateway {gateway} lies in the DHCP range {start} to {end}",
            hint=f"begin the range after it, at {ipaddress.IPv4Address(gateway) + 1}"
            if ipaddress.IPv4Address(gateway) < end
            else f"end the range before it, at {ipaddress.IPv4Address(gateway) - 1}",
        )


def _ipv6_findings(network: Document) -> Iterator[Finding]:
    ipv6 = network.spec["ipv6"]
    yield from bad_subnet(network, ("ipv6", "subnet"), ipv6["subnet"])
    if "gateway" in ipv6:
        yield from outside(network, ("ipv6", "gateway"), "gateway", ipv6["gateway"], ipv6["subnet"])


def _tftp_findings(repository: Repository, network: Document) -> Iterator[Finding]:
    tftp = network.spec.get("tftp")
    if tftp is None:
        return
    file = f"tftp/{tftp['root']}/{tftp['boot_file']}"
    if file not in repository.paths:
        yield Finding(
            document=network,
            path=("tftp", "boot_file"),
            code="dangling-reference",
            message=f"there is no file {file}",
            hint="commit it there",
        )


def _mtu_findings(cluster: Document, network: Document) -> Iterator[Finding]:
    core = cluster.spec["networks"]["cluster"]["mtu"]
    mtu = network.spec["mtu"]
    if network.spec["type"] == "managed" and mtu != "auto" and mtu > core - VXLAN_BYTES:
        yield Finding(
            document=network,
            path=("mtu",),
            code="out-of-range",
            message=f"mtu {mtu} does not fit: the cluster network carries {core}, "
            f"and VXLAN needs {VXLAN_BYTES} of it",
            hint=f"write auto, or at most {core - VXLAN_BYTES}",
        )


def _overlaps(repository: Repository) -> Iterator[Finding]:
    """Core and managed networks share one routing domain: no two subnets of it may overlap."""
    found: list[_Located] = []
    cluster = repository.cluster
    if cluster is not None:
        for key in CORE_NETWORKS:
            _locate(found, cluster, ("networks", key, "subnet"), cluster.spec["networks"][key])
    for network in repository.of_kind(Kind.NETWORK):
        if network.spec["type"] == "managed":
            for family in ("ipv4", "ipv6"):
                if family in network.spec:
                    _locate(found, network, (family, "subnet"), network.spec[family])
    # In order of first address only neighbours can be the first to overlap; `widest` is the one
    # that reaches furthest so far.
    widest: _Located | None = None
    for item in sorted(found, key=_first_address):
        if widest is not None and _overlap(widest[2], item[2]):
            # The guest network gives way: core networks are what nodes already stand on.
            is_core = item[0].kind is Kind.CLUSTER and widest[0].kind is not Kind.CLUSTER
            yield _overlap_finding(*((widest, item) if is_core else (item, widest)))
        if widest is None or _last_address(item) > _last_address(widest):
            widest = item


def _overlap_finding(here: _Located, there: _Located) -> Finding:
    document, path, net = here
    other, other_path, other_net = there
    return Finding(
        document=document,
        path=path,
        code="overlapping-subnet",
        message=f"{net} overlaps {other_net} of {other.address} ({other.place(other_path)})",
        hint="networks of one cluster share one routing table",
    )


def _overlap(
    one: ipaddress.IPv4Network | ipaddress.IPv6Network,
    other: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> bool:
    # `other` begins where `one` does, or later.
    return one.version == other.version and one.broadcast_address >= other.network_address  # type: ignore[operator]


def _locate(
    found: list[_Located], document: Document, path: FieldPath, holder: dict[str, str]
) -> None:
    net = subnet(holder["subnet"])
    if net is not None:
        found.append((document, path, net))


def _first_address(item: _Located) -> tuple[int, int, int, str]:
    net = item[2]
    return net.version, int(net.network_address), net.prefixlen, item[0].address


def _last_address(item: _Located) -> tuple[int, int]:
    return item[2].version, int(item[2].broadcast_address)
