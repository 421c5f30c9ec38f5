"""`pvc apply` tells the end although the agent that it asks is killed in the middle."""

from __future__ import annotations

import pytest
from cloud import Cloud

pytestmark = pytest.mark.lab

ASKED = "hv1"  # the first of the clone's `pvc.host`


def test_who_follows_is_told_the_end_by_another_agent(cloud: Cloud) -> None:
    text = cloud.read("vms/app1.yaml")
    cloud.write("vms/told1.yaml", text.replace("app1", "told1"))
    cloud.commit_and_push("told1: new")
    running = cloud.start_pvc("apply", "--yes")
    assert running.stdout is not None
    said = []
    for line in running.stdout:
        said.append(line)
        if "disk.create vm/told1" in line:
            break
    pid = cloud.main_pid(ASKED, "pvc-node-agent")
    cloud.on(ASKED, "kill", "-KILL", str(pid))
    rest, _ = running.communicate(timeout=120)
    assert running.returncode == 0, "".join(said) + rest
    assert rest.count("goes on telling") == 1, rest
    assert "Applied in" in rest
    assert "told1" in cloud.running()
    (cloud.clone / "vms/told1.yaml").unlink()
    cloud.commit_and_push("told1: gone")
    cloud.pvc("apply", "--yes")
