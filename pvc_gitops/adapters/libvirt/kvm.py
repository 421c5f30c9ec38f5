"""May guests use KVM? Only after one really ran under it.

A device file says nothing: under a nested or broken hypervisor KVM accepts a machine and never runs
it, and every guest of the node would hang. So a boot sector of a few bytes is run, within a time
limit, and must say one certain word. The answer is kept for this boot.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Final

from pvc_gitops.adapters.libvirt.xml import KVM, TCG
from pvc_gitops.model.values import dataclass

DEVICE: Final = "/dev/kvm"
ANSWER: Final = Path("/run/pvc/acceleration.json")  # /run: kept for this boot and no longer
# SeaBIOS and the sector take 0.3 s under KVM and 1 s emulated; a loaded machine gets ten times that.
LIMIT_S: Final = 10.0
_PORT: Final = 0xF4
_WORD: Final = 0x2A
# mov al, WORD; out PORT, al; and if that did not end the machine: hlt, for ever
_CODE: Final = bytes((0xB0, _WORD, 0xE6, _PORT, 0xF4, 0xEB, 0xFD))
_SECTOR: Final = _CODE.ljust(510, b"\0") + b"\x55\xaa"
_EXIT: Final = (_WORD << 1) | 1  # how isa-debug-exit ends QEMU


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceleration:
    """`kind` is kvm or tcg; `reason` says why not KVM, or is empty."""

    kind: str
    reason: str


def acceleration(answer: Path = ANSWER) -> Acceleration:
    """What guests of this node use. Runs the test once a boot."""
    try:
        return Acceleration(**json.loads(answer.read_text()))
    except (OSError, ValueError, TypeError):
        pass  # not asked yet in this boot, or half written: asked again
    found = _ask()
    answer.parent.mkdir(parents=True, exist_ok=True)
    part = answer.with_suffix(".new")
    part.write_text(json.dumps(asdict(found)))
    part.replace(answer)
    return found


def _ask() -> Acceleration:
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return Acceleration(
            kind=TCG, reason=f"no {DEVICE}; switch virtualisation on in the firmware"
        )
    refusal = try_guest(KVM)
    return Acceleration(kind=TCG if refusal else KVM, reason=refusal)


def try_guest(accelerator: str, limit_s: float = LIMIT_S) -> str:
    """Run the boot sector. Returns why it did not run, or an empty text."""
    with tempfile.NamedTemporaryFile(prefix="pvc-kvm-", suffix=".img") as disk:
        disk.write(_SECTOR)
        disk.flush()
        argv = [
            "qemu-system-x86_64",
            *("-accel", accelerator, "-machine", "pc", "-m", "16"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-drive", f"file={disk.name},format=raw,if=ide,readonly=off,snapshot=on"),
            *("-device", f"isa-debug-exit,iobase={_PORT:#x},iosize=0x01"),
        ]
        try:
            ended = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired:
            return f"a test guest under {accelerator} did not run within {limit_s:g} s"
        except OSError as err:
            return f"QEMU did not start: {err}"
    if ended.returncode == _EXIT:
        return ""
    last = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return f"a test guest under {accelerator} failed: {''.join(last) or ended.returncode}"
