"""Planner and git are dead, and then a node dies, too: nothing that recovers guests needs either."""

from __future__ import annotations

import time

import pytest
from cloud import Cloud, until
from faults import fenced, fullest, now, unharmed
from test_power import alive

from pvc_gitops.lab.remote import RemoteMode

pytestmark = [pytest.mark.lab, pytest.mark.long]

REST_S = 10.0
ELSEWHERE_LIMIT_S = 90.0


def test_with_planner_and_git_dead_the_guests_of_a_dead_node_run_elsewhere(cloud: Cloud) -> None:
    victim = fullest(cloud)
    others = [node for node in cloud.nodes() if node != victim]
    lost = {name for name, nodes in cloud.domains().items() if nodes == [victim]}
    began = now()
    with unharmed(cloud, others[0]):
        cloud.lab.git(RemoteMode.HANG)
        for node in cloud.nodes():
            cloud.on(node, "systemctl", "kill", "-s", "KILL", "pvc-planner")
            cloud.on(node, "systemctl", "stop", "pvc-planner")
        try:
            time.sleep(REST_S)
            cloud.lab.power(victim, "off")
            cut_s = time.monotonic()
            until(
                "its guests run elsewhere",
                ELSEWHERE_LIMIT_S,
                lambda: lost <= set(alive(cloud, others)),
            )
            took_s = time.monotonic() - cut_s
            assert all(cloud.main_pid(node, "pvc-planner") == 0 for node in others)
        finally:
            cloud.lab.git(RemoteMode.ON)
            for node in others:
                cloud.on(node, "systemctl", "start", "pvc-planner")
    print(f"{len(lost)} guests elsewhere {took_s:.1f} s after the cut, without planner and git")
    assert [text for text in fenced(cloud, began) if not text.startswith(f"{victim} ")] == []
    until("nothing is left to do", 60.0, lambda: "Nothing to do" in cloud.try_pvc("plan").stdout)
