"""A step that fails names itself, its node, the reason and what to do; the rest goes on."""

from __future__ import annotations

import pytest
from simulated import ON, events, play, player

from pvc_gitops.controllers.slices import read_plan, read_results, statuses
from pvc_gitops.errors import LinkError
from pvc_gitops.model import paths


def of_the_target(one):
    store = one.cluster.leader().clients["planner"]
    target = store.read(paths.TARGET).value["plan"]
    plan, results = read_plan(store, target), read_results(store, target)
    return plan, results, {name: str(each) for name, each in statuses(plan, results).items()}


def test_a_bad_download_blocks_its_descendants_and_nothing_else():
    one = play("image tiny-guest bad\n" + ON + "settle\n")
    plan, results, found = of_the_target(one)
    failed = results["image.import image/tiny-guest"]
    assert "its checksum is not sha256:" in failed.error
    assert "images/tiny-guest.yaml" in failed.error
    assert not failed.is_retryable
    blocked = {name for name, each in found.items() if each == "blocked"}
    assert blocked == {s.id for s in plan.steps if s.operation in ("disk.create", "vm.put")}
    assert set(found.values()) == {"done", "failed", "blocked"}
    assert [name for _, name in one.cluster.ceph.images] == []  # no half image


def test_a_network_that_cannot_be_made_fails_with_the_kernels_words():
    one = player()
    one.play(ON + "wait 60\n")  # booted this very moment: nothing is planned yet
    node = one.cluster.nodes["hv2"]
    links = type(node.interfaces.bridges)

    class Refusing(links):
        def __setitem__(self, vni, bridge):
            if vni == 1000:
                raise LinkError("create", "br1000", "operation not permitted", retryable=False)
            super().__setitem__(vni, bridge)

    node.interfaces.bridges = Refusing()
    one.play("wait 200\n")
    (failed,) = {event["step"]: event for event in events(one, "step_failed")}.values()
    assert (failed["node"], failed["step"]) == ("hv2", "network.ensure network/app hv2")
    assert "operation not permitted" in failed["error"]
    assert "pvc explain network/app" in failed["error"]
    node.interfaces.bridges = {}
    one.play("settle 900\n")
    assert one.is_settled
    assert {vm["state"] for vm in one.result()["vms"].values()} == {"running"}


@pytest.mark.parametrize("outage", ["network hv1", "store hv1"])
def test_an_outage_in_the_middle_only_delays(outage):
    one = play(f"{ON}wait 66\n{outage} off\nwait 20\n{outage} on\nsettle 1800\n")
    assert one.is_settled
    assert {vm["state"] for vm in one.result()["vms"].values()} == {"running"}
