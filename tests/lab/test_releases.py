"""Planners of two releases side by side, as during an upgrade: who leads changes, what is to be done
does not. One node gets the number of a later release; the code is the same, so only the number tells.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cloud import Cloud, until

pytestmark = [pytest.mark.lab, pytest.mark.long]

WHERE = "import pvc_gitops.planner.planner as p; print(p.__file__, p.PLANNER_VERSION)"
NEXT = "999.0.0"
ELECTED_LIMIT_S = 60.0
PLANS_S = 8.0  # who leads anew has looked and planned by then
TURNS = 4


def python(cloud: Cloud, node: str) -> str:
    """The interpreter of the planner's own program."""
    return cloud.on(node, "head", "-1", "/usr/bin/pvc-planner").removeprefix("#!").strip()


@contextmanager
def upgraded(cloud: Cloud, node: str) -> Iterator[None]:
    path, version = cloud.on(node, python(cloud, node), "-c", WHERE).split()

    def become(before: str, after: str) -> None:
        line = 'PLANNER_VERSION: Final = "{}"'
        cloud.on(node, "sed", "-i", f"s/^{line.format(before)}$/{line.format(after)}/", path)
        assert cloud.on(node, python(cloud, node), "-c", WHERE).split() == [path, after]
        cloud.on(node, "systemctl", "restart", "pvc-planner", "pvc-node-agent")

    become(version, NEXT)
    try:
        yield
    finally:
        become(NEXT, version)


def lead(cloud: Cloud, wanted: set[str]) -> str:
    """Whoever of `wanted` leads after the others were restarted; it has planned by then."""

    def is_wanted() -> str:
        leads = str(cloud.status()["planner"] or "")
        if leads in wanted:
            return leads
        if leads:
            cloud.on(leads, "systemctl", "restart", "pvc-planner")
        return ""

    leads = str(until(f"one of {sorted(wanted)} leads", ELECTED_LIMIT_S, is_wanted))
    time.sleep(PLANS_S)
    return leads


def target(cloud: Cloud) -> Any:
    return cloud.status()["target"]


def test_leaders_of_two_releases_by_turns_change_no_target(cloud: Cloud) -> None:
    newer = "hv2"
    older = set(cloud.nodes()) - {newer}
    until("all is applied", 60.0, lambda: cloud.status()["is_applied"])
    before, ran = target(cloud), cloud.domains()
    with upgraded(cloud, newer):
        for _ in range(TURNS):
            assert lead(cloud, {newer}) == newer
            assert target(cloud) == before
            assert lead(cloud, older) in older
            assert target(cloud) == before
        # What the newer one has published, an older one leaves as it is, and adds nothing of its own.
        lead(cloud, {newer})
        cloud.write("README.md", cloud.read("README.md") + "\nTwo releases.\n")
        commit = cloud.commit_and_push("docs: two releases")
        until("it is the target", 60.0, lambda: target(cloud)["commit"] == commit)
        of_newer = target(cloud)
        assert of_newer["planner_version"] == NEXT
        for _ in range(TURNS // 2):
            lead(cloud, older)
            assert target(cloud) == of_newer
            lead(cloud, {newer})
            assert target(cloud) == of_newer
        assert cloud.domains() == ran
    # The later release is gone from all nodes: they plan again when they are told to.
    until(
        "it is shown",
        60.0,
        lambda: any(f"{NEXT} has published" in what for _, what, _ in cloud.status()["waiting"]),
    )
    cloud.pvc("retry", "--reason", "the later release was taken back")
    until(
        "they plan again",
        60.0,
        lambda: target(cloud)["planner_version"] == before["planner_version"],
    )
    assert cloud.domains() == ran
