"""Each node in turn loses its power: its guests run elsewhere, once, with what they had written, nobody
else is touched, and its routes are gone before anybody could miss them."""

from __future__ import annotations

import time

import pytest
from cloud import Cloud, until
from faults import fenced, lives, now, store_leader, unharmed
from test_networks import routes

pytestmark = [pytest.mark.lab, pytest.mark.long]

REST_S = 10.0  # candidates have looked for longer than a lease
ROUTES_LIMIT_S = 10.0  # BGP's hold time is 3 s
ELSEWHERE_LIMIT_S = 90.0


@pytest.mark.parametrize("victim", ["hv1", "hv2", "hv3"])
def test_a_node_that_loses_its_power(cloud: Cloud, victim: str) -> None:
    others = [node for node in cloud.nodes() if node != victim]
    if [victim] not in cloud.domains().values():
        cloud.pvc("vm", "migrate", "web1", victim)
    began, before = now(), cloud.domains()
    lost = {name for name, nodes in before.items() if nodes == [victim]}
    way = next(n for n in cloud.lab.topology().nodes if n.name == victim).nic("cluster").address
    with unharmed(cloud, others[0]):
        time.sleep(REST_S)
        spared = lives(cloud, others)
        is_leader = store_leader(cloud) == victim
        cloud.lab.power(victim, "off")
        cut_s = time.monotonic()

        def is_forgotten() -> bool:
            return all(way.partition("/")[0] not in routes(cloud, node).values() for node in others)

        until("its routes are gone", ROUTES_LIMIT_S, is_forgotten)
        gone_s = time.monotonic() - cut_s
        until(
            "its guests run elsewhere",
            ELSEWHERE_LIMIT_S,
            lambda: lost <= {n for n, nodes in alive(cloud, others).items() if len(nodes) == 1},
        )
        print(
            f"{victim} (led ZooKeeper: {is_leader}): routes gone after {gone_s:.1f} s, "
            f"{len(lost)} guests elsewhere after {time.monotonic() - cut_s:.1f} s"
        )
    said = fenced(cloud, began)
    assert len(said) == 1, said
    assert said[0].startswith(f"{victim} ")
    assert lives(cloud, others) == spared


def alive(cloud: Cloud, nodes: list[str]) -> dict[str, list[str]]:
    """Guest -> the nodes of these that run it."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        for name in cloud.on(node, "virsh", "-q", "list", "--name").split():
            found.setdefault(name, []).append(node)
    return found
