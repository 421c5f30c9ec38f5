"""The cluster's core networks and the nodes on them."""

from __future__ import annotations

from collections.abc import Iterator

from pvc_gitops.model.document import Document, FieldPath, Kind
from pvc_gitops.spec.checks.repository import (
    CORE_NETWORKS,
    Repository,
    Taken,
    bad_subnet,
    outside,
)
from pvc_gitops.spec.findings import Finding


def node_findings(repository: Repository) -> Iterator[Finding]:
    """Core networks, addresses, NICs, OSDs and the number of coordinators."""
    cluster = repository.cluster
    if cluster is not None:
        yield from _core_findings(cluster)
    addresses = Taken("address")
    macs = Taken("MAC")
    bmcs = Taken("BMC address")
    for node in repository.of_kind(Kind.NODE):
        for key, text in node.spec["addresses"].items():
            path = ("addresses", key)
            yield from addresses.take(text, node, path)
            if cluster is not None:
                yield from _core_address(cluster, node, key, text)
        yield from _interface_findings(node, macs)
        yield from _osd_findings(node)
        if "bmc" in node.spec:
            yield from bmcs.take(node.spec["bmc"]["address"], node, ("bmc", "address"))
    yield from _coordinator_findings(repository)


def _core_findings(cluster: Document) -> Iterator[Finding]:
    for key in CORE_NETWORKS:
        net = cluster.spec["networks"][key]
        path = ("networks", key)
        yield from bad_subnet(cluster, (*path, "subnet"), net["subnet"])
        if "gateway" in net:
            yield from outside(
                cluster, (*path, "gateway"), "gateway", net["gateway"], net["subnet"]
            )


def _core_address(cluster: Document, node: Document, key: str, text: str) -> Iterator[Finding]:
    net = cluster.spec["networks"][key]
    path = ("addresses", key)
    yield from outside(node, path, f"{key} address", text, net["subnet"])
    if text == net.get("gateway"):
        yield Finding(
            document=node,
            path=path,
            code="duplicate-address",
            message=f"{text} is the gateway of the {key} network "
            f"({cluster.place(('networks', key, 'gateway'))})",
            hint="give the node another",
        )


def _interface_findings(node: Document, macs: Taken) -> Iterator[Finding]:
    names = Taken("interface", "one NIC carries one core network")
    for key, nic in node.spec["interfaces"].items():
        path: FieldPath = ("interfaces", key)
        if ("mac" in nic) == ("name" in nic):
            yield Finding(
                document=node,
                path=path,
                code="either-or",
                message=f"interfaces.{key} needs exactly one of mac and name",
                hint="for example {name: eno1}",
            )
        elif "mac" in nic:
            yield from macs.take(nic["mac"], node, (*path, "mac"))
        else:
            yield from names.take(nic["name"], node, (*path, "name"))


def _osd_findings(node: Document) -> Iterator[Finding]:
    files = Taken("OSD file")
    for index, osd in enumerate(node.spec["osds"]):
        path = ("osds", str(index))
        if ("disk" in osd) == ("file" in osd):
            yield Finding(
                document=node,
                path=path,
                code="either-or",
                message=f"osds[{index}] needs exactly one of disk and file",
                hint='for example {disk: {serial: "S4EWNX0M123456"}}',
            )
        elif "file" in osd:
            yield from files.take(osd["file"]["path"], node, (*path, "file", "path"))
        elif not osd["disk"]:
            yield Finding(
                document=node,
                path=(*path, "disk"),
                code="either-or",
                message=f"osds[{index}].disk names no fact, so any disk would match",
                hint='for example {serial: "S4EWNX0M123456"}',
            )


def _coordinator_findings(repository: Repository) -> Iterator[Finding]:
    nodes = repository.of_kind(Kind.NODE)
    coordinators = [
        node
        for node in nodes
        if node.spec["role"] == "coordinator" and node.spec["state"] == "active"
    ]
    if not repository.is_complete(Kind.NODE) or len(coordinators) % 2 == 1:
        return
    document = coordinators[-1] if coordinators else (nodes[0] if nodes else repository.cluster)
    if document is None:
        return
    yield Finding(
        document=document,
        path=("role",),
        code="even-coordinators",
        message=f"there are {len(coordinators)} coordinators; a majority needs an odd number"
        if coordinators
        else "there is no coordinator",
        hint="1, 3 or 5 nodes have role: coordinator"
        if nodes
        else "pvc new node hv1 writes a node",
    )
