"""Processes that stand still or are killed while their machines are well: no guest and no lease ends."""

from __future__ import annotations

import time

import pytest
from cloud import Cloud, until
from faults import fenced, fullest, lives, now, stopped, store_leader, unharmed

pytestmark = [pytest.mark.lab, pytest.mark.long]

PAUSE_S = 20.0  # three leases
REPLACED_LIMIT_S = 100.0  # systemd's watchdog of an agent bites after a minute
ELECTED_LIMIT_S = 30.0


def test_an_agent_that_stands_still_is_replaced_and_its_guests_run_on(cloud: Cloud) -> None:
    victim = fullest(cloud)
    began, before, was = now(), cloud.domains(), lives(cloud, cloud.nodes())
    watcher = next(node for node in cloud.nodes() if node != victim)
    with unharmed(cloud, watcher), stopped(cloud, victim, "pvc-node-agent") as hung:
        until(
            "another agent runs",
            REPLACED_LIMIT_S,
            lambda: cloud.main_pid(victim, "pvc-node-agent") not in (0, hung),
        )
    assert_nothing_happened(cloud, began, before, was)


@pytest.mark.parametrize("role", ["follower", "leader"])
def test_a_store_server_that_stands_still_ends_nobodys_lease(cloud: Cloud, role: str) -> None:
    leads = store_leader(cloud)
    follows = next(node for node in cloud.nodes() if node != leads)
    victim = leads if role == "leader" else follows
    watcher = next(node for node in cloud.nodes() if node != victim)
    began, before, was = now(), cloud.domains(), lives(cloud, cloud.nodes())
    with unharmed(cloud, watcher), stopped(cloud, victim, "zookeeper"):
        time.sleep(PAUSE_S)
        if role == "leader":
            assert store_leader(cloud) != victim
        assert lives(cloud, cloud.nodes()) == was
        assert cloud.domains() == before
    assert_nothing_happened(cloud, began, before, was)


def test_a_leader_of_the_store_that_is_killed_ends_nobodys_lease(cloud: Cloud) -> None:
    victim = store_leader(cloud)
    watcher = next(node for node in cloud.nodes() if node != victim)
    began, before, was = now(), cloud.domains(), lives(cloud, cloud.nodes())
    with unharmed(cloud, watcher):
        killed = cloud.main_pid(victim, "zookeeper")
        cloud.on(victim, "kill", "-KILL", str(killed))
        until(
            "another leads, and it runs again",
            ELECTED_LIMIT_S,
            lambda: store_leader(cloud) and cloud.main_pid(victim, "zookeeper") not in (0, killed),
        )
        time.sleep(PAUSE_S)
    assert_nothing_happened(cloud, began, before, was)


def assert_nothing_happened(
    cloud: Cloud, began: str, before: dict[str, list[str]], was: dict[str, str]
) -> None:
    assert fenced(cloud, began) == []
    assert lives(cloud, cloud.nodes()) == was, "somebody began another life"
    assert cloud.domains() == before, "somebody moved"
