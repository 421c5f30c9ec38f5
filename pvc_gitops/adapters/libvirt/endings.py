"""How a domain ended, by libvirt's last word in its log: it outlives our own restarts. Pure."""

from __future__ import annotations

import re
from typing import Final

from pvc_gitops.model.inventory import Ending

# src/qemu/qemu_process.c. `shutdown` is the guest's own, by ACPI or by a reboot that ends it; a process
# that was killed is `crashed`, one that we ended is `destroyed`.
_LAST_WORD: Final = re.compile(r"shutting down, reason=(\w+)")
_POWERED_OFF: Final = "shutdown"


def ending_of(log: str) -> Ending:
    """Nothing follows the last word but the next start."""
    lines = log.rstrip().splitlines()
    found = _LAST_WORD.search(lines[-1]) if lines else None
    is_off = found is not None and found.group(1) == _POWERED_OFF
    return Ending.POWERED_OFF if is_off else Ending.ENDED
