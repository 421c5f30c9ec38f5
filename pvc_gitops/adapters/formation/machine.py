"""What this machine is, as the kernel tells it: NICs, uuid, serial, addresses. Its name is set here."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Final

from pvc_gitops.adapters.formation import commands
from pvc_gitops.formation.identity import MachineFacts

CONTAINER_UUID: Final = Path(
    "/run/host/container-uuid"
)  # of a lab's machine; DMI would be the host's
CONTAINER: Final = Path("/run/host/container-manager")
DMI: Final = Path("/sys/class/dmi/id")
FORWARDING: Final = (
    Path("/proc/sys/net/ipv4/ip_forward"),
    Path("/proc/sys/net/ipv6/conf/all/forwarding"),
)
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def facts() -> MachineFacts:
    """Read everything that `identity.match` can name."""
    in_container = CONTAINER.exists()
    return MachineFacts(
        nics=nics(),
        system_uuid=_line(CONTAINER_UUID if in_container else DMI / "product_uuid"),
        serial=None if in_container else _line(DMI / "product_serial"),
    )


def nics() -> dict[str, str]:
    """Interfaces with a MAC of their own, by name. Bridges, taps and the like are not cards."""
    found = {}
    for path in sorted(Path("/sys/class/net").iterdir()):
        mac = _line(path / "address")
        is_made = (path / "bridge").exists() or (path / "tun_flags").exists()
        if mac and mac != "00:00:00:00:00:00" and not is_made:
            found[path.name] = mac.lower()
    return found


def boot_id() -> str:
    return BOOT_ID.read_text(encoding="ascii").strip()


def set_hostname(name: str) -> None:
    """At once; /etc/hostname is a file like others."""
    if socket.gethostname() != name:
        socket.sethostname(name)


def has_address(interface: str, address: str) -> bool:
    """Whether the kernel shows this address there."""
    shown = json.loads(commands.run("ip", "-json", "address", "show", "dev", interface))
    return any(entry["local"] == address for entry in shown[0]["addr_info"])


def is_forwarding() -> bool:
    """Whether the kernel sends on what is not for this machine, of both protocols."""
    return all(_line(path) == "1" for path in FORWARDING)


def has_device_mapper() -> bool:
    """Whether logical volumes are possible at all: not in a container."""
    return Path("/dev/mapper/control").exists()


def _line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip() or None
    except OSError:
        return None
