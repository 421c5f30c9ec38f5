"""One real cluster for the session."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from cloud import NAME, PVC, Cloud

from pvc_gitops.lab import preflight
from pvc_gitops.lab.lab import Lab

# Those with labs of their own come before the shared one is up; those that break things come last.
ORDER = (
    "hardware",
    "formation",
    "hypervisors",
    "first_light",
    "ledger",
    "preview",
    "following",
    "refusals",
    "guards",
    "adoption",
    "migration",
    "networks",
    "control",
    "drift",
    "ssh",
    "trust",
    "control",
    "adapters",
    "breakage",
    "recovery",
    "failover",
    "watchdog",
    "fence_check",
    "releases",
    "pauses",
    "store_full",
    "links",
    "migration_faults",
    "alone",
    "power",
    "reinstalled",
    "frozen",
    "silence",
    "endurance",
    "cold_start",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two cores do not carry two labs well, and a story reads better from its beginning."""

    def place(item: pytest.Item) -> int:
        name = item.path.stem.removeprefix("test_")
        return ORDER.index(name) if name in ORDER else len(ORDER)

    items.sort(key=place)


def widened(cluster: str) -> str:
    """A Cluster document with room for all that the stories delete and restart."""
    before = "max_destroy: {vms: 3, volumes: 3, networks: 1,"
    assert before in cluster
    after = "max_destroy: {vms: 100, volumes: 100, networks: 100,"
    return cluster.replace(before, f"max_disrupt: {{reboots: 100}}\n    {after}")


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The example repository, applied: six guests run."""
    assert preflight.missing() == []
    preflight.install_host_packages()
    home = tmp_path_factory.mktemp("cloud")
    clone = home / "my-cluster"
    Lab(NAME).down(wipe=True)
    made = Cloud(clone)
    up = subprocess.run(
        [PVC, "lab", "up", "--name", NAME, "--repo", clone], capture_output=True, text=True,
        timeout=3600, check=False,
    )  # fmt: skip
    try:
        assert up.returncode == 0, up.stdout + up.stderr + made.journals()
        made.pvc("apply", "--yes")
        made.wait_running({path.stem for path in (clone / "vms").glob("*.yaml")})
        # All stories of a day play on one cluster: together they delete and restart more than a day's.
        made.write("cluster.yaml", widened(made.read("cluster.yaml")))
        made.commit_and_push("budgets for many stories")
        made.pvc("apply", "--yes")
        yield made
    finally:
        if not os.environ.get("PVC_KEEP_LAB"):
            made.lab.down(wipe=True)
