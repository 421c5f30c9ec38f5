"""Guests: their disks, cards, addresses, and what this release cannot carry out yet."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from pvc_gitops.model.document import Document, FieldPath, Kind
from pvc_gitops.model.units import size_mib
from pvc_gitops.spec.checks.repository import Repository, Taken, outside
from pvc_gitops.spec.findings import Finding


def guest_findings(repository: Repository) -> Iterator[Finding]:
    """Every finding about guests, and about fields that no part of this release reads."""
    macs = Taken("MAC")
    addresses = _Addresses(repository)
    volumes = Taken("volume", "a volume is attached to one guest at most")
    for network in repository.of_kind(Kind.NETWORK):
        for index, row in enumerate(network.spec["reservations"]):
            yield from macs.take(row["mac"], network, ("reservations", str(index), "mac"))
    sound: set[int] = set()  # specs, which many guests share: nothing is wrong with them
    for guest in repository.of_kind(Kind.VM):
        if id(guest.spec) not in sound:
            wrong = [*_by_itself(repository, guest)]
            yield from wrong
            if not wrong:
                sound.add(id(guest.spec))
        yield from _disk_findings(guest, volumes)
        for name, nic in guest.spec["nics"].items():
            path = ("nics", name)
            if nic.get("absent"):
                yield from _absent(guest, path, name)
            elif "network" not in nic:
                yield _missing(guest, path, f"nic {name or '?'} lacks network", "network: app")
            else:
                yield from addresses.findings(guest, path, nic)
            if nic["mac"] != "auto":
                yield from macs.take(nic["mac"], guest, (*path, "mac"))


def _by_itself(repository: Repository, guest: Document) -> Iterator[Finding]:
    """What its spec alone shows, whoever else has the same."""
    yield from _unsupported(guest)
    yield from _media_findings(guest)
    yield from _cpu_and_memory(guest)
    yield from _placement_findings(repository, guest)


class _Addresses:
    """Declared addresses of guests, network by network."""

    def __init__(self, repository: Repository) -> None:
        self._taken: dict[str, Taken] = {}
        self._subnets: dict[str, ipaddress.IPv4Network | None] = {}
        self._networks = {network.name: network for network in repository.of_kind(Kind.NETWORK)}
        for network in self._networks.values():
            taken = self._taken.setdefault(network.name, Taken("address"))
            ipv4 = network.spec.get("ipv4", {})
            if "gateway" in ipv4:
                list(taken.take(ipv4["gateway"], network, ("ipv4", "gateway")))
            for index, row in enumerate(network.spec["reservations"]):
                at = ("reservations", str(index), "address")
                list(taken.take(row["address"], network, at))

    def findings(self, guest: Document, path: FieldPath, nic: dict[str, Any]) -> Iterator[Finding]:
        address, network = nic["address"], self._networks.get(nic["network"])
        if address == "auto" or network is None:
            return
        at = (*path, "address")
        ipv4 = network.spec.get("ipv4")
        if ipv4 is not None:
            yield from outside(guest, at, "address", address, ipv4["subnet"])
        elif network.spec["type"] == "managed":
            yield Finding(
                document=guest,
                path=at,
                code="outside-subnet",
                message=f"network {network.name} declares no ipv4, so nobody answers for {address}",
                hint=f"add ipv4 to {network.file}, or remove the address",
            )
        yield from self._taken[network.name].take(address, guest, at)


def _unsupported(guest: Document) -> Iterator[Finding]:
    # Each of these changes what the guest is; to accept and to forget it would be a lie.
    for key, words in (
        ("profile", "profiles are not resolved yet"),
        ("userdata", "userdata is not handed to guests yet"),
    ):
        if key in guest.spec:
            yield Finding(
                document=guest,
                path=(key,),
                code="not-supported-yet",
                message=f"{words} by this release",
                hint=f"remove {key}",
                at_key=True,
            )


def _absent(guest: Document, path: FieldPath, name: str) -> Iterator[Finding]:
    if "profile" not in guest.spec:
        yield Finding(
            document=guest,
            path=path,
            code="nothing-to-drop",
            message=f"absent drops {name} of a profile, and this guest has none",
            hint="remove the item",
        )


def _missing(guest: Document, path: FieldPath, message: str, example: str) -> Finding:
    return Finding(document=guest, path=path, code="missing-key", message=message,
                   hint=f"for example {example}")  # fmt: skip


def _disk_findings(guest: Document, volumes: Taken) -> Iterator[Finding]:
    turns = Taken("boot turn")
    for name, disk in guest.spec["disks"].items():
        path = ("disks", name)
        if disk.get("absent"):
            yield from _absent(guest, path, name)
            continue
        if "boot" in disk:
            yield from turns.take(disk["boot"], guest, (*path, "boot"))
        if "volume" not in disk:
            for key, example in (("pool", "pool: vms"), ("size", "size: 20GiB")):
                if key not in disk and "profile" not in guest.spec:
                    yield _missing(guest, path, f"disk {name} lacks {key}", example)
            continue
        yield from volumes.take(disk["volume"], guest, (*path, "volume"))
        for key in ("pool", "size", "image"):
            if key in disk:
                yield Finding(
                    document=guest,
                    path=(*path, key),
                    code="either-or",
                    message=f"disk {name} attaches a volume, which has a {key} of its own",
                    hint=f"remove {key}",
                    at_key=True,
                )


def _media_findings(guest: Document) -> Iterator[Finding]:
    names = Taken("medium")
    for index, medium in enumerate(guest.spec["media"]):
        name = medium.get("name", medium["image"])
        yield from names.take(name, guest, ("media", str(index)))


def _cpu_and_memory(guest: Document) -> Iterator[Finding]:
    cpu, spec = guest.spec["cpu"], guest.spec
    most = cpu.get("max_vcpus", cpu["vcpus"])
    if most < cpu["vcpus"]:
        yield Finding(
            document=guest,
            path=("cpu", "max_vcpus"),
            code="out-of-range",
            message=f"max_vcpus {most} is less than vcpus {cpu['vcpus']}",
        )
    if "topology" in cpu:
        topology = cpu["topology"]
        product = topology["sockets"] * topology["cores"] * topology["threads"]
        if product != most:
            yield Finding(
                document=guest,
                path=("cpu", "topology"),
                code="out-of-range",
                message=f"sockets × cores × threads is {product}, not {most}",
            )
    if "memory_max" in spec and size_mib(spec["memory_max"]) < size_mib(spec["memory"]):
        yield Finding(
            document=guest,
            path=("memory_max",),
            code="out-of-range",
            message=f"memory_max {spec['memory_max']} is less than memory {spec['memory']}",
        )


def _placement_findings(repository: Repository, guest: Document) -> Iterator[Finding]:
    wanted = guest.spec["placement"]["nodes"]
    if not wanted or not guest.spec["placement"]["strict"]:
        return
    nodes = [repository.find(Kind.NODE, name) for name in wanted]
    known = [node for node in nodes if node is not None]
    if len(known) == len(nodes) and not any(can_run_guests(node) for node in known):
        yield Finding(
            document=guest,
            path=("placement", "nodes"),
            code="no-node",
            message="none of these nodes may run guests",
            hint="one of them needs guests: true and state: active",
            at_key=True,
        )


def can_run_guests(node: Document) -> bool:
    """May the planner ever place a guest there?"""
    return bool(node.spec["guests"]) and node.spec["state"] == "active"
