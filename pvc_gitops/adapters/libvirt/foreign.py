"""Domains that are not ours, and the mark that makes one ours while it runs. Pure.

An adopted domain keeps its devices as somebody else described them: where they have no aliases of ours,
our mark says which device bears which name, by libvirt's handle of a disk and the MAC of a NIC. A guest
that was ours once, and was forgotten while it ran, still has our aliases: they stay the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from xml.etree import ElementTree as ET

from pvc_gitops.model.ids import Mac
from pvc_gitops.world.ports import DiskAttachment, Domain, NicAttachment

NAMESPACE: Final = "urn:pvc-gitops:guest:1"
PREFIX: Final = "pvc"
# libvirt keeps an alias that begins with `ua-` as it is.
ALIASES: Final = {"disk": "ua-disk-", "interface": "ua-nic-"}
_BUSES: Final = {"scsi": "virtio-scsi", "virtio": "virtio-blk"}
_PER_MIB: Final = {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}


class ForeignError(ValueError):
    """A domain that we could not run; the text says what of it."""


def parse(text: str) -> Domain:
    """A foreign domain as one of ours: devices named by aliases of ours, or else disks by libvirt's
    handles and NICs by their MACs.

    Raises:
        ForeignError: it has devices, disks or firmware that this release does not give to guests.
    """
    root = ET.fromstring(text)  # noqa: S314  libvirt's own
    if root.find("os/loader") is not None:
        raise ForeignError("it has UEFI firmware")
    for device in ("hostdev", "redirdev", "filesystem", "tpm"):
        if root.find(f"devices/{device}") is not None:
            raise ForeignError(f"it has a {device}")
    memory = root.find("memory")
    if memory is None or memory.text is None:
        raise ForeignError("it does not say how much memory it has")
    return Domain(
        name=root.findtext("name", ""),
        uuid=root.findtext("uuid", ""),
        digest="",
        starts=0,
        vcpus=int(root.findtext("vcpu", "1")),
        cpu_model="",
        memory_mib=round(int(memory.text) * _PER_MIB[memory.get("unit", "KiB")]),
        firmware="bios",
        disks=tuple(_disk(each) for each in root.findall("devices/disk")),
        nics=tuple(_nic(each) for each in root.findall("devices/interface")),
        console_log=root.find("devices/serial/log") is not None,
        ends_at_reboot=root.findtext("on_reboot") == "destroy",
    )


def handle(device: ET.Element) -> str:
    """What libvirt tells a disk by, and the network a NIC."""
    if device.tag == "interface":
        mac = device.find("mac")
        return "" if mac is None else mac.get("address", "").lower()
    target = device.find("target")
    return "" if target is None else target.get("dev", "")


def alias(device: ET.Element) -> str:
    """Libvirt's own or ours; every device of a running domain has one."""
    found = device.find("alias")
    return "" if found is None else found.get("name", "")


def given_name(device: ET.Element) -> str:
    """What an alias of ours says that a disk or NIC is called; "" where it has none."""
    prefix = ALIASES[device.tag]
    bears = alias(device)
    return bears.removeprefix(prefix) if bears.startswith(prefix) else ""


def names_of(mark: ET.Element) -> Mapping[str, str]:
    """Handle to name, as the mark of an adopted domain says; {} of one that we started."""
    pairs = (word.split("=", 1) for word in mark.get("devices", "").split())
    return {each: name for name, each in pairs}


def adoption(running: str, domain: Domain) -> str:
    """Our mark for a running domain, as `setMetadata` takes it. `domain` names its devices."""
    root = ET.fromstring(running)  # noqa: S314  libvirt's own
    handles = {_source(each): handle(each) for each in root.findall("devices/disk")}
    devices = [f"{disk.name}={handles[f'{disk.pool}/{disk.image}']}" for disk in domain.disks]
    devices += [f"{nic.name}={nic.mac}" for nic in domain.nics]
    mark = {
        "digest": "",
        "starts": "0",
        "cpu-model": domain.cpu_model,
        "firmware": domain.firmware,
        "sizes": " ".join(f"{disk.name}:{disk.size_mib}" for disk in domain.disks),
        "devices": " ".join(devices),
    }
    return ET.tostring(ET.Element("guest", mark), encoding="unicode")


def _source(disk: ET.Element) -> str:
    source = disk.find("source")
    return "" if source is None else source.get("name", "")


def _disk(element: ET.Element) -> DiskAttachment:
    source, target = element.find("source"), element.find("target")
    name = given_name(element) or handle(element)
    bus = "" if target is None else target.get("bus", "")
    if source is None or source.get("protocol") != "rbd":
        raise ForeignError(f"disk {name} does not lie in Ceph")
    if bus not in _BUSES:
        raise ForeignError(f"disk {name} is on a {bus} bus")
    pool, _, image = _source(element).partition("/")
    boot = element.find("boot")
    return DiskAttachment(
        name=name,
        size_mib=0,
        pool=pool,
        image=image,
        bus=_BUSES[bus],
        boot=None if boot is None else int(boot.get("order", "0")),
    )


def _nic(element: ET.Element) -> NicAttachment:
    source, target, model = (element.find(tag) for tag in ("source", "target", "model"))
    if element.get("type") != "bridge" or source is None:
        raise ForeignError(f"a NIC is of type {element.get('type')}, not on a bridge")
    mtu = element.find("mtu")
    return NicAttachment(
        name=given_name(element) or handle(element),
        mac=Mac(handle(element)),
        bridge=source.get("bridge", ""),
        tap="" if target is None else target.get("dev", ""),
        model="" if model is None else model.get("type", ""),
        mtu_bytes=int("0" if mtu is None else mtu.get("size", "0")),
    )
