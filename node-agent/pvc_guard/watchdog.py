"""The watchdog: it resets this machine when the guard has not petted it for W seconds.

One of the kernel's, chosen by its identity, or one outside of the machine behind a socket, as a lab has.
Either is closed without its magic letter but for one case, the orderly end of the machine: a guard that
dies leaves it armed. From one guard process to the next the open device is kept by systemd, so that it is
never without an owner (`keep`, `inherited`).

W is what this machine's watchdog was measured to do (`measure`): an iTCO that is set to 10 s resets after
19 to 20 (tried). One that was not measured is petted all the same, but proves nobody's death.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pvc_guard.machine import keep_open

SETTIMEOUT: Final = 0xC0045706  # WDIOC_*: include/uapi/linux/watchdog.h
GETSUPPORT: Final = 0x80285700
SUPPORT_BYTES: Final = 40  # two words, then the identity
SET_TO_S: Final = 10  # what a device is asked for (DESIGN section 8)
SOFTWARE: Final = "Software Watchdog"  # dies with the kernel that it should watch: the last choice
KERNEL_FD: Final = "watchdog-kernel"  # under which systemd keeps it
SOCKET_FD: Final = "watchdog-socket"
ANSWER_S: Final = 1.0
HELLO_MAX: Final = 256
PET: Final = b"\0"
ASK: Final = b"?"
DISARM: Final = b"V"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchdog:
    """An armed one. `waits_s`: its W; None where that was never measured."""

    identity: str
    waits_s: float | None
    descriptor: int
    fd_name: str

    def pet(self) -> None:
        """The machine may live on for another W."""
        try:
            os.write(self.descriptor, PET)
        except BlockingIOError:
            return  # a socket's buffer is full of petting that nobody has read: it knows
        except (BrokenPipeError, ConnectionError):
            return  # the device is gone, and with it what it could do to us

    def disarm(self) -> None:
        """The machine goes down in order and runs no guest: what takes long now is no reason to reset."""
        os.write(self.descriptor, DISARM)
        os.close(self.descriptor)

    def keep(self) -> None:
        """Have systemd hold it while this process is replaced by the next."""
        keep_open(self.fd_name, self.descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where watchdogs are looked for, and where their measurement lies."""

    devices: Path
    classes: Path
    sockets: Path
    measured: Path


def arm(places: Places, kept: Mapping[str, int]) -> Watchdog | None:
    """Take over what systemd kept, else open the machine's watchdog; None without any."""
    measured = read_measured(places.measured)
    if KERNEL_FD in kept:
        identity = _identity(kept[KERNEL_FD])
        return _kernel(identity, kept[KERNEL_FD], measured)
    if SOCKET_FD in kept:
        return _socket(socket.socket(fileno=kept[SOCKET_FD]), is_known=True)
    opened = open_kernel(places, measured)
    if opened is not None:
        identity, descriptor = opened
        return _kernel(identity, descriptor, measured)
    for path in sorted(places.sockets.glob("*.socket")):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(str(path))
        except OSError:  # a device that is not there any more leaves its name
            connection.close()
            continue
        return _socket(connection, is_known=False)
    return None


def open_kernel(places: Places, measured: Mapping[str, float]) -> tuple[str, int] | None:
    """The kernel's: one that was measured, else a hardware one, else the kernel's own."""
    found = []
    for each in sorted(places.classes.glob("watchdog*")):
        device = places.devices / each.name
        if device.exists() and (each / "identity").exists():
            identity = (each / "identity").read_text(encoding="utf-8").strip()
            found.append((identity not in measured, identity == SOFTWARE, identity, device))
    if not found:
        return None
    _, _, identity, device = min(found)
    descriptor = os.open(device, os.O_WRONLY | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, SETTIMEOUT, struct.pack("i", SET_TO_S))
    return identity, descriptor


def read_measured(path: Path) -> dict[str, float]:
    """Identity -> W in seconds, as `measure` wrote it; empty where nothing was, or nothing readable."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {str(identity): float(waits_s) for identity, waits_s in value.items()}


def _kernel(identity: str, descriptor: int, measured: Mapping[str, float]) -> Watchdog:
    return Watchdog(
        identity=identity,
        waits_s=measured.get(identity),
        descriptor=descriptor,
        fd_name=KERNEL_FD,
    )


def _identity(descriptor: int) -> str:
    support = fcntl.ioctl(descriptor, GETSUPPORT, bytes(SUPPORT_BYTES))
    return support[8:].split(b"\0", 1)[0].decode("utf-8", "replace").strip()


def _socket(connection: socket.socket, *, is_known: bool) -> Watchdog | None:
    """Its first words are {"identity": …, "waits_s": …}; asked for again by who takes it over."""
    connection.settimeout(ANSWER_S)
    try:
        if is_known:
            connection.sendall(ASK)
        hello = json.loads(connection.recv(HELLO_MAX))
    except (OSError, ValueError):
        connection.close()
        return None
    connection.setblocking(False)
    return Watchdog(
        identity=str(hello["identity"]),
        waits_s=float(hello["waits_s"]),
        descriptor=connection.detach(),
        fd_name=SOCKET_FD,
    )
