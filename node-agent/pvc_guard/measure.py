"""`pvc-guard measure-watchdog`: let the watchdog reset this machine, and note how long it took.

For a machine that runs no guests, once, when it joins: what a device is set to is not what it does. While
the device is not petted the time is written to disk ten times a second; what was written last is read at
the next boot, when the guard begins.
"""

from __future__ import annotations

import errno
import json
import math
import os
import time
from pathlib import Path
from typing import Final

from pvc_guard.machine import boot_id, boottime_s
from pvc_guard.watchdog import PET, Places, open_kernel, read_measured

STEP_S: Final = 0.1
LONGEST_S: Final = 120.0  # a device that waits longer is of no use
GRAIN_S: Final = 0.5  # rounded up to it: what was written last may be a step and a write old


def measure(places: Places, note: Path) -> str:
    """Does not return where the watchdog works; else what is wrong."""
    try:
        opened = open_kernel(places, read_measured(places.measured))
    except OSError as err:
        if err.errno != errno.EBUSY:
            raise
        return "the watchdog is held: in maintenance, stop what holds it (systemctl stop pvc-guard)"
    if opened is None:
        return "this machine has no watchdog"
    identity, device = opened
    os.write(device, PET)
    since_s = boottime_s()
    descriptor = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_SYNC, 0o600)
    while boottime_s() - since_s < LONGEST_S:
        value = {
            "identity": identity,
            "boot_id": boot_id(),
            "silent_for_s": round(boottime_s() - since_s, 3),
        }
        # Blanks up to the same length: a shorter line never leaves the end of a longer one.
        os.pwrite(descriptor, json.dumps(value).ljust(256).encode(), 0)
        time.sleep(STEP_S)
    os.close(descriptor)
    note.unlink()
    return f"{identity} did not reset this machine within {LONGEST_S:.0f} s"


def finish(places: Places, note: Path, now_boot_id: str) -> tuple[str, float] | None:
    """After the reset: what was measured, written down. None where nothing was."""
    try:
        value = json.loads(note.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        note.unlink()  # the reset came amid the first write: it must be measured again
        return None
    if value["boot_id"] == now_boot_id:
        return None  # being measured
    identity = str(value["identity"])
    waits_s = math.ceil((float(value["silent_for_s"]) + 2 * STEP_S) / GRAIN_S) * GRAIN_S
    known = {**read_measured(places.measured), identity: waits_s}
    part = places.measured.with_suffix(".part")
    part.write_text(json.dumps(known, sort_keys=True), encoding="utf-8")
    part.replace(places.measured)
    note.unlink()
    return identity, waits_s
