"""The guests' processes: whether any is left, and the end of all of them, without asking libvirt.

libvirt puts QEMU into machine.slice only where machined and a controller of cgroup v2 are there (tried);
elsewhere a kill of the slice reaches nothing. So a QEMU outside of it counts as a guest too: it is a
fault, the slice is not empty while it lives, and the kill takes it as well.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A QEMU where it must not be."""

    pid: int
    cgroup: str

    @property
    def fault(self) -> str:
        return (
            f"QEMU process {self.pid} is in {self.cgroup or 'no group'} and not in machine.slice:"
            " check that systemd-machined runs and /sys/fs/cgroup has controllers, then restart the guest"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSlice:
    """machine.slice of cgroup v2, and /proc to find what is not in it."""

    path: Path
    proc: Path

    def is_empty(self) -> bool:
        """False also where it could not be seen."""
        try:
            events = (self.path / "cgroup.events").read_text()
        except FileNotFoundError:
            return True  # libvirt makes the slice with the first guest
        except OSError:
            return False
        return "populated 0" in events.splitlines()

    def kill(self) -> None:
        """SIGKILL to everything in the slice, also to what is being forked just now, and to strays."""
        with contextlib.suppress(FileNotFoundError):  # no slice, no guest in it
            (self.path / "cgroup.kill").write_text("1")
        for stray in self.strays():
            try:
                os.kill(stray.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def strays(self) -> tuple[Stray, ...]:
        pids = sorted(int(entry.name) for entry in self.proc.iterdir() if entry.name.isdigit())
        return tuple(stray for pid in pids if (stray := self._stray(pid)) is not None)

    def _stray(self, pid: int) -> Stray | None:
        here = self.proc / str(pid)
        try:
            if not (here / "exe").readlink().name.startswith("qemu-system-"):
                return None
            # libvirt asks each emulator for its features in a process without a machine.
            if b"-machine\0none" in (here / "cmdline").read_bytes():
                return None
            lines = (here / "cgroup").read_text().splitlines()
        except OSError:
            return None  # it has ended, or is a thread of the kernel
        group = next((line[3:] for line in lines if line.startswith("0::")), "")
        if group.startswith(f"/{self.path.name}/"):
            return None
        return Stray(pid=pid, cgroup=group)
