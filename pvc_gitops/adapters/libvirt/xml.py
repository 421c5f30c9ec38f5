"""A Domain as libvirt's XML, and back. Pure.

What we need to know again of a running domain and libvirt does not keep stands in our own metadata
element; device names are libvirt's user aliases (`ua-disk-root`), by which devices are also found
when they are unplugged. `parse_domain_xml(domain_xml(domain)) == domain` for every lawful domain
whose devices are in order of their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from xml.etree import ElementTree as ET

from pvc_gitops.adapters.libvirt import foreign, slots
from pvc_gitops.adapters.libvirt.foreign import ALIASES, NAMESPACE, PREFIX
from pvc_gitops.model.ids import Mac
from pvc_gitops.model.values import dataclass
from pvc_gitops.world import names
from pvc_gitops.world.ports import DiskAttachment, Domain, NicAttachment

KVM: Final = "kvm"
TCG: Final = "tcg"
SERIAL_BYTES_MAX: Final = 20  # VIRTIO_BLK_ID_BYTES; virtio-scsi would allow more
# The one model that every QEMU emulates alike. Under TCG `host-model` is refused by libvirt, and
# `maximum` differs between QEMU versions, so that a guest could not move during an upgrade.
TCG_CPU: Final = "qemu64"
_HOST_CPUS: Final = frozenset({"host-model", "host-passthrough"})
_FIRST_PORT_SLOT: Final = 2  # slot 0 is the root complex, 1 is where libvirt puts a video card
_PORTS_PER_SLOT: Final = 8  # functions of a slot
_AGENT_SLOT: Final = 16  # of the root bus, behind all ports: what it carries is never plugged
AGENT_CHANNEL: Final = "org.qemu.guest_agent.0"  # where qemu-ga listens


@dataclass(frozen=True, slots=True, kw_only=True)
class CephAccess:
    """How QEMU reaches disks: as which client, by which libvirt secret. The monitors are read from
    the configuration file, so that a changed ensemble is nothing to tell a guest's definition."""

    user: str  # without `client.`
    secret_uuid: str
    conf: str


class UnsupportedError(ValueError):
    """A domain that this release cannot describe to libvirt; the text says what to change."""


