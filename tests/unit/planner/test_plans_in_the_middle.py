"""Plans made while another one is half done: they verify, and nothing else has to wait for them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from clusters import example, network, spec_of

from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.plan import Operation
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.planner.replay import applied_after


def applied(spec):
    inventory = empty(spec, 0)
    made = plan(spec, inventory, POLICY, None)
    return replace(applied_after(made, inventory), target=made.id, accepted=spec.commit)


def without(spec, *addresses):
    left = {of: doc for of, doc in spec.documents.items() if of not in addresses}
    return replace(spec, documents=left)


def half_removed(name):
    """The guest's record says removing; its disks and its placement are there yet."""
    full = example()
    inventory = applied(full)
    going = plan(without(full, f"vm/{name}"), inventory, POLICY, None)
    retired = [step for step in going.steps if step.operation is Operation.VM_RETIRE]
    return full, applied_after(going, inventory, retired)


@pytest.mark.parametrize("name", ["db1", "db2", "mail", "web1", "web2"])
def test_a_guest_declared_again_while_it_is_removed_stays_with_its_owner(name):
    full, inventory = half_removed(name)
    again = plan(full, inventory, POLICY, None)
    assert problems(again, inventory) == ()
    (put,) = [step for step in again.steps if step.operation is Operation.VM_PUT]
    assert put.node == inventory.placements[name].owner


def test_a_guest_declared_again_waits_for_its_silent_owner_and_nothing_else_does():
    full, inventory = half_removed("mail")
    owner = inventory.placements["mail"].owner
    silent = replace(inventory.nodes[owner], state=NodeState.UNKNOWN)
    inventory = replace(inventory, nodes={**inventory.nodes, owner: silent})
    more = spec_of(*full.documents.values(), network("more", 1002), commit="2" * 40)
    again = plan(more, inventory, POLICY, None)
    assert problems(again, inventory) == ()
    assert [item.code for item in again.report if item.address == "vm/mail"] == ["node-not-online"]
    assert "network.put network/more" in {step.id for step in again.steps}
