"""Ten minutes in which everything is slow and much of it crashes: nobody is fenced by mistake.

Both cores are busy, every agent is killed all the time, and the store's leader stands still now and then
as if for a long collection of garbage. In the end a node dies while the agents still crash.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cloud import Cloud, until
from faults import busy_cores, fenced, fullest, lives, now, stopped, store_leader, unharmed
from test_power import alive

pytestmark = [pytest.mark.lab, pytest.mark.long]

LASTS_S = 600.0
COLLECTION_S = 1.5
COLLECTION_EVERY_S = 60.0
CRASH_EVERY_S = 12
ELSEWHERE_LIMIT_S = 180.0


@contextmanager
def crashing_agents(cloud: Cloud) -> Iterator[None]:
    """No agent lives for longer than a few seconds."""
    line = f"while sleep {CRASH_EVERY_S}; do systemctl kill -s KILL pvc-node-agent; done"
    for node in cloud.nodes():
        cloud.on(node, "systemd-run", "-q", "--unit", "crashes", "sh", "-c", line)
    try:
        yield
    finally:
        for node in cloud.nodes():
            if cloud.lab.node(node).init_pid() is not None:
                # A machine that was reset meanwhile has forgotten it.
                cloud.on(node, "systemctl", "stop", "crashes", ok=(0, 5))


def restarts(cloud: Cloud, node: str) -> int:
    return int(cloud.on(node, "systemctl", "show", "--value", "-p", "NRestarts", "pvc-node-agent"))


def test_ten_bad_minutes_cost_nothing_and_a_node_may_die_in_them(cloud: Cloud) -> None:
    victim = fullest(cloud)
    others = [node for node in cloud.nodes() if node != victim]
    began, before, was = now(), cloud.domains(), lives(cloud, cloud.nodes())
    boots = {node: cloud.lab.node(node).init_pid() for node in cloud.nodes()}
    crashed = {node: restarts(cloud, node) for node in cloud.nodes()}
    lost = {name for name, nodes in before.items() if nodes == [victim]}
    with unharmed(cloud, others[0]) as disks, crashing_agents(cloud):
        with busy_cores():
            end_s = time.monotonic() + LASTS_S
            while time.monotonic() < end_s:
                time.sleep(COLLECTION_EVERY_S)
                with stopped(cloud, store_leader(cloud), "zookeeper"):
                    time.sleep(COLLECTION_S)
        crashes = {node: restarts(cloud, node) - crashed[node] for node in cloud.nodes()}
        print(f"agents crashed {crashes}; longest load {os.getloadavg()}")
        assert min(crashes.values()) > LASTS_S / CRASH_EVERY_S / 3
        assert {node: cloud.lab.node(node).init_pid() for node in cloud.nodes()} == boots
        assert lives(cloud, cloud.nodes()) == was, "a lease ended"
        assert cloud.domains() == before, "a guest moved"
        assert all(disks.gap_s(name) < LASTS_S / 10 for name in disks.images)

        cloud.lab.power(victim, "off")
        cut_s = time.monotonic()
        until(
            "its guests run elsewhere",
            ELSEWHERE_LIMIT_S,
            lambda: lost <= set(alive(cloud, others)),
        )
        print(f"{len(lost)} guests elsewhere {time.monotonic() - cut_s:.1f} s after the cut")
    said = fenced(cloud, began)
    assert len(said) == 1, said
    assert said[0].startswith(f"{victim} ")
