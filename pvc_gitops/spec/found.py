"""Documents for what is live and not ours: guests that run, images that nobody names, bridges.

Pure: what was observed goes in, documents and the words that adopt them come out. Whether they plan to
nothing is asked by whoever writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_interface

from pvc_gitops.model.document import DOCUMENT_KINDS, Kind
from pvc_gitops.model.ids import Address, NodeName, address
from pvc_gitops.model.inventory import ImageFacts, Inventory, UnmanagedGuest, UnmanagedNetwork
from pvc_gitops.model.spec import VXLAN_OVERHEAD_BYTES, ClusterSpec
from pvc_gitops.model.units import size_text
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.spec.scaffold import head


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Something that could be ours. `text` is None where it cannot; `hindrance` then says why."""

    what: str  # as people name it on the command line: `Legacy_DB`, `rbd/vms/legacy.img`
    where: str  # in words
    address: Address
    source: Address | None  # of the entry; None where the address says it
    path: str
    text: str | None
    hindrance: str
    needs: tuple[Address, ...] = ()  # others of these that its document names


def found(inventory: Inventory, spec: ClusterSpec) -> tuple[Found, ...]:
    """Networks, guests by node and name, then images."""
    networks = tuple(_networks(inventory, spec))
    called = _called(networks, spec)
    guests = [
        _guest(node, guest, inventory, called)
        for node, facts in sorted(inventory.nodes.items())
        for guest in facts.unmanaged
    ]
    ours = {address(Kind.NETWORK, doc.name) for doc in spec.of_kind(Kind.NETWORK)}
    guests = [replace(each, needs=tuple(n for n in each.needs if n not in ours)) for each in guests]
    return (*networks, *guests, *_images(inventory))


def _networks(inventory: Inventory, spec: ClusterSpec) -> Iterator[Found]:
    """Bridges that nodes have and that are no network of ours, each once."""
    seen: dict[str, dict[NodeName, UnmanagedNetwork]] = {}
    for node, facts in sorted(inventory.nodes.items()):
        for bridge in facts.bridges:
            seen.setdefault(bridge.bridge, {})[node] = bridge
    core_mtu_bytes = spec.cluster.networks["cluster"].mtu_bytes
    ours = {doc.spec.get("vni") for doc in spec.of_kind(Kind.NETWORK)}
    for called, where in sorted(seen.items()):
        first = next(iter(where.values()))
        if first.vni in ours:
            continue  # its document is there; what is missing is the word, and the plan says so
        name = _name(called)
        hindrance = next(_network_hindrances(where), "")
        yield Found(
            what=called,
            where=f"a bridge on {', '.join(where)}",
            address=address(Kind.NETWORK, name),
            source=Address(f"bridge/{called}"),
            path=f"{DOCUMENT_KINDS[Kind.NETWORK][1]}/{name}.yaml",
            text=None if hindrance else _network_document(name, first, core_mtu_bytes),
            hindrance=hindrance,
        )


def _network_hindrances(where: Mapping[NodeName, UnmanagedNetwork]) -> Iterator[str]:
    first, at = next(iter(where.values())), next(iter(where))
    for node, bridge in where.items():
        if bridge.hindrance:
            yield bridge.hindrance
        elif bridge != first:
            yield f"{node} has it with another VNI, MTU or address than {at}"


def _network_document(name: str, bridge: UnmanagedNetwork, core_mtu_bytes: int) -> str:
    text = head(Kind.NETWORK, name) + f"spec:\n  type: managed\n  vni: {bridge.vni}\n"
    if bridge.mtu_bytes != core_mtu_bytes - VXLAN_OVERHEAD_BYTES:
        text += f"  mtu: {bridge.mtu_bytes}\n"
    if bridge.gateway is not None:
        router = ip_interface(bridge.gateway)
        text += f"  ipv4: {{subnet: {router.network}, gateway: {router.ip}}}\n"
    return text


