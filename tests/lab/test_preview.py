"""A proposal, previewed by the real cluster, merged, and done: step for step the same."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from cloud import Cloud, until

pytestmark = pytest.mark.lab

PREVIEW_LIMIT_S = 120.0
PLANNED_LIMIT_S = 60.0
FORGE = """# yaml-language-server: $schema=../../.pvc/schema/forge.json
apiVersion: pvc/v1
kind: Forge
metadata:
  name: origin
spec:
  type: git
  previews:
    branches: [review/*]
"""


def preview_of(cloud: Cloud, branch: str) -> dict[str, Any]:
    """The cluster's preview of the branch's head as it is now."""
    head = cloud.git("rev-parse", branch)

    def look() -> dict[str, Any]:
        done = cloud.try_pvc("preview", "show", branch, "-o", "json")
        found: dict[str, Any] = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        return found if found.get("head") == head else {}

    found: dict[str, Any] = until(f"{branch} is previewed", PREVIEW_LIMIT_S, look)
    return found


def plan_of(cloud: Cloud, commit: str) -> dict[str, Any]:
    """The plan that the cluster published for a commit, as it stands in the ledger and the store."""

    def look() -> str:
        done = cloud.try_pvc("history", "-o", "json", "--limit", "50")
        entries = json.loads(done.stdout) if done.returncode == 0 else []
        plans = [e["plan"] for e in entries if e["kind"] == "plan" and e["commit"] == commit]
        return plans[0] if plans else ""

    plan = until(f"a plan of {commit[:7]}", PLANNED_LIMIT_S, look)
    file = str(cloud.clone.parent / "export.json")
    cloud.pvc("export", "--plan", plan, "--files", file)
    made = cloud.pvc("plan", "--inventory", file, "--json", "-", ok=(0, 2, 3))
    value: dict[str, Any] = json.loads(made)
    assert value["id"] == plan, "the replay is another plan"
    return value


@pytest.fixture(scope="module")
def previewing(cloud: Cloud) -> Cloud:
    (cloud.clone / "policies" / "forge").mkdir(parents=True)
    cloud.write("policies/forge/origin.yaml", FORGE)
    cloud.commit_and_push("preview branches")
    cloud.pvc("apply", "--yes")
    return cloud


def test_a_preview_equals_what_the_cluster_then_does(previewing: Cloud) -> None:
    cloud = previewing
    before = cloud.running()
    cloud.git("checkout", "--quiet", "-b", "review/web9")
    cloud.write("vms/web9.yaml", cloud.read("vms/app1.yaml").replace("app1", "web9"))
    db1 = cloud.read("vms/db1.yaml")
    more = re.sub(r"(?m)^  (memory|reboot_for_changes): .*\n", "", db1)
    more = more.replace("spec:\n", "spec:\n  memory: 104MiB\n  reboot_for_changes: now\n", 1)
    cloud.write("vms/db1.yaml", more)
    cloud.git("add", "--all")
    cloud.git("commit", "--quiet", "-m", "web9, and more for db1")
    cloud.git("push", "--quiet", "-u", "origin", "review/web9")

    preview = preview_of(cloud, "review/web9")
    assert preview["outcome"] == "planned", preview["reason"]
    assert cloud.running() == before, "a preview changes nothing"
    listed = cloud.pvc("preview", "list")
    assert re.search(r"review/web9 +[0-9a-f]{7} +\+1 ~1 -0", listed), listed
    at_home = cloud.pvc(
        "plan", "--commit", "review/web9", "--base", "origin/main", "--json", "-", ok=(2,)
    )
    assert json.loads(at_home)["effect"] == preview["effect"]

    cloud.git("checkout", "--quiet", "main")
    cloud.git("merge", "--quiet", "--ff-only", "review/web9")
    cloud.git("push", "--quiet", "origin", "main")
    merged = cloud.git("rev-parse", "HEAD")
    cloud.pvc("apply", "--yes")
    done = plan_of(cloud, merged)
    assert done["effect"] == preview["effect"]
    assert [f"{step['id']} @ {step['node']}" for step in done["steps"]] == preview["steps"]
    cloud.wait_running(before | {"web9"})
    assert "Nothing to do" in cloud.pvc("plan")
    until(
        "the merged branch has no preview",
        PREVIEW_LIMIT_S,
        lambda: "review/web9" not in cloud.pvc("preview", "list"),
    )


def test_the_cluster_plans_a_working_tree_and_says_the_same(previewing: Cloud) -> None:
    cloud = previewing
    cloud.write("vms/web8.yaml", cloud.read("vms/app1.yaml").replace("app1", "web8"))
    try:
        said = cloud.pvc("plan", "--remote", ok=(2,))
        assert "+ vm/web8" in said
        assert re.search(r"Exact: the effect is [0-9a-f]{8} there and here", said)
    finally:
        (cloud.clone / "vms" / "web8.yaml").unlink()


def test_a_hostile_branch_is_told_and_hinders_nothing(previewing: Cloud) -> None:
    cloud = previewing
    before = cloud.accepted()
    cloud.git("checkout", "--quiet", "-b", "review/hostile")
    cloud.write("vms/bomb.yaml", "spec: " + "[" * 60_000 + "\n")
    cloud.git("add", "--all")
    cloud.git("commit", "--quiet", "-m", "a bomb")
    cloud.git("push", "--quiet", "-u", "origin", "review/hostile")
    preview = preview_of(cloud, "review/hostile")
    assert preview["outcome"] == "invalid"
    assert any("vms/bomb.yaml" in line for line in preview["problems"])
    assert cloud.accepted() == before
    cloud.git("checkout", "--quiet", "main")
    cloud.git("push", "--quiet", "origin", "--delete", "review/hostile")
