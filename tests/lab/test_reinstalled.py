"""Coordinators that come back with nothing but their seed: one of three, and two of three after
`pvc node recover-quorum`. They begin without a vote, and in the end everything is as it was.
"""

from __future__ import annotations

import re
import shutil

import pytest
from cloud import Cloud, until
from faults import disks_watched, fullest, unharmed, wait_for_all
from test_power import alive

pytestmark = [pytest.mark.lab, pytest.mark.long]

SILENT_LIMIT_S = 60.0
ELSEWHERE_LIMIT_S = 120.0
BACK_LIMIT_S = 300.0  # formation, beside guests that boot under emulation
ENSEMBLE = "exec 3<>/dev/tcp/127.0.0.1/2181; printf conf >&3; timeout 2 cat <&3"


def reinstall(cloud: Cloud, node: str) -> None:
    """A new disk with the seed on it, as the installer leaves it. The machine is off before, on after."""
    paths = cloud.lab.node(node).paths
    for folder in (paths.upper, paths.work):
        shutil.rmtree(folder)
    paths.installed.unlink()
    cloud.lab.power(node, "on")


def voters(cloud: Cloud, node: str) -> set[str]:
    """Addresses of the servers that have a vote, as the server on that node knows it."""
    said = cloud.on(node, "bash", "-c", ENSEMBLE, ok=(0, 1, 124))
    return set(re.findall(r"server\.\d+=([\d.]+):\d+:\d+:participant", said))


def monitors(cloud: Cloud, node: str) -> set[str]:
    said = cloud.on(node, "timeout", "10", "ceph", "mon", "stat", ok=(0, 1, 124))
    found = re.search(r"quorum [\d,]+ ([\w,]+)", said)
    return set(found.group(1).split(",")) if found else set()


def osds(cloud: Cloud, node: str) -> str:
    return cloud.on(node, "timeout", "10", "ceph", "osd", "stat", ok=(0, 1, 124))


def must_be_whole(cloud: Cloud, of: list[str], ask: str) -> None:
    """These are the members of everything, and nobody else is."""
    until(f"{of} vote", BACK_LIMIT_S, lambda: len(voters(cloud, ask)) == len(of))
    until(f"{of} are monitors", BACK_LIMIT_S, lambda: monitors(cloud, ask) == set(of))
    until(f"{of} have their OSDs", BACK_LIMIT_S, lambda: f" {len(of)} up" in osds(cloud, ask))


def test_a_coordinator_with_a_new_disk_comes_back_as_a_new_member(cloud: Cloud) -> None:
    victim = fullest(cloud)
    others = [node for node in cloud.nodes() if node != victim]
    here = {name for name, nodes in cloud.domains().items() if nodes == [victim]}
    with unharmed(cloud, others[0]):
        cloud.lab.power(victim, "off")
        until(
            "its guests run elsewhere", ELSEWHERE_LIMIT_S, lambda: here <= set(alive(cloud, others))
        )
        cloud.lab.power(victim, "off")  # fenced: its power is back, its disk is not trusted
        reinstall(cloud, victim)
        must_be_whole(cloud, cloud.nodes(), victim)
        assert osds(cloud, victim).startswith("3 osds:"), "the lost one is still in the map"


def test_a_quorum_of_one_lets_the_others_in_again(cloud: Cloud) -> None:
    names = set(cloud.domains())
    wait_for_all(cloud, names)
    left, *lost = cloud.nodes()
    with disks_watched(cloud, left, sorted(names)) as disks:
        disks.wait_until_all_count()
    counted = {name: max(n for _, n in seen) for name, seen in disks.seen.items()}
    for node in lost:
        cloud.lab.power(node, "off")
    until("no quorum is left", SILENT_LIMIT_S, lambda: not voters(cloud, left))
    dead = [word for node in lost for word in ("--dead", node)]
    said = cloud.on(left, "pvc", "node", "recover-quorum", *dead, "--yes")
    print(said)
    assert len(voters(cloud, left)) == 1
    for count, node in enumerate(lost, start=2):
        cloud.lab.power(node, "off")
        reinstall(cloud, node)
        must_be_whole(cloud, [left, *lost][:count], left)
    wait_for_all(cloud, names)
    assert osds(cloud, left).startswith("3 osds:"), "a lost one is still in the map"
    with disks_watched(cloud, left, sorted(names)) as disks:
        disks.wait_until_all_count()
    for name, number in counted.items():
        assert disks.seen[name][0][1] > number, f"{name} has lost what it had written"
