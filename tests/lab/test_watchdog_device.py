"""A real watchdog driver of Debian's kernel, in a QEMU machine with an Intel 6300ESB: which device is
taken, that petting keeps the machine, that a guard which dies leaves it armed, and what W is measured."""

from __future__ import annotations

import re
from pathlib import Path

import machine
import pytest

pytestmark = pytest.mark.lab

HOME = Path(__file__).resolve().parents[2]
LIMIT_S = 900.0
# Two boots in one script: the first is ended by the device, the second reads what was noted.
JOB = """
import json, os, time
from pathlib import Path
from pvc_guard import watchdog as dogs
from pvc_guard.machine import boot_id, boottime_s
from pvc_guard.measure import finish, measure

note, disk = Path("/tmp/note"), Path("/dev/vda")
places = dogs.Places(devices=Path("/dev"), classes=Path("/sys/class/watchdog"),
                     sockets=Path("/none"), measured=Path("/tmp/measured.json"))
kept = disk.read_bytes()[:256].rstrip(b"\\0")
if kept:
    note.write_bytes(kept)
    print("MEASURED", json.dumps(finish(places, note, boot_id())), flush=True)
    dog = dogs.arm(places, {})
    print("KNOWN", dog.waits_s, flush=True)
    dog.disarm()
    time.sleep(14)
    print("DISARMED and alive", flush=True)
else:
    print("CLASSES", sorted((c / "identity").read_text().strip()
                            for c in Path("/sys/class/watchdog").glob("*")), flush=True)
    dog = dogs.arm(places, {})
    print("TAKEN", dog.identity, dog.waits_s, flush=True)
    until = boottime_s() + 14
    while boottime_s() < until:
        dog.pet()
        time.sleep(0.25)
    print("PETTED for 14 s and alive", flush=True)
    os.close(dog.descriptor)  # as a guard that was killed does: without the magic letter
    time.sleep(3)
    print("TAKEN AGAIN", dogs.arm(places, {}).identity, flush=True)
    again = [d for d in os.listdir("/proc/self/fd")
             if os.path.exists(f"/proc/self/fd/{d}")
             and os.readlink(f"/proc/self/fd/{d}").startswith("/dev/watchdog")]
    for each in again:
        os.close(int(each))
    print("SILENT from now", flush=True)
    print(measure(places, disk), flush=True)
"""


def test_the_kernels_device(tmp_path: Path) -> None:
    guard = HOME / "node-agent" / "pvc_guard"
    files = {f"pvc_guard/{path.name}": path.read_bytes() for path in guard.glob("*.py")}
    text = machine.play(
        tmp_path,
        {**files, "job.py": JOB.encode()},
        drivers=("virtio_pci", "virtio_blk", "i6300esb", "softdog"),
        qemu=("-device", "i6300esb", "-action", "watchdog=reset"),
        limit_s=LIMIT_S,
    )
    assert "CLASSES ['Software Watchdog', 'i6300ESB timer']" in text
    assert "TAKEN i6300ESB timer None" in text  # not measured: it proves nothing yet
    assert "PETTED for 14 s and alive" in text
    assert "TAKEN AGAIN i6300ESB timer" in text
    measured = re.search(r'MEASURED \["i6300ESB timer", ([0-9.]+)\]', text)
    assert measured, text[-3000:]
    waits_s = float(measured.group(1))
    print(f"an i6300ESB that is set to 10 s resets after {waits_s:g} s")
    assert 9.0 <= waits_s <= 22.0
    assert f"KNOWN {waits_s}" in text
    assert "DISARMED and alive" in text
