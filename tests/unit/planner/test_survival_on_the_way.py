"""N-1 at every moment of a plan: which board proves it, when steps are ordered for it, and that the
verifier finds out every false claim."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
from clusters import BASE, cluster, group, image, network, node, pool, spec_of, vm

from pvc_gitops.model.plan import Bound, CapacityVerdict
from pvc_gitops.model.values import replace
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.planner.replay import applied_after

HOLDS, FAILS = CapacityVerdict.HOLDS, CapacityVerdict.FAILS
FABRIC = (pool(), image(), network())
# Each node keeps 576 MiB for itself: 1024 are left for guests, of which QEMU takes 64 each.
NODES = tuple(node(f"hv{n}", "1600MiB") for n in (1, 2, 3))
LIVELY = {"ha": {"restart": True, "relocate": True, "tier": 3}}


def planned(spec, inventory):
    made = plan(spec, inventory, POLICY, inventory.target)
    assert problems(made, inventory) == ()
    return made


def second(before, after, admission="enforce"):
    """The plan of a second commit, and its inventory."""
    first = spec_of(cluster(admission=admission), *NODES, *FABRIC, *before, commit="1" * 40)
    inventory = empty(first, 0)
    inventory = replace(applied_after(planned(first, inventory), inventory), accepted="1" * 40)
    spec = spec_of(cluster(admission=admission), *NODES, *FABRIC, *after, commit="2" * 40)
    return planned(spec, inventory), inventory


def pinned(name, memory, at):
    """Where it begins is said by preference; it may be anywhere when its node dies."""
    spec = vm(name, memory)
    placement = {**spec.spec["placement"], "prefer": [{"node": at, "weight": 100}]}
    return replace(spec, spec={**spec.spec, "placement": placement})


def test_what_only_grows_is_proven_by_the_end():
    made, _ = second([vm("a")], [vm("a"), vm("b")])
    assert made.during == ()
    assert made.summary.n1 is HOLDS


def test_where_the_widest_moment_holds_nothing_is_ordered():
    made, _ = second([vm("a"), vm("gone")], [vm("a"), vm("new")])
    assert {loss.verdict for loss in made.during} == {HOLDS}
    put = next(step for step in made.steps if step.id == "vm.put vm/new")
    away = next(step for step in made.steps if step.id == "vm.retire vm/gone")
    assert (away.id in put.needs) is (away.node == put.node)


def test_what_asks_for_more_waits_for_what_gives_where_only_that_holds():
    # d and c do not both find a place when hv1 dies; each alone does.
    before = [
        pinned("a", "200MiB", "hv1"),
        pinned("b", "400MiB", "hv2"),
        pinned("c", "600MiB", "hv3"),
    ]
    made, inventory = second(before, [*before[:2], pinned("d", "600MiB", "hv1")])
    assert {loss.verdict for loss in (*made.capacity, *made.during)} == {HOLDS}
    put = next(step for step in made.steps if step.id == "vm.put vm/d")
    away = next(step for step in made.steps if step.id == "vm.retire vm/c")
    assert put.node != away.node
    assert away.id in put.needs
    loose = replace(put, needs=tuple(each for each in put.needs if each != away.id))
    broken = replace(made, steps=tuple(loose if s.id == put.id else s for s in made.steps))
    assert any("while the plan is carried out" in text for text in problems(broken, inventory))


def test_until_a_repair_is_done_it_is_said_not_to_hold():
    before = [pinned(n, "700MiB", at) for n, at in (("a", "hv1"), ("b", "hv2"), ("c", "hv3"))]
    made, _ = second(before, before[:1], admission="warn")
    assert made.summary.n1 is HOLDS
    assert FAILS in {loss.verdict for loss in made.during}
    said = [item for item in made.report if item.code == "n-minus-1-during"]
    assert said
    assert said[0].text.startswith("until this plan is done, its loss would leave 1 guest")


def test_a_guest_that_grows_beyond_what_a_loss_leaves_is_refused_and_shrinking_is_not():
    names = (("a", "hv1"), ("b", "hv2"), ("c", "hv3"))
    before = [pinned(n, "400MiB", at) for n, at in names]
    after = [pinned("a", "500MiB", "hv1"), *before[1:]]
    made, _ = second(before, after)
    assert made.summary.n1 is HOLDS  # 564 + 464 are more than 1024, but c's node has room
    after = [pinned(n, "500MiB", at) for n, at in names]
    made, _ = second(before, after)
    (blocked,) = [item for item in made.report if item.kind == "blocked"][:1]
    assert blocked.code == "n-minus-1"
    assert blocked.text.startswith("memory 400MiB -> 500MiB: the loss of hv")
    assert "set `ha: {admission: warn}` in cluster.yaml, or keep `memory: 400MiB`" in blocked.remedy
    assert made.summary.n1 is HOLDS
    less = [pinned(n, "300MiB", at) for n, at in names]
    made, _ = second(before, less)
    assert made.summary.blocked == 0


def test_a_cluster_that_lost_its_margin_takes_what_leaves_it_no_worse():
    before = [pinned(n, "700MiB", at) for n, at in (("a", "hv1"), ("b", "hv2"), ("c", "hv3"))]
    first = spec_of(cluster(admission="warn"), *NODES, *FABRIC, *before, commit="1" * 40)
    inventory = applied_after(planned(first, empty(first, 0)), empty(first, 0))
    strict = cluster(admission="enforce")
    smaller = [pinned("a", "600MiB", "hv1"), *before[1:]]
    made = planned(spec_of(strict, *NODES, *FABRIC, *smaller, commit="2" * 40), inventory)
    assert made.summary.blocked == 0
    assert "vm.put vm/a" in {step.id for step in made.steps}
    # One more leaves some node with as much room as the largest had before; two do not.
    more = [*before, vm("d1", "150MiB"), vm("d2", "150MiB")]
    made = planned(spec_of(strict, *NODES, *FABRIC, *more, commit="2" * 40), inventory)
    refused = [item for item in made.report if item.kind == "blocked"]
    assert [(item.address, item.code) for item in refused] == [("vm/d2", "n-minus-1")]


def test_two_nodes_may_be_lost_at_once_where_that_is_asked_for():
    both = cluster()
    both = replace(both, spec={**both.spec, "ha": {**both.spec["ha"], "tolerate_nodes": 2}})
    spec = spec_of(both, *NODES, *FABRIC, vm("a"), vm("b"), commit="1" * 40)
    inventory = empty(spec, 0)
    made = planned(spec, inventory)
    assert [loss.lost for loss in made.capacity] == list(combinations(("hv1", "hv2", "hv3"), 2))
    fewer = replace(made, capacity=made.capacity[:1])
    assert any("says nothing of the loss" in text for text in problems(fewer, inventory))


def test_a_guest_with_virtual_functions_goes_where_some_are_left():
    cards = [{"interface": "ens1f0", "vfs": 1}]
    nodes = (node("hv1", sriov=cards), node("hv2"), node("hv3"))
    sriov = network("fast", type="sriov", vlan=100, ipv4=None)
    nics = {"fast": {"network": "fast", "mac": "auto", "model": "virtio"}}
    guests = [vm("a", nics=nics), vm("b", nics=nics)]
    loose = cluster(admission="warn")
    spec = spec_of(loose, *nodes, pool(), image(), sriov, *guests, commit="1" * 40)
    made = planned(spec, empty(spec, 0))
    assert [choice.node for choice in made.placement] == ["hv1"]
    (item,) = [each for each in made.report if each.code == "no-place"]
    assert "hv1: needs 1 virtual functions, 0 left" in item.text
    assert next(loss for loss in made.capacity if loss.node == "hv1").bound is Bound.BIGGEST


def mutated(made, rng):
    """A plan with one false word about losses, and what was done to it."""
    losses = [n for n, loss in enumerate(made.capacity) if loss.certificate]
    number = rng.choice(losses)
    loss = made.capacity[number]
    guest = rng.choice(sorted(loss.certificate))
    how = rng.choice(["dropped", "lost node", "nobody's node", "all on one", "left out", "summary"])
    if how == "left out":
        return replace(made, capacity=made.capacity[:number] + made.capacity[number + 1 :]), how
    if how == "summary":
        wrong = FAILS if made.summary.n1 is HOLDS else HOLDS
        return replace(made, summary=replace(made.summary, n1=wrong)), how
    certificate = {
        "dropped": {k: v for k, v in loss.certificate.items() if k != guest},
        "lost node": {**loss.certificate, guest: loss.node},
        "nobody's node": {**loss.certificate, guest: "hv9"},
        "all on one": dict.fromkeys(loss.certificate, min(loss.certificate.values())),
    }[how]
    changed = replace(loss, certificate=certificate)
    return replace(
        made, capacity=(*made.capacity[:number], changed, *made.capacity[number + 1 :])
    ), how


@pytest.mark.parametrize("seed", range(12))
def test_a_false_word_about_losses_is_found_out(seed):
    rng = random.Random(seed)
    web = [vm(f"web{n}", "200MiB", groups=["web"]) for n in (1, 2)]
    big = [vm(f"big{n}", "400MiB") for n in (1, 2, 3)]
    spec = spec_of(cluster(), *NODES, *FABRIC, group(), *web, *big, commit="1" * 40)
    inventory = empty(spec, 0)
    made = planned(spec, inventory)
    assert made.summary.n1 is HOLDS
    for _ in range(20):
        broken, how = mutated(made, rng)
        if broken == made:
            continue
        found = problems(broken, inventory)
        truly_one = how == "all on one" and not found
        assert found or truly_one, how
        if truly_one:  # then all of them do fit on one: say so by counting
            (loss,) = [a for a, b in zip(broken.capacity, made.capacity, strict=True) if a != b]
            assert len(loss.certificate) <= 2


def test_the_example_has_room_for_every_loss():
    spec = spec_of(*BASE, *(vm(f"g{n}") for n in range(6)), commit="1" * 40)
    assert planned(spec, empty(spec, 0)).summary.n1 is HOLDS