def domain_xml(domain: Domain, *, access: CephAccess, accel: str, has_vhost: bool) -> str:
    """The definition for `createXML`. Raises UnsupportedError, NoSlotError."""
    if domain.firmware != "bios":
        raise UnsupportedError(
            f"firmware {domain.firmware}: its variables have no place in Ceph yet; use `firmware: bios`"
        )
    root = ET.Element("domain", type="kvm" if accel == KVM else "qemu")
    _text(root, "name", domain.name)
    _text(root, "uuid", domain.uuid)
    root.append(_metadata(domain))
    _text(root, "memory", str(domain.memory_mib), unit="MiB")
    _text(root, "vcpu", str(domain.vcpus))
    os = ET.SubElement(root, "os")
    _text(os, "type", "hvm", arch="x86_64", machine="q35")
    features = ET.SubElement(root, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    root.append(_cpu(domain.cpu_model, accel))
    ET.SubElement(root, "clock", offset="utc")
    # A transient domain that powers off is gone: its owner's agent sees that and says so.
    _text(root, "on_poweroff", "destroy")
    _text(root, "on_reboot", "destroy" if domain.ends_at_reboot else "restart")
    _text(root, "on_crash", "destroy")
    root.append(_devices(domain, access, has_vhost=has_vhost))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def parse_domain_xml(text: str) -> Domain | None:
    """A domain of ours as it runs now, or None for anybody else's. Raises ValueError."""
    root = ET.fromstring(text)  # noqa: S314  libvirt wrote it, from what we gave it
    mark = root.find(f"metadata/{{{NAMESPACE}}}guest")
    if mark is None:
        return None
    sizes = dict(_parse_sizes(mark.get("sizes", "")))
    given = foreign.names_of(mark)
    disks = [
        _parse_disk(each, name, sizes)
        for each in root.findall("devices/disk")
        if (name := _device_name(each, given)) is not None
    ]
    nics = [
        _parse_nic(each, name)
        for each in root.findall("devices/interface")
        if (name := _device_name(each, given)) is not None
    ]
    return Domain(
        name=_found(root, "name"),
        uuid=_found(root, "uuid"),
        digest=mark.get("digest", ""),
        starts=int(mark.get("starts", "0")),
        vcpus=int(_found(root, "vcpu")),
        cpu_model=mark.get("cpu-model", ""),
        memory_mib=_memory_mib(root),
        firmware=mark.get("firmware", ""),
        disks=tuple(sorted(disks, key=lambda disk: disk.name)),
        nics=tuple(sorted(nics, key=lambda nic: nic.name)),
        console_log=root.find("devices/serial/log") is not None,
        ends_at_reboot=root.findtext("on_reboot") == "destroy",
        agent=root.find(f"devices/channel/target[@name='{AGENT_CHANNEL}']") is not None,
    )


def remarked(running: str, digest: str, sizes_mib: Mapping[str, int]) -> str:
    """Our metadata element of a running domain with another digest and other sizes, as `setMetadata`
    takes it: without the namespace, which libvirt adds itself. Raises ValueError for a domain that is
    not ours."""
    root = ET.fromstring(running)  # noqa: S314  libvirt's own
    mark = root.find(f"metadata/{{{NAMESPACE}}}guest")
    if mark is None:
        raise ValueError("the domain has no mark of ours")
    changed = {"digest": digest, "sizes": _sizes(sizes_mib)}
    return _render(ET.Element("guest", {**mark.attrib, **changed}))


def disk_xml(disk: DiskAttachment, *, access: CephAccess, running: str) -> str:
    """A disk to plug into a running domain whose XML is `running`."""
    root = ET.fromstring(running)  # noqa: S314  libvirt's own
    return _render(_disk(disk, _disk_places((disk,), _places(root)), access))


def nic_xml(nic: NicAttachment, *, has_vhost: bool, running: str) -> str:
    """A NIC to plug into a running domain whose XML is `running`."""
    root = ET.fromstring(running)  # noqa: S314  libvirt's own
    places = slots.assign([nic.name], slots.NIC_PORTS, _places(root).nics)
    return _render(_nic(nic, places, has_vhost=has_vhost))


def handle_of(text: str, disk: str) -> str:
    """What libvirt itself calls a disk of ours (`sda`). Raises ValueError."""
    found = _device(text, "disk", disk)
    if found is None:
        raise ValueError(f"the domain has no disk {disk}")
    return _attribute(found, "target", "dev")


def alias_of(text: str, tag: str, name: str) -> str | None:
    """The alias in a domain's XML of a device of ours, by which it is unplugged; None: not there.

    Args:
        text: the XML of a domain of ours.
        tag: `disk` or `interface`.
        name: ours.
    """
    found = _device(text, tag, name)
    return None if found is None else foreign.alias(found)


def has_cpu(text: str, model: str, accel: str) -> bool:
    """Has a running domain the very CPU that ours of this model get? What libvirt works out for
    `host-model` cannot be told from a model that was asked for, and counts as another."""
    root = ET.fromstring(text)  # noqa: S314  libvirt's own
    have, want = root.find("cpu"), _cpu(model, accel)
    if have is None or have.get("mode") != want.get("mode"):
        return False
    return want.get("mode") != "host-model" and have.findtext("model") == want.findtext("model")


def serial(disk: str) -> str:
    """What a guest reads as the disk's serial: its name, cut where virtio-blk would cut it."""
    return disk[:SERIAL_BYTES_MAX]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Port or SCSI target by device name, of a kind each."""

    nics: Mapping[str, int]
    blk: Mapping[str, int]
    scsi: Mapping[str, int]


def _metadata(domain: Domain) -> ET.Element:
    metadata = ET.Element("metadata")
    metadata.append(_mark(domain))
    return metadata


def _mark(domain: Domain) -> ET.Element:
    ET.register_namespace(PREFIX, NAMESPACE)
    return ET.Element(
        f"{{{NAMESPACE}}}guest",
        {
            "digest": domain.digest,
            "starts": str(domain.starts),
            "cpu-model": domain.cpu_model,
            "firmware": domain.firmware,
            "sizes": _sizes({disk.name: disk.size_mib for disk in domain.disks}),
        },
    )


def _sizes(sizes_mib: Mapping[str, int]) -> str:
    # libvirt does not keep them, and asking QEMU may take as long as its storage is away.
    return " ".join(f"{name}:{size}" for name, size in sorted(sizes_mib.items()))


def _parse_sizes(text: str) -> Iterator[tuple[str, int]]:
    for word in text.split():
        name, _, size = word.rpartition(":")
        yield name, int(size)


def _cpu(model: str, accel: str) -> ET.Element:
    if accel == KVM and model in _HOST_CPUS:
        return ET.Element("cpu", mode=model)
    cpu = ET.Element("cpu", mode="custom", match="exact")
    _text(cpu, "model", TCG_CPU if model in _HOST_CPUS else model, fallback="forbid")
    return cpu


def _devices(domain: Domain, access: CephAccess, *, has_vhost: bool) -> ET.Element:
    devices = ET.Element("devices")
    for port in range(slots.PORTS):
        devices.append(_root_port(port))
    controller = ET.SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    controller.append(_on_port(slots.SCSI_PORT))
    ET.SubElement(devices, "controller", type="usb", model="none")
    disk_places = _disk_places(domain.disks, _Places(nics={}, blk={}, scsi={}))
    for disk in domain.disks:
        devices.append(_disk(disk, disk_places, access))
    nic_places = slots.assign([nic.name for nic in domain.nics], slots.NIC_PORTS)
    for nic in domain.nics:
        devices.append(_nic(nic, nic_places, has_vhost=has_vhost))
    devices.extend(_console(domain))
    if domain.agent:
        devices.extend(_agent())
    ET.SubElement(devices, "memballoon", model="none")
    rng = ET.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    return devices


def _root_port(port: int) -> ET.Element:
    index = str(port + 1)
    controller = ET.Element("controller", type="pci", index=index, model="pcie-root-port")
    ET.SubElement(controller, "target", chassis=index, port=index)
    slot, function = divmod(port, _PORTS_PER_SLOT)
    address = {"type": "pci", "bus": "0", "slot": str(_FIRST_PORT_SLOT + slot)}
    address["function"] = str(function)
    if function == 0:
        address["multifunction"] = "on"
    ET.SubElement(controller, "address", address)
    return controller


def _on_port(port: int) -> ET.Element:
    return ET.Element("address", type="pci", bus=str(port + 1), slot="0", function="0")


def _disk_places(disks: tuple[DiskAttachment, ...], taken: _Places) -> Mapping[str, int]:
    blk = [disk.name for disk in disks if disk.bus == "virtio-blk"]
    scsi = [disk.name for disk in disks if disk.bus == "virtio-scsi"]
    return {
        **slots.assign(blk, slots.DISK_PORTS, taken.blk),
        **slots.assign(scsi, slots.SCSI_TARGETS, taken.scsi),
    }


def _disk(disk: DiskAttachment, places: Mapping[str, int], access: CephAccess) -> ET.Element:
    element = ET.Element("disk", type="network", device="disk")
    # A guest whose storage is taken away halts; it is killed, never resumed (DESIGN section 10).
    ET.SubElement(
        element,
        "driver",
        name="qemu",
        type="raw",
        cache="none",
        io="threads",
        error_policy="stop",
        rerror_policy="stop",
        discard="unmap",
    )
    auth = ET.SubElement(element, "auth", username=access.user)
    ET.SubElement(auth, "secret", type="ceph", uuid=access.secret_uuid)
    source = ET.SubElement(element, "source", protocol="rbd", name=f"{disk.pool}/{disk.image}")
    ET.SubElement(source, "config", file=access.conf)
    place = places[disk.name]
    is_scsi = disk.bus == "virtio-scsi"
    # The target's name is only libvirt's handle; it must be unique, so it follows the place.
    handle = _handle("sd", place) if is_scsi else _handle("vd", place - slots.DISK_PORTS.start)
    ET.SubElement(element, "target", dev=handle, bus="scsi" if is_scsi else "virtio")
    _text(element, "serial", serial(disk.name))
    if disk.boot is not None:
        ET.SubElement(element, "boot", order=str(disk.boot))
    ET.SubElement(element, "alias", name=ALIASES["disk"] + disk.name)
    if is_scsi:
        where = {"type": "drive", "controller": "0", "bus": "0", "target": str(place), "unit": "0"}
        ET.SubElement(element, "address", where)
    else:
        element.append(_on_port(place))
    return element


def _handle(prefix: str, place: int) -> str:
    letters = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return prefix + letters


def _nic(nic: NicAttachment, places: Mapping[str, int], *, has_vhost: bool) -> ET.Element:
    element = ET.Element("interface", type="bridge")
    ET.SubElement(element, "mac", address=nic.mac)
    ET.SubElement(element, "source", bridge=nic.bridge)
    ET.SubElement(element, "target", dev=nic.tap)
    ET.SubElement(element, "model", type=nic.model)
    if nic.model == "virtio" and not has_vhost:
        ET.SubElement(element, "driver", name="qemu")
    ET.SubElement(element, "mtu", size=str(nic.mtu_bytes))
    ET.SubElement(element, "alias", name=ALIASES["interface"] + nic.name)
    element.append(_on_port(places[nic.name]))
    return element


def _console(domain: Domain) -> tuple[ET.Element, ET.Element]:
    serial_port = ET.Element("serial", type="pty")
    if domain.console_log:
        log = names.console_log(domain.name)
        ET.SubElement(serial_port, "log", file=log, append="on")
    ET.SubElement(serial_port, "target", port="0")
    console = ET.Element("console", type="pty")
    ET.SubElement(console, "target", type="serial", port="0")
    return serial_port, console


def _agent() -> tuple[ET.Element, ET.Element]:
    controller = ET.Element("controller", type="virtio-serial", index="0")
    where = {"type": "pci", "bus": "0", "slot": str(_AGENT_SLOT), "function": "0"}
    ET.SubElement(controller, "address", where)
    channel = ET.Element("channel", type="unix")
    ET.SubElement(channel, "target", type="virtio", name=AGENT_CHANNEL)
    return controller, channel


def _device(text: str, tag: str, name: str) -> ET.Element | None:
    root = ET.fromstring(text)  # noqa: S314  libvirt's own
    mark = root.find(f"metadata/{{{NAMESPACE}}}guest")
    given = {} if mark is None else foreign.names_of(mark)
    devices = root.findall(f"devices/{tag}")
    return next((each for each in devices if _device_name(each, given) == name), None)


def _device_name(element: ET.Element, given: Mapping[str, str]) -> str | None:
    """By its own alias, or as it was called when its domain was adopted; None: not ours."""
    return foreign.given_name(element) or given.get(foreign.handle(element))


def _parse_disk(element: ET.Element, name: str, sizes_mib: Mapping[str, int]) -> DiskAttachment:
    pool, _, image = _attribute(element, "source", "name").partition("/")
    boot = element.find("boot")
    return DiskAttachment(
        name=name,
        size_mib=sizes_mib.get(name, 0),
        pool=pool,
        image=image,
        bus="virtio-scsi" if _attribute(element, "target", "bus") == "scsi" else "virtio-blk",
        boot=None if boot is None else int(boot.get("order", "0")),
    )


def _parse_nic(element: ET.Element, name: str) -> NicAttachment:
    mtu = element.find("mtu")
    return NicAttachment(
        name=name,
        mac=Mac(_attribute(element, "mac", "address").lower()),
        bridge=_attribute(element, "source", "bridge"),
        tap=_attribute(element, "target", "dev"),
        model=_attribute(element, "model", "type"),
        # An adopted one may not say.
        mtu_bytes=int("0" if mtu is None else mtu.get("size", "0")),
    )


def _places(root: ET.Element) -> _Places:
    """What a running domain's devices occupy, foreign ones included."""
    nics, blk, scsi = {}, {}, {}
    for element in root.findall("devices/interface"):
        nics[_name_or_handle(element)] = _port(element)
    for element in root.findall("devices/disk"):
        address = element.find("address")
        if address is not None and address.get("type") == "drive":
            scsi[_name_or_handle(element)] = int(address.get("target", "0"))
        else:
            blk[_name_or_handle(element)] = _port(element)
    return _Places(nics=nics, blk=blk, scsi=scsi)


def _name_or_handle(element: ET.Element) -> str:
    return (
        foreign.given_name(element)
        or foreign.alias(element)
        or _attribute(element, "target", "dev")
    )


def _port(element: ET.Element) -> int:
    return int(_attribute(element, "address", "bus"), 0) - 1


def _memory_mib(root: ET.Element) -> int:
    memory = root.find("memory")
    if memory is None or memory.text is None:
        raise ValueError("a domain without memory")
    per_mib = {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}
    return round(int(memory.text) * per_mib[memory.get("unit", "KiB")])


def _found(root: ET.Element, path: str) -> str:
    value = root.findtext(path)
    if value is None:
        raise ValueError(f"a domain without {path}")
    return value


def _attribute(element: ET.Element, child: str, name: str) -> str:
    found = element.find(child)
    value = None if found is None else found.get(name)
    if value is None:
        raise ValueError(f"<{element.tag}> without <{child} {name}>")
    return value


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text


def _render(element: ET.Element) -> str:
    return ET.tostring(element, encoding="unicode")
