"""Documents for what is live and not ours: guests that run, images that nobody names.

Pure: what was observed goes in, documents and the words that adopt them come out. Whether they plan to
nothing is asked by whoever writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pvc_gitops.model.document import DOCUMENT_KINDS, Kind
from pvc_gitops.model.ids import Address, NodeName, address
from pvc_gitops.model.inventory import ImageFacts, Inventory, UnmanagedGuest
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.units import size_text
from pvc_gitops.model.values import dataclass
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


def found(inventory: Inventory, spec: ClusterSpec) -> tuple[Found, ...]:
    """Guests by node and name, then images."""
    guests = [
        _guest(node, guest, inventory, spec)
        for node, facts in sorted(inventory.nodes.items())
        for guest in facts.unmanaged
    ]
    return (*guests, *_images(inventory))


def _guest(node: NodeName, guest: UnmanagedGuest, inventory: Inventory, spec: ClusterSpec) -> Found:
    name = _name(guest.name)
    images = {} if inventory.storage is None else inventory.storage.images
    hindrance, text = guest.hindrance, None
    if not hindrance:
        hindrance = next(_hindrances(guest, images, spec), "")
    if not hindrance:
        text = _document(name, guest, images, spec)
    return Found(
        what=guest.name,
        where=f"runs on {node}",
        address=address(Kind.VM, name),
        source=None if name == guest.name else Address(f"domain/{guest.name}"),
        path=f"{DOCUMENT_KINDS[Kind.VM][1]}/{name}.yaml",
        text=text,
        hindrance=hindrance,
    )


def _hindrances(
    guest: UnmanagedGuest, images: Mapping[str, ImageFacts], spec: ClusterSpec
) -> Iterator[str]:
    for disk in guest.disks:
        if f"{disk.pool}/{disk.image}" not in images:
            yield f"disk {disk.name} is {disk.pool}/{disk.image}, which no pool of ours holds"
    for nic in guest.nics:
        if _network(nic.bridge, spec) is None:
            yield f"its NIC {nic.mac} is on {nic.bridge}, which is no network of ours"


def _network(bridge: str, spec: ClusterSpec) -> str | None:
    for doc in spec.of_kind(Kind.NETWORK):
        if doc.spec.get("vni") is not None and bridge == f"br{doc.spec['vni']}":
            return doc.name
    return None


def _document(
    name: str, guest: UnmanagedGuest, images: Mapping[str, ImageFacts], spec: ClusterSpec
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
        network = _network(nic.bridge, spec)
        text += (
            f"    - {{name: {nic.name or f'nic{number}'}, network: {network}, "
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
