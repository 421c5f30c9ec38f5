"""Where in a guest a device sits, derived from its name (DESIGN D19): order in a list means nothing.

A guest has a fixed set of PCIe root ports, present whether used or not, so the bus number that a guest
makes an interface name from (`enp5s0`) hangs on the port alone. A name hashes to a port of its kind;
where two names hash alike the later one in the alphabet takes the next free port. A device that is
plugged into a running guest never moves those that are there; at the guest's next start it may, if it
hashes to the port of a name behind its own. Guests that must not care name interfaces by MAC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Final

# Ports are functions of a few slots of the root bus: eight ports take one slot. Numbers are ours;
# libvirt calls port N the bus N + 1, since bus 0 is the root itself. All 24 together cost a guest 0.6 s
# of booting when it is emulated (measured); fewer would make two names meet more often.
SCSI_PORT: Final = 0
NIC_PORTS: Final = range(1, 12)
DISK_PORTS: Final = range(12, 24)  # virtio-blk; a virtio-scsi disk needs no port
PORTS: Final = 24
SCSI_TARGETS: Final = range(
    256
)  # QEMU's virtio-scsi has no more; the LUN stays 0, BIOSes look there


class NoSlotError(ValueError):
    """More devices of a kind than a guest has places for."""


def assign(
    names: Iterable[str], places: range, taken: Mapping[str, int] | None = None
) -> Mapping[str, int]:
    """A place for each name. `taken` are names that already have one and keep it. Raises NoSlotError."""
    assigned = dict(taken or {})
    for name in sorted(set(names) - assigned.keys()):
        assigned[name] = _probe(name, places, assigned.values())
    return assigned


def _probe(name: str, places: range, taken: Collection[int]) -> int:
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    for step in range(len(places)):
        place = places[(start + step) % len(places)]
        if place not in taken:
            return place
    raise NoSlotError(f"{name}: a guest has {len(places)} places for devices of this kind")
