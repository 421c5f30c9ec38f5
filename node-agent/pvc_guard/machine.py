"""This process and its machine: clock, memory, priority, watchdog, service manager."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4  # include/uapi/asm-generic/mman.h
WDIOC_SETTIMEOUT: Final = 0xC0045706  # include/uapi/linux/watchdog.h
WATCHDOG_S: Final = 10  # W (DESIGN section 8)
PRIORITY: Final = (
    1  # the lowest real-time one: above all ordinary work, below the kernel's own threads
)


def boottime_s() -> float:
    """CLOCK_BOOTTIME: it goes on while the machine is suspended, as others' clocks do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def stay_in_memory() -> bool:
    """No page of ours is ever swapped out; only touched ones count (MCL_ONFAULT). False where the
    kernel does not allow it."""
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) == 0


def run_first() -> bool:
    """Real-time priority. False where the kernel does not give it (a container without the right)."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    except OSError as err:
        if err.errno == errno.EPERM:
            return False
        raise
    return True


def is_machine_stopping(systemctl: Path) -> bool:
    """Whether systemd is taking the whole machine down, and not only this service."""
    command = [str(systemctl), "is-system-running"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=2, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False  # then the last word is not said, and others wait for the lease
    return answer.stdout.strip() == "stopping"


def notify(message: str) -> None:
    """sd_notify. Nothing to do without systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.sendto(message.encode(), address.replace("@", "\0", 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchdog:
    """An armed watchdog of the kernel. Closing it without the magic letter leaves it armed: the next
    guard process has W seconds to take it over."""

    identity: str
    descriptor: int

    def pet(self) -> None:
        os.write(self.descriptor, b"\0")


def arm_watchdog(*, devices: Path, classes: Path) -> Watchdog | None:
    """Open this machine's watchdog, a hardware one before the kernel's own; None without any."""
    found = []
    for each in sorted(classes.glob("watchdog*")):
        device = devices / each.name
        if device.exists() and (each / "identity").exists():
            identity = (each / "identity").read_text(encoding="utf-8").strip()
            found.append((identity == "Software Watchdog", identity, device))
    if not found:
        return None
    _, identity, device = min(found)
    descriptor = os.open(device, os.O_WRONLY | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, WDIOC_SETTIMEOUT, struct.pack("i", WATCHDOG_S))
    return Watchdog(identity=identity, descriptor=descriptor)
