"""This process and its machine: clock, memory, priority, service manager."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4  # include/uapi/asm-generic/mman.h
FIRST_FD: Final = 3  # SD_LISTEN_FDS_START
PRIORITY: Final = (
    1  # the lowest real-time one: above all ordinary work, below the kernel's own threads
)

SYSTEMD_S: Final = 0.8  # less than a heartbeat, and than systemd waits for a sign of life
SAYS_NOTHING: Final = ("", "offline", "unknown")  # of `systemctl is-system-running`


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


def is_machine_stopping(systemctl: Path) -> bool | None:
    """Whether systemd is taking the whole machine down, and not only this service. None: it does not say,
    as while it is busy with a thousand units; who left then would not have said its last word."""
    command = [str(systemctl), "is-system-running"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=SYSTEMD_S, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    except OSError:
        return False  # there is no systemd: whoever sent the signal wants this process to end
    word = answer.stdout.strip()
    return None if word in SAYS_NOTHING else word == "stopping"


def notify(message: str, descriptors: tuple[int, ...] = ()) -> None:
    """sd_notify. Nothing to do without systemd, and nothing to wait for where it stands still: a guard
    that waited would end its guests for that (tried: its queue holds ten messages).
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.connect(address.replace("@", "\0", 1))
        to.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            socket.send_fds(to, [message.encode()], descriptors)


def keep_open(name: str, descriptor: int) -> None:
    """Have systemd keep a descriptor open beyond this process, for the next one of this service."""
    notify(f"FDSTORE=1\nFDNAME={name}", (descriptor,))


def kept_open() -> dict[str, int]:
    """What systemd kept for us, by name (sd_listen_fds_with_names)."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    found = {name: FIRST_FD + at for at, name in enumerate(names)}
    for descriptor in found.values():
        os.set_inheritable(descriptor, False)
    return found
