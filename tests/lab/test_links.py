"""Cables that are pulled, one network at a time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from cloud import Cloud, until
from faults import fenced, fullest, lives, now, stopped, store_leader, unharmed
from test_power import alive

from pvc_gitops.ha.cut_off import LOST_S
from pvc_gitops.lab.cgroup import is_populated, of_lab

pytestmark = [pytest.mark.lab, pytest.mark.long]

REST_S = 10.0
# Longer than Ceph takes to give up an OSD, and than anything that might be fenced by mistake.
PULLED_S = 40.0
ENDED_LIMIT_S = 12.0  # a lease, and what a busy machine makes of it
ELSEWHERE_LIMIT_S = 90.0
RESCUED_LIMIT_S = 360.0  # a move is no hurry: LOST_S, looks that wait for Ceph, and emulated boots
LOOK_S = 0.05


def test_without_the_cluster_network_guests_end_before_they_start_elsewhere(cloud: Cloud) -> None:
    """A follower of ZooKeeper, its libvirtd hung and its BMC dead: nothing but its guard ends the guests,
    and nothing but lease and W proves it. It is not reset, and comes back by itself."""
    leads = store_leader(cloud)
    homes = [nodes[0] for nodes in cloud.domains().values()]
    victim = max((node for node in cloud.nodes() if node != leads), key=homes.count)
    others = [node for node in cloud.nodes() if node != victim]
    lost = {name for name, nodes in cloud.domains().items() if nodes == [victim]}
    assert lost
    began, boot = now(), cloud.lab.node(victim).init_pid()
    with unharmed(cloud, others[0]):
        time.sleep(REST_S)
        spared, was = lives(cloud, others), lives(cloud, [victim])
        cloud.lab.bmc(victim, on=False)
        try:
            with stopped(cloud, victim, "libvirtd"):
                cloud.lab.link(victim, ["cluster"], on=False)
                cut_s = time.monotonic()
                slices = guests_slice(cloud, victim)
                while is_populated(slices):
                    assert time.monotonic() - cut_s < ENDED_LIMIT_S, "its guests run on"
                    assert not lost & set(alive(cloud, others)), "they run twice"
                    time.sleep(LOOK_S)
                ended_s = time.monotonic() - cut_s
                assert not lost & set(alive(cloud, others)), "they run twice"
                until(
                    "its guests run elsewhere",
                    ELSEWHERE_LIMIT_S,
                    lambda: lost <= set(alive(cloud, others)),
                )
                took_s = time.monotonic() - cut_s
        finally:
            cloud.lab.link(victim, ["cluster"], on=True)
            cloud.lab.bmc(victim, on=True)
    print(f"guests ended {ended_s:.1f} s after the cut, ran elsewhere after {took_s:.1f} s")
    said = fenced(cloud, began)
    assert len(said) == 1, said
    assert said[0].startswith(f"{victim} ")
    assert lives(cloud, others) == spared
    assert lives(cloud, [victim]) != was
    assert cloud.lab.node(victim).init_pid() == boot, "it was reset"


@pytest.mark.parametrize("network", ["storage", "upstream"])
def test_without_storage_or_upstream_nobody_is_fenced(cloud: Cloud, network: str) -> None:
    """Guests without their storage stand still and go on; without upstream they notice nothing."""
    victim = fullest(cloud)
    others = [node for node in cloud.nodes() if node != victim]
    began, before = now(), cloud.domains()
    here = [name for name, nodes in before.items() if nodes == [victim]]
    with unharmed(cloud, others[0]) as disks:
        was = lives(cloud, cloud.nodes())
        cloud.lab.link(victim, [network], on=False)
        try:
            time.sleep(PULLED_S)
            assert lives(cloud, cloud.nodes()) == was
            assert cloud.domains() == before
        finally:
            cloud.lab.link(victim, [network], on=True)
    assert fenced(cloud, began) == []
    assert lives(cloud, cloud.nodes()) == was
    assert cloud.domains() == before, "somebody moved"
    if network == "storage":
        assert all(disks.gap_s(name) > PULLED_S / 2 for name in here if name in disks.images), (
            "it was never cut off"
        )


def test_without_storage_for_minutes_guests_run_elsewhere(cloud: Cloud) -> None:
    """Their own node ends and gives them up: nobody is fenced, and no late write of theirs arrives."""
    victim = fullest(cloud)
    others = [node for node in cloud.nodes() if node != victim]
    began = now()
    here = {name for name, nodes in cloud.domains().items() if nodes == [victim]}

    def run_elsewhere() -> bool:
        there, still_here = set(alive(cloud, others)), set(alive(cloud, [victim]))
        assert not there & still_here, "they run twice"
        return here <= there

    with unharmed(cloud, others[0]):
        was = lives(cloud, cloud.nodes())
        cloud.lab.link(victim, ["storage"], on=False)
        cut_s = time.monotonic()
        try:
            until("its guests run elsewhere", RESCUED_LIMIT_S, run_elsewhere)
            took_s = time.monotonic() - cut_s
            assert cloud.status()["nodes"][victim]["state"] == "degraded"
        finally:
            cloud.lab.link(victim, ["storage"], on=True)
    print(f"{len(here)} guests ran elsewhere {took_s:.0f} s after the cut")
    assert took_s > LOST_S
    assert fenced(cloud, began) == []
    assert lives(cloud, cloud.nodes()) == was


def guests_slice(cloud: Cloud, node: str) -> Path:
    """The control group that all guests of a node are in, as the host sees it."""
    group = of_lab(cloud.lab.paths.name) / node
    found = [Path(at) for at, folders, _ in os.walk(group) if "machine.slice" in folders]
    return found[0] / "machine.slice"
