"""Debian's kernel with a real watchdog device, in a QEMU machine: it panics and hangs, or the process
that pets the device stands still, and the device resets it, no earlier than it should."""

from __future__ import annotations

import re
from pathlib import Path

import machine
import pytest

pytestmark = [pytest.mark.lab, pytest.mark.long]

HOME = Path(__file__).resolve().parents[2]
LIMIT_S = 900.0
W_S = 10.0
LATE_S = 14.0  # until its kernel begins again: firmware and loader under emulation
# Three boots. What a boot does last stands on the disk, with the wall clock: the machine's own, which
# goes on through a reset.
JOB = """
import os, signal, time
from pathlib import Path
from pvc_guard import watchdog as dogs

disk = Path("/dev/vda")
places = dogs.Places(devices=Path("/dev"), classes=Path("/sys/class/watchdog"),
                     sockets=Path("/none"), measured=Path("/tmp/measured.json"))

def note(what):
    with disk.open("r+b", buffering=0) as handle:
        handle.write(f"{what} {time.time()}\\n".encode().ljust(512, b"\\0"))
        os.fsync(handle.fileno())

def petting():
    # As the guard does, in a process of its own.
    child = os.fork()
    if child == 0:
        dog = dogs.arm(places, {})
        while True:
            dog.pet()
            time.sleep(0.25)
    time.sleep(14)
    assert os.waitpid(child, os.WNOHANG) == (0, 0)
    print("PETTED for 14 s and alive", flush=True)
    return child

kept = disk.read_bytes()[:512].rstrip(b"\\0").decode().split()
boot_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
if kept:
    print("RESET", kept[0], f"{boot_s - float(kept[1]):.1f}", flush=True)
if not kept:
    child = petting()
    os.kill(child, signal.SIGSTOP)
    note("stopped")
    time.sleep(60)
    print("NOT RESET", flush=True)
elif kept[0] == "stopped":
    child = petting()
    Path("/proc/sys/kernel/panic").write_text("0")  # it hangs instead of booting again
    note("panic")
    Path("/proc/sysrq-trigger").write_text("c")
"""


def test_a_stopped_guard_and_a_kernel_that_panicked_are_reset(tmp_path: Path) -> None:
    guard = HOME / "node-agent" / "pvc_guard"
    files = {f"pvc_guard/{path.name}": path.read_bytes() for path in guard.glob("*.py")}
    text = machine.play(
        tmp_path,
        {**files, "job.py": JOB.encode()},
        drivers=("virtio_pci", "virtio_blk", "i6300esb", "softdog"),
        qemu=("-device", "i6300esb", "-action", "watchdog=reset"),
        limit_s=LIMIT_S,
    )
    assert text.count("PETTED for 14 s and alive") == 2
    assert "NOT RESET" not in text
    found = {what: float(after) for what, after in re.findall(r"RESET (\w+) ([0-9.]+)", text)}
    print(f"a new boot began, s after the last word: {found}")
    assert set(found) == {"stopped", "panic"}, text[-3000:]
    for what, after_s in found.items():
        assert W_S - 1.0 <= after_s <= W_S + LATE_S, (what, after_s)
