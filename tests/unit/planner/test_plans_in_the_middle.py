"""Plans made while another one is half done: they verify, and nothing else has to wait for them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from clusters import BASE, cluster, example, network, pool, spec_of, volume

from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.plan import Operation
from pvc_gitops.model.records import Claim
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


def half_way(full, inventory, address, *operations):
    """The object's removal got this far, and was then reverted."""
    going = plan(without(full, address), inventory, POLICY, None)
    done = [s for s in going.steps if s.operation in operations and s.address.startswith(address)]
    assert done
    return applied_after(going, inventory, done)


def operations(made):
    return [(str(step.operation), step.address) for step in made.steps]


def planned(full, inventory):
    made = plan(full, inventory, POLICY, None)
    assert problems(made, inventory) == ()
    after = applied_after(made, inventory)
    assert plan(full, after, POLICY, made.id).steps == ()
    return made


def test_a_volume_whose_removal_is_reverted_half_way_comes_back_out_of_the_trash():
    full = spec_of(*BASE, volume(), commit="1" * 40)
    inventory = half_way(full, applied(full), "volume/archive", Operation.DISK_TRASH)
    assert operations(planned(full, inventory)) == [("disk.restore", "volume/archive")]


def test_an_image_whose_removal_is_reverted_half_way_is_imported_again():
    full = spec_of(*BASE, commit="1" * 40)
    inventory = half_way(full, applied(full), "image/tiny", Operation.IMAGE_DELETE)
    assert operations(planned(full, inventory)) == [("image.import", "image/tiny")]


def test_a_pool_whose_removal_is_reverted_half_way_is_made_again():
    loose = pool("slow", protect=False)
    full = spec_of(*BASE[1:], cluster(max_destroy={"pools": 1}), loose, commit="1" * 40)
    inventory = half_way(full, applied(full), "pool/slow", Operation.POOL_DELETE)
    assert operations(planned(full, inventory)) == [("pool.create", "pool/slow")]


def with_disk_in_trash(full, name):
    """The record says present, the disk lies in the trash."""
    before = applied(full)
    storage = half_way(full, before, f"vm/{name}", Operation.DISK_TRASH).storage
    return replace(before, storage=storage)


def test_a_guest_whose_disk_lies_in_the_trash_gets_it_back():
    full = example()
    made = planned(full, with_disk_in_trash(full, "mail"))
    assert operations(made) == [("disk.restore", "vm/mail/disk/root"), ("vm.put", "vm/mail")]


@pytest.mark.parametrize("name", ["vm/mail", "volume/archive"])
def test_data_that_is_nowhere_is_said_and_never_made_empty(name):
    full = spec_of(*example().documents.values(), volume(), commit="1" * 40)
    inventory = applied(full)
    prefix = name.replace("/", ".")
    left = {k: v for k, v in inventory.storage.images.items() if f"/{prefix}." not in k}
    assert left != inventory.storage.images
    inventory = replace(inventory, storage=replace(inventory.storage, images=left))
    made = plan(full, inventory, POLICY, None)
    assert made.steps == ()
    assert ("data-lost", name) in {(item.code, item.address) for item in made.report}


def test_what_is_declared_again_waits_for_the_step_that_takes_it_away():
    full, inventory = half_removed("mail")
    claim = Claim(
        address="vm/mail/disk/root",
        plan=inventory.target,
        step="disk.trash vm/mail/disk/root 0a1b2c3d",
        node="hv1",
        incarnation="x",
    )
    inventory = replace(inventory, claims={claim.address: claim})
    made = plan(full, inventory, POLICY, None)
    assert made.steps == ()
    assert [item.code for item in made.report if item.address == "vm/mail"] == ["claimed"]
