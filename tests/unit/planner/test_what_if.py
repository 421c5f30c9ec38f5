"""What a loss means for each guest, and that it is what N-1 proves."""

from __future__ import annotations

import pytest
from clusters import BASE, cluster, example, group, image, network, node, pool, spec_of, vm

from pvc_gitops.errors import UsageError
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.planner.what_if import Fate, every_node, without


def asked(spec, lost):
    inventory = empty(spec, 0)
    return without(lost, plan(spec, inventory, POLICY, None), spec, inventory)


def fates(answer):
    return {told.vm: told.fate for told in answer.guests}


def crowded(*guests):
    """Two small nodes, on which not everybody survives the loss of one."""
    small = [node("hv1", memory="1536MiB"), node("hv2", memory="1536MiB")]
    return spec_of(cluster(admission="none"), *small, pool(), image(), network(), *guests)


def test_each_guest_of_the_node_goes_where_the_certificate_says():
    spec = example()
    inventory = empty(spec, 0)
    made = plan(spec, inventory, POLICY, None)
    here = {choice.vm: choice.node for choice in made.placement}
    losses = {loss.node: loss for loss in made.capacity}
    for answer in every_node(made, spec, inventory):
        lost = answer.lost.removeprefix("node/")
        assert {told.vm for told in answer.guests} == {n for n, at in here.items() if at == lost}
        assert {told.fate for told in answer.guests} <= {Fate.MOVES}
        moved = {told.vm: told.node for told in answer.guests}
        assert moved == dict(losses[lost].certificate)
        assert lost not in moved.values()
        assert any("2 of 3 coordinators" in fact for fact in answer.facts)


def test_higher_tiers_start_first_and_get_the_room_that_there_is():
    important = vm("db", "300MiB", ha={"restart": True, "relocate": True, "tier": 1}, nodes=["hv1"])
    others = [
        vm(f"job{number}", "300MiB", ha={"restart": True, "relocate": True, "tier": 5},
           nodes=["hv1" if number == 1 else "hv2"])
        for number in (1, 2)
    ]  # fmt: skip
    loose = [
        doc
        for doc in (important, *others)
        if doc.spec["placement"].__setitem__("strict", False) is None
    ]
    answer = asked(crowded(*loose), "node=hv1")
    told = {each.vm: each for each in answer.guests}
    assert told["db"].fate is Fate.MOVES
    assert told["db"].order == 1
    assert told["job1"].fate is Fate.DOWN
    assert told["job1"].why.startswith("hv2: needs 364 MiB, ")


def test_who_did_not_ask_stays_down_with_the_reason():
    ha = {"restart": True, "relocate": False, "tier": 3}
    never = {"restart": False, "relocate": True, "tier": 3}
    spec = spec_of(*BASE, vm("stays", ha=ha), vm("never", ha=never))
    nodes = plan(spec, empty(spec, 0), POLICY, None).placement
    for choice in nodes:
        answer = asked(spec, f"node={choice.node}")
        (told,) = [each for each in answer.guests if each.vm == choice.vm]
        assert told.fate is Fate.DOWN
        assert told.why.startswith("ha.relocate" if choice.vm == "stays" else "ha.restart")


def test_a_strict_rule_names_itself():
    spec = spec_of(
        cluster(admission="none"), node("hv1"), node("hv2"), pool(), image(), network(), group(),
        vm("web1", groups=["web"]), vm("web2", groups=["web"]),
    )  # fmt: skip
    answer = asked(spec, "node=hv1")
    (told,) = answer.guests
    assert told.fate is Fate.DOWN
    assert "group web" in told.why


def test_a_full_pool_halts_its_guests_and_nobody_else():
    spec = example()
    placed = {choice.vm for choice in plan(spec, empty(spec, 0), POLICY, None).placement}
    assert fates(asked(spec, "pool=vms")) == dict.fromkeys(placed, Fate.HALTS)


def test_a_guest_that_dies_starts_where_it_was():
    (told,) = asked(example(), "vm=web1").guests
    assert told.fate is Fate.RESTARTS


@pytest.mark.parametrize("lost", ["hv1", "node=", "node=hv9", "disk=x"])
def test_what_is_not_there_cannot_be_lost(lost):
    with pytest.raises(UsageError):
        asked(example(), lost)
