"""The verifier against plans that move, adopt, purge, restore or destroy what nobody said: each mutation
is caught, by its words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from clusters import BASE, cluster, network, spec_of, vm, volume

from pvc_gitops.model.document import Place
from pvc_gitops.model.inventory import (
    ImageFacts,
    Spent,
    TrashFacts,
    UnmanagedDisk,
    UnmanagedGuest,
    UnmanagedNetwork,
    UnmanagedNic,
)
from pvc_gitops.model.plan import Operation
from pvc_gitops.model.records import DiskRef
from pvc_gitops.model.transitions import Transition, Transitions, Word
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.planner.replay import applied_after

DAY = 24 * 3600
MAC = "52:54:00:aa:bb:cc"
GUESTS = (vm("web1"), vm("web2"), vm("mail", "112MiB"))


def said(spec, *entries):
    """The same commit with words."""
    items = tuple(
        Transition(
            word=Word(word), address=of, source=source, place=Place(file="t", line=1, column=1)
        )
        for word, of, source in entries
    )
    return replace(spec, transitions=Transitions(items))


def applied(*documents):
    spec = spec_of(*documents, commit="1" * 40)
    before = empty(spec, 0)
    after = applied_after(plan(spec, before, POLICY, None), before)
    return replace(after, accepted=spec.commit)


def planned(spec, inventory):
    made = plan(spec, inventory, POLICY, inventory.target)
    assert problems(made, inventory) == ()
    return made


def changed(made, step_id, **changes):
    steps = tuple(replace(s, **changes) if s.id == step_id else s for s in made.steps)
    assert steps != made.steps
    return replace(made, steps=steps)


def unsaid(made):
    """Nobody writes down that a word was kept: nobody said it."""
    steps = tuple(s for s in made.steps if s.address != "transitions/transitions")
    assert steps != made.steps
    return replace(made, steps=steps)


def step_of(made, operation):
    (step,) = (s for s in made.steps if s.operation is operation)
    return step


def caught(made, inventory, words):
    found = problems(made, inventory)
    assert any(words in problem for problem in found), found


# --- moves ------------------------------------------------------------------------------------------


@pytest.fixture
def move():
    inventory = applied(*BASE, *GUESTS)
    spec = spec_of(*BASE, vm("web1"), vm("web2"), vm("post", "112MiB"), commit="2" * 40)
    return planned(said(spec, ("moved", "vm/post", "vm/mail")), inventory), inventory


def test_a_move_without_a_source(move):
    made, inventory = move
    step = step_of(made, Operation.RECORD_MOVE)
    inputs = {"from": "vm/nobody"}
    caught(changed(made, step.id, inputs=inputs), inventory, "vm/nobody, which does not exist")


def test_a_move_that_nobody_said(move):
    made, inventory = move
    caught(unsaid(made), inventory, "moves vm/mail, and nobody said so")


@pytest.mark.parametrize(
    "change",
    [
        {"uuid": "0c6f1a52-2f0e-4f1c-9a53-0e6a6b1f0c11"},
        {"incarnation": 2},
        {"nics": {}},
        {"disks": {"root": DiskRef(pool="vms", image="vm.web1.root.x", size_mib=64)}},
    ],
)
def test_a_move_that_changes_what_it_moves(move, change):
    made, inventory = move
    step = step_of(made, Operation.RECORD_MOVE)
    record = replace(step.record, **change)
    caught(changed(made, step.id, record=record), inventory, "while it moves it")


def test_a_move_on_another_node_than_its_guests(move):
    made, inventory = move
    step = step_of(made, Operation.RECORD_MOVE)
    other = next(node for node in inventory.nodes if node != step.node)
    caught(changed(made, step.id, node=other), inventory, "owns it")


def test_a_move_that_forgets_where_it_came_from(move):
    made, inventory = move
    step = step_of(made, Operation.RECORD_MOVE)
    record = replace(step.record, names=())
    caught(changed(made, step.id, record=record), inventory, "forgets that vm/post was vm/mail")


def test_a_move_that_does_not_check_its_source(move):
    made, inventory = move
    step = step_of(made, Operation.RECORD_MOVE)
    pre = {of: digest for of, digest in step.pre.items() if of != "vm/mail"}
    caught(changed(made, step.id, pre=pre), inventory, "which record of vm/mail it moves")


def test_a_change_that_does_not_wait_for_the_move():
    inventory = applied(*BASE, *GUESTS)
    spec = spec_of(*BASE, vm("web1"), vm("web2"), vm("post", "128MiB"), commit="2" * 40)
    made = planned(said(spec, ("moved", "vm/post", "vm/mail")), inventory)
    caught(changed(made, "vm.put vm/post", needs=()), inventory, "side by side")


def test_a_guest_that_is_started_under_both_names(move):
    made, inventory = move
    step = step_of(made, Operation.RECORD_MOVE)
    put = replace(
        step,
        id="vm.put vm/mail",
        operation=Operation.VM_PUT,
        address="vm/mail",
        pre={"vm/mail": ""},
        record=inventory.applied["vm/mail"],
        inputs={"is_deferred": False},
        needs=(step.id,),
    )
    caught(replace(made, steps=(*made.steps, put)), inventory, "have the same uuid")


# --- adoption and forgetting ------------------------------------------------------------------------


@pytest.fixture
def adoption():
    inventory = applied(*BASE, *GUESTS)
    image = ImageFacts(size_mib=64, parent=None, snapshots=())
    images = {**inventory.storage.images, "vms/legacy-root": image}
    guest = UnmanagedGuest(
        name="legacy",
        uuid="0c6f1a52-2f0e-4f1c-9a53-0e6a6b1f0c11",
        vcpus=1,
        memory_mib=96,
        disks=(UnmanagedDisk(name="vda", pool="vms", image="legacy-root", bus="virtio-blk"),),
        nics=(UnmanagedNic(mac=MAC, bridge="br1000", model="virtio"),),
        hindrance="",
    )
    facts = replace(inventory.nodes["hv2"], unmanaged=(guest,))
    inventory = replace(
        inventory,
        storage=replace(inventory.storage, images=images),
        nodes={**inventory.nodes, "hv2": facts},
    )
    disks = {"vda": {"pool": "vms", "size": "64MiB", "bus": "virtio-blk"}}
    nics = {"app": {"network": "app", "mac": MAC, "model": "virtio"}}
    legacy = vm("legacy", disks=disks, nics=nics)
    spec = said(spec_of(*BASE, *GUESTS, legacy, commit="2" * 40), ("adopted", "vm/legacy", None))
    return planned(spec, inventory), inventory


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"uuid": "1c6f1a52-2f0e-4f1c-9a53-0e6a6b1f0c11"}, "another uuid"),
        ({"disks": {}}, "other disks than it has"),
        ({"nics": {}}, "other MACs than it has"),
    ],
)
def test_an_adoption_of_something_else_than_what_runs(adoption, change, words):
    made, inventory = adoption
    step = step_of(made, Operation.VM_ADOPT)
    record = replace(step.record, **change)
    caught(changed(made, step.id, record=record), inventory, words)


def test_an_adoption_where_it_does_not_run(adoption):
    made, inventory = adoption
    step = step_of(made, Operation.VM_ADOPT)
    caught(changed(made, step.id, node="hv1"), inventory, "does not run on hv1")


def test_a_bridge_that_is_taken_over_although_nobody_said_so():
    inventory = applied(*BASE)
    bridge = UnmanagedNetwork(
        bridge="br4242", vni=4242, mtu_bytes=1450, gateway="10.242.0.1/24", hindrance=""
    )
    facts = replace(inventory.nodes["hv2"], bridges=(bridge,))
    inventory = replace(inventory, nodes={**inventory.nodes, "hv2": facts})
    legacy = network("legacy", 4242)
    spec = spec_of(*BASE, legacy, commit="2" * 40)
    made = planned(said(spec, ("adopted", "network/legacy", "bridge/br4242")), inventory)
    caught(unsaid(made), inventory, "takes over br4242 on hv2, and nobody said so")


def test_an_adoption_that_nobody_said(adoption):
    made, inventory = adoption
    caught(unsaid(made), inventory, "adopts legacy, and nobody said so")


def test_a_guest_that_is_forgotten_and_nobody_said_so():
    inventory = applied(*BASE, *GUESTS)
    spec = said(
        spec_of(*BASE, vm("web1"), vm("web2"), commit="2" * 40), ("forgotten", "vm/mail", None)
    )
    made = planned(spec, inventory)
    caught(unsaid(made), inventory, "forgets vm/mail, and nobody said so")


# --- the trash --------------------------------------------------------------------------------------


@pytest.fixture
def purge():
    """A guest was removed eight days ago."""
    inventory = applied(*BASE, *GUESTS)
    spec = spec_of(*BASE, vm("web1"), vm("web2"), commit="2" * 40)
    inventory = applied_after(planned(spec, inventory), inventory)
    inventory = replace(inventory, now_s=8 * DAY)
    return planned(spec, inventory), inventory


def test_a_purge_before_its_time(purge):
    made, inventory = purge
    early = replace(inventory, now_s=7 * DAY - 60)
    caught(made, early, "60 s too early")


def test_a_purge_of_what_is_not_there(purge):
    made, inventory = purge
    step = step_of(made, Operation.DISK_PURGE)
    inputs = {**step.inputs, "trash_id": "ffff"}
    caught(changed(made, step.id, inputs=inputs), inventory, "not in the trash of vms")


def test_a_purge_of_data_that_a_record_names(purge):
    made, inventory = purge
    ref = inventory.applied["vm/web1"].disks["root"]
    entry = TrashFacts(id="ff", name=ref.image, until_s=0)
    trash = {"vms": (*inventory.storage.trash["vms"], entry)}
    inventory = replace(inventory, storage=replace(inventory.storage, trash=trash))
    step = step_of(made, Operation.DISK_PURGE)
    inputs = {**step.inputs, "trash_id": "ff"}
    caught(changed(made, step.id, inputs=inputs), inventory, "which vm/web1 names")


def test_an_identity_that_is_forgotten_before_its_data_is_purged(purge):
    made, inventory = purge
    step = step_of(made, Operation.DISK_PURGE)
    steps = tuple(replace(s, needs=()) for s in made.steps if s.id != step.id)
    caught(replace(made, steps=steps), inventory, "whose data lies in the trash")


def test_a_removal_that_forgets_what_it_is_to_come_back_as():
    inventory = applied(*BASE, *GUESTS)
    made = planned(spec_of(*BASE, vm("web1"), vm("web2"), commit="2" * 40), inventory)
    step = step_of(made, Operation.RECORD_KEEP)
    drop = {"operation": Operation.RECORD_DROP, "record": None}
    caught(changed(made, step.id, **drop), inventory, "is to come back as")


def test_a_restore_of_what_is_not_in_the_trash():
    inventory = applied(*BASE, *GUESTS)
    gone = spec_of(*BASE, vm("web1"), vm("web2"), commit="2" * 40)
    inventory = applied_after(planned(gone, inventory), inventory)
    made = planned(spec_of(*BASE, *GUESTS, commit="3" * 40), inventory)
    step = step_of(made, Operation.DISK_RESTORE)
    inputs = {**step.inputs, "trash_id": "ffff"}
    caught(changed(made, step.id, inputs=inputs), inventory, "which is not in the trash")


def test_two_objects_with_the_same_data():
    inventory = applied(*BASE, *GUESTS)
    made = planned(spec_of(*BASE, *GUESTS, volume(), commit="2" * 40), inventory)
    step = step_of(made, Operation.DISK_CREATE)
    ref = inventory.applied["vm/web1"].disks["root"]
    record = replace(step.record, disks={"data": ref})
    caught(changed(made, step.id, record=record), inventory, "have the same data")


# --- budgets ----------------------------------------------------------------------------------------


def test_more_deletions_than_the_day_allows():
    inventory = applied(*BASE, *GUESTS)
    made = planned(spec_of(*BASE, vm("web1"), vm("web2"), commit="2" * 40), inventory)
    spent = replace(inventory, spent=Spent(destroyed={"vms": 3}))
    caught(made, spent, "1 vms are destroyed after 3 today; apply.max_destroy allows 3")


def test_more_deletions_than_the_budget_without_a_word():
    tight = (cluster(max_destroy={"vms": 0}), *BASE[1:])
    inventory = applied(*tight, *GUESTS)
    spec = spec_of(*tight, vm("web1"), vm("web2"), commit="2" * 40)
    made = planned(said(spec, ("removed", "vm/mail", None)), inventory)
    caught(unsaid(made), inventory, "1 vms are destroyed; apply.max_destroy allows 0")


def test_more_restarts_than_the_day_allows():
    inventory = applied(*BASE, *GUESTS)
    bigger = vm("mail", "128MiB", reboot_for_changes="now")
    made = planned(spec_of(*BASE, vm("web1"), vm("web2"), bigger, commit="2" * 40), inventory)
    spent = replace(inventory, spent=Spent(disrupted={"reboots": 5}))
    caught(made, spent, "1 guests are restarted after 5 today; apply.max_disrupt allows 5")
