"""The verifier against plans that a broken planner might make: each mutation is caught, by its words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from clusters import BASE, cluster, example, group, spec_of, vm, volume

from pvc_gitops.model.document import Kind
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.plan import CapacityVerdict, Operation
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.planner.replay import applied_after

GUESTS = (vm("web1"), vm("web2"), vm("mail"))


def planned(spec, inventory):
    made = plan(spec, inventory, POLICY, inventory.target)
    assert problems(made, inventory) == ()
    return made


def founding():
    spec = spec_of(*BASE, *GUESTS, commit="1" * 40)
    inventory = empty(spec, 0)
    return planned(spec, inventory), inventory


def second(*documents, first=(*BASE, *GUESTS)):
    """A plan of a second commit, and its inventory."""
    _, inventory = founding()
    spec = spec_of(*first, commit="1" * 40)
    inventory = applied_after(planned(spec, empty(spec, 0)), empty(spec, 0))
    return planned(spec_of(*documents, commit="2" * 40), inventory), inventory


def with_step(made, step_id, **changes):
    steps = tuple(replace(s, **changes) if s.id == step_id else s for s in made.steps)
    return replace(made, steps=steps)


def without_step(made, step_id):
    steps = tuple(
        replace(s, needs=tuple(n for n in s.needs if n != step_id))
        for s in made.steps
        if s.id != step_id
    )
    return replace(made, steps=steps)


def without_edge(made, step_id, need):
    (step,) = (s for s in made.steps if s.id == step_id)
    assert need in step.needs
    return with_step(made, step_id, needs=tuple(n for n in step.needs if n != need))


def assert_caught(made, inventory, words):
    found = problems(made, inventory)
    assert any(words in problem for problem in found), found


def test_every_edge_of_a_founding_plan_is_needed_or_implied():
    """Dropping all needs of any one step that has some is noticed, for every step."""
    made, inventory = founding()
    for step in made.steps:
        if step.needs and step.operation is not Operation.NETWORK_ENSURE:
            assert problems(with_step(made, step.id, needs=()), inventory), step.id


def test_every_step_of_a_founding_plan_is_needed():
    made, inventory = founding()
    for step in made.steps:
        assert problems(without_step(made, step.id), inventory), step.id


def test_what_was_there_before_serves_while_it_changes():
    """A pool gets other copies, and what lies in it other tags: no order is needed, none asked for."""
    before = (*BASE, *GUESTS)
    after = [
        replace(each, spec={**each.spec, "copies": 2, "min_copies": 1})
        if each.kind is Kind.POOL
        else replace(each, tags=("new",))
        if each.kind in (Kind.IMAGE, Kind.NETWORK)
        else each
        for each in before
    ]
    made, inventory = second(*after)
    assert {step.address for step in made.steps} >= {"pool/vms", "image/tiny"}
    assert problems(made, inventory) == ()


def test_a_guest_that_does_not_wait_for_its_disk():
    made, inventory = founding()
    broken = without_edge(made, "vm.put vm/web1", "disk.create vm/web1/disk/root")
    assert_caught(broken, inventory, "does not wait for disk.create vm/web1/disk/root")


def test_a_guest_that_does_not_wait_for_its_network():
    made, inventory = founding()
    (put,) = (s for s in made.steps if s.id == "vm.put vm/web1")
    need = f"network.ensure network/app {put.node}"
    assert_caught(without_edge(made, put.id, need), inventory, "does not wait until")


def test_a_guest_started_where_another_node_owns_it():
    changed = vm("mail", tags=["x"])
    made, inventory = second(*BASE, GUESTS[0], GUESTS[1], changed)
    other = next(n for n in ("hv1", "hv2", "hv3") if n != inventory.placements["mail"].owner)
    assert_caught(with_step(made, "vm.put vm/mail", node=other), inventory, "owns it")


def test_a_guest_started_twice():
    made, inventory = founding()
    (put,) = (s for s in made.steps if s.id == "vm.put vm/web1")
    other = next(n for n in ("hv1", "hv2", "hv3") if n != put.node)
    again = replace(put, id="vm.put vm/web1 again", node=other)
    assert_caught(replace(made, steps=(*made.steps, again)), inventory, "web1")


def test_a_step_on_a_silent_node():
    made, inventory = founding()
    facts = replace(inventory.nodes["hv1"], state=NodeState.UNKNOWN)
    silent = replace(inventory, nodes={**inventory.nodes, "hv1": facts})
    assert_caught(made, silent, "hv1, which is not online")


def test_a_cycle_is_an_order_that_is_none():
    made, inventory = founding()
    broken = with_step(made, "pool.create pool/vms", needs=("image.import image/tiny",))
    assert_caught(broken, inventory, "stands before")


def test_a_protected_guest_destroyed():
    made, inventory = second(*BASE, GUESTS[0], GUESTS[1])
    mail = inventory.applied["vm/mail"]
    guarded = replace(mail, spec={**mail.spec, "protect": True})
    steps = tuple(
        replace(s, pre={"vm/mail": guarded.digest}) if "vm/mail" in s.pre else s for s in made.steps
    )
    broken = replace(made, steps=steps)
    protected = replace(inventory, applied={**inventory.applied, "vm/mail": guarded})
    assert_caught(broken, protected, "which is protected")


def test_more_destroyed_than_the_budget():
    made, inventory = second(*BASE, first=(*BASE, *GUESTS))
    strict = cluster(max_destroy={"vms": 2})
    record = inventory.applied["cluster/lab"]
    tight = replace(
        inventory,
        applied={**inventory.applied, "cluster/lab": replace(record, spec=strict.spec)},
    )
    assert_caught(made, tight, "3 vms are destroyed; apply.max_destroy allows 2")


def test_a_disk_taken_from_a_running_guest():
    made, inventory = second(*BASE, GUESTS[0], GUESTS[1])
    (trash,) = (s for s in made.steps if s.operation is Operation.DISK_TRASH)
    broken = with_step(made, trash.id, needs=())
    assert_caught(broken, inventory, "has let go of the disk")


def test_a_record_dropped_before_its_data():
    made, inventory = second(*BASE, GUESTS[0], GUESTS[1])
    (trash,) = (s for s in made.steps if s.operation is Operation.DISK_TRASH)
    assert_caught(without_step(made, trash.id), inventory, "its disks are left")


def test_an_empty_disk_beside_data_in_the_trash():
    _, inventory = second(*BASE, GUESTS[0], GUESTS[1])
    gone = spec_of(*BASE, GUESTS[0], GUESTS[1], commit="2" * 40)
    inventory = applied_after(planned(gone, inventory), inventory)
    made = planned(spec_of(*BASE, *GUESTS, commit="3" * 40), inventory)
    (restore,) = (s for s in made.steps if s.operation is Operation.DISK_RESTORE)
    inputs = {"pool": "vms", "image": restore.inputs["image"], "size_mib": 64, "parent": None}
    broken = with_step(made, restore.id, operation=Operation.DISK_CREATE, inputs=inputs)
    assert_caught(broken, inventory, "its data lies in the trash")


def test_two_guests_with_one_address():
    made, inventory = founding()
    puts = {s.id: s for s in made.steps if s.operation is Operation.VM_PUT}
    lease = puts["vm.put vm/web1"].record.nics["app"]
    record = puts["vm.put vm/web2"].record
    same_mac = replace(record, nics={"app": replace(record.nics["app"], mac=lease.mac)})
    assert_caught(with_step(made, "vm.put vm/web2", record=same_mac), inventory, "the same MAC")
    same = replace(record, nics={"app": replace(record.nics["app"], address=lease.address)})
    assert_caught(with_step(made, "vm.put vm/web2", record=same), inventory, "the same address")


def test_more_guests_than_a_node_holds():
    made, inventory = founding()
    nodes = {
        name: replace(facts, hardware=replace(facts.hardware, memory_mib=600))
        for name, facts in inventory.nodes.items()
    }
    assert_caught(made, replace(inventory, nodes=nodes), "MiB for them")


@pytest.mark.parametrize("how", ["no place", "the lost node", "overfull"])
def test_a_false_certificate(how):
    made, inventory = founding()
    loss = next(each for each in made.capacity if each.certificate)
    guest = next(iter(loss.certificate))
    certificate = {
        "no place": {},
        "the lost node": {**loss.certificate, guest: loss.node},
        "overfull": dict(loss.certificate),
    }[how]
    broken = replace(loss, verdict=CapacityVerdict.HOLDS, certificate=certificate)
    capacity = tuple(broken if each.node == loss.node else each for each in made.capacity)
    if how == "overfull":
        target = loss.certificate[guest]
        facts = inventory.nodes[target]
        small = replace(facts, hardware=replace(facts.hardware, memory_mib=800))
        inventory = replace(inventory, nodes={**inventory.nodes, target: small})
    assert_caught(replace(made, capacity=capacity), inventory, f"N-1 without {loss.node}")


def test_a_certificate_that_breaks_a_strict_group():
    spec = spec_of(
        *BASE, group(), vm("web1", groups=["web"]), vm("web2", groups=["web"]), commit="1" * 40
    )
    inventory = empty(spec, 0)
    made = planned(spec, inventory)
    owners = {choice.vm: choice.node for choice in made.placement}
    loss = next(each for each in made.capacity if each.node == owners["web1"])
    broken = replace(loss, certificate={"web1": owners["web2"]})
    capacity = tuple(broken if each.node == loss.node else each for each in made.capacity)
    assert_caught(replace(made, capacity=capacity), inventory, "too many on")


def test_a_volume_that_a_guest_uses_taken_away():
    disks = {"data": {"volume": "archive", "bus": "virtio-scsi"}}
    documents = (*BASE, volume(), vm("web1", disks=disks))
    made, inventory = second(*BASE, vm("web1", disks={}), first=documents)
    (trash,) = (s for s in made.steps if s.id == "disk.trash volume/archive")
    alone = replace(made, steps=(replace(trash, needs=()),), changes=())
    assert_caught(alone, inventory, "while vm/web1 uses it")


def test_the_example_verifies():
    spec = example()
    made = planned(spec, empty(spec, 0))
    assert len(made.steps) > len(spec.documents)
