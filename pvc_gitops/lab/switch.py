"""A machine's power switch as a command, for its BMC: `python -m pvc_gitops.lab.switch ROOT LAB
NODE on|off|cycle|status`.

Imports little, since a fence waits for it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from pvc_gitops.lab.node import Node
from pvc_gitops.lab.paths import LabPaths

INHERITED_MAX: Final = 256  # ipmi_sim has fewer than twenty open


def main() -> int:
    """Do one thing; `status` prints what ipmi_sim reads."""
    # ipmi_sim lets its children inherit its sockets; a machine that keeps them keeps its BMC's port.
    os.closerange(3, INHERITED_MAX)
    root, lab, name, verb = sys.argv[1:]
    node = Node(LabPaths(Path(root), lab).node(name))
    if verb == "status":
        print(f"power:{int(node.is_on())}")
    if verb in {"off", "cycle"}:
        node.power_off()
    if verb in {"on", "cycle"}:
        node.power_on(wait=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
