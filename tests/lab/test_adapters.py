"""The adapters inside a node: `inside/adapters.py` does the work, since a node has no pytest."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Cloud  # type: ignore[import-not-found]  pytest puts this folder on the path

from pvc_gitops.lab import image

pytestmark = pytest.mark.lab

SCRIPT = Path(__file__).parent / "inside" / "adapters.py"
FOLDER = "/var/tmp/adapters-test"  # of the node: /tmp and /run are memory
AGENT = "pvc-node-agent"
# The agent would put away guests and daemons that it has no record of.
ALONE = {"hypervisor", "services"}
# 72 s for storage at rest: an import that was killed waits for its own watcher, 26 to 28 s.
LIMIT_S = 400.0


@pytest.mark.parametrize("part", ["storage", "hypervisor", "links", "dhcp", "services"])
def test_adapters_in_a_node(cloud: Cloud, part: str) -> None:
    name = cloud.nodes()[0]
    node = cloud.lab.node(name)
    cloud.on(name, "mkdir", "-p", FOLDER)
    if part in ALONE:
        cloud.on(name, "systemctl", "stop", AGENT)
    inside = Path(f"/proc/{node.init_pid()}/root{FOLDER}")
    guest = image.guest(cloud.lab.paths.root)
    for source in (SCRIPT, guest.path):
        shutil.copy(source, inside / source.name)
    try:
        done = subprocess.run(
            node.enter(
                [
                    "python3",
                    f"{FOLDER}/{SCRIPT.name}",
                    *("--image", f"{FOLDER}/{guest.path.name}", "--only", part),
                ]
            ),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    finally:
        cloud.on(name, "systemctl", "start", AGENT)
        cloud.on(name, "rm", "-rf", FOLDER)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^PASS ", done.stdout, re.MULTILINE)