def _called(networks: Iterable[Found], spec: ClusterSpec) -> Mapping[str, str]:
    """What the networks behind bridges are called, or would be."""
    found = {each.what: each.address.partition("/")[2] for each in networks if each.text}
    for doc in spec.of_kind(Kind.NETWORK):
        if doc.spec.get("vni") is not None:
            found[f"br{doc.spec['vni']}"] = doc.name
    return found


def _guest(
    node: NodeName, guest: UnmanagedGuest, inventory: Inventory, called: Mapping[str, str]
) -> Found:
    name = _name(guest.name)
    images = {} if inventory.storage is None else inventory.storage.images
    hindrance, text = guest.hindrance, None
    if not hindrance:
        hindrance = next(_hindrances(guest, images, called), "")
    if not hindrance:
        text = _document(name, guest, images, called)
    return Found(
        what=guest.name,
        where=f"runs on {node}",
        address=address(Kind.VM, name),
        source=None if name == guest.name else Address(f"domain/{guest.name}"),
        path=f"{DOCUMENT_KINDS[Kind.VM][1]}/{name}.yaml",
        text=text,
        hindrance=hindrance,
        needs=tuple(sorted({address(Kind.NETWORK, called[nic.bridge]) for nic in guest.nics}))
        if text is not None
        else (),
    )


def _hindrances(
    guest: UnmanagedGuest, images: Mapping[str, ImageFacts], called: Mapping[str, str]
) -> Iterator[str]:
    for disk in guest.disks:
        if f"{disk.pool}/{disk.image}" not in images:
            yield f"disk {disk.name} is {disk.pool}/{disk.image}, which no pool of ours holds"
    for nic in guest.nics:
        if nic.bridge not in called:
            yield f"its NIC {nic.mac} is on {nic.bridge}, which is no network of ours"


def _document(
    name: str, guest: UnmanagedGuest, images: Mapping[str, ImageFacts], called: Mapping[str, str]
) -> str:
    text = head(Kind.VM, name) + (
        f"spec:\n  cpu: {{vcpus: {guest.vcpus}}}\n  memory: {size_text(guest.memory_mib)}\n"
    )
    if guest.disks:
        text += "  disks:\n"
    for disk in guest.disks:
        size = size_text(images[f"{disk.pool}/{disk.image}"].size_mib)
        text += f"    - {{name: {disk.name}, pool: {disk.pool}, size: {size}, bus: {disk.bus}}}\n"
    if guest.nics:
        text += "  nics:\n"
    for number, nic in enumerate(guest.nics):
        text += (
            f"    - {{name: {nic.name or f'nic{number}'}, network: {called[nic.bridge]}, "
            f'mac: "{nic.mac}", model: {nic.model}}}\n'
        )
    if guest.console_log:
        text += "  console: {log: true}\n"
    return text


def _images(inventory: Inventory) -> Iterator[Found]:
    """Images that no record names and no guest has, ours or not."""
    if inventory.storage is None:
        return
    named = {
        f"{ref.pool}/{ref.image}"
        for record in inventory.applied.values()
        for ref in record.disks.values()
    }
    named |= {
        f"{disk.pool}/{disk.image}"
        for facts in inventory.nodes.values()
        for guest in facts.unmanaged
        for disk in guest.disks
    }
    for key, facts in sorted(inventory.storage.images.items()):
        pool, _, image = key.partition("/")
        if key in named:
            continue
        name = _name(image)
        yield Found(
            what=f"rbd/{key}",
            where=size_text(facts.size_mib),
            address=address(Kind.VOLUME, name),
            source=Address(f"rbd/{key}"),
            path=f"{DOCUMENT_KINDS[Kind.VOLUME][1]}/{name}.yaml",
            text=head(Kind.VOLUME, name)
            + f"spec: {{pool: {pool}, size: {size_text(facts.size_mib)}}}\n",
            hindrance="",
        )


def _name(text: str) -> str:
    """A lawful name from somebody else's."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-") or "adopted"
