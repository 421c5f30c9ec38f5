"""MACs and addresses that belong to another guest now: said of the one that wants them, and nobody else
has to wait."""

from __future__ import annotations

from dataclasses import replace

import pytest
from clusters import BASE, network, spec_of, vm

from pvc_gitops.planner.check import problems
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.planner.remaining import amid
from pvc_gitops.planner.replay import applied_after

MAC = "52:54:00:00:00:01"


def nics(**more):
    return {"app": {"network": "app", "mac": "auto", "model": "virtio"} | more}


def spec(*guests, commit="1"):
    return spec_of(*BASE, *guests, commit=commit * 40)


def applied(of):
    inventory = empty(of, 0)
    made = plan(of, inventory, POLICY, None)
    return replace(applied_after(made, inventory), target=made.id, accepted=of.commit)


def planned(of, inventory):
    made = plan(of, inventory, POLICY, None)
    assert problems(made, inventory) == ()
    said = {(item.address, item.code) for item in made.report}
    return made, said, {step.id for step in made.steps}


@pytest.mark.parametrize("field", ["mac", "address"])
def test_what_was_given_to_one_guest_is_blocked_for_another(field):
    inventory = applied(spec(vm("mail")))
    taken = getattr(inventory.applied["vm/mail"].nics["app"], field)
    wish = spec_of(
        *BASE,
        network("more", 1002),
        vm("mail"),
        vm("zoe", nics=nics(**{field: taken})),
        commit="2" * 40,
    )
    _, said, steps = planned(wish, inventory)
    assert ("vm/zoe", "address-taken") in said
    assert "network.put network/more" in steps
    assert "vm.put vm/zoe" not in steps


def test_an_address_that_moves_between_guests_is_blocked_while_the_first_has_it():
    before = spec(vm("a", nics=nics(address="10.0.0.50")), vm("b"))
    after = spec(vm("a"), vm("b", nics=nics(address="10.0.0.50")), commit="2")
    _, said, _ = planned(after, applied(before))
    assert ("vm/b", "address-taken") in said


def test_what_the_plan_in_force_is_about_to_give_is_taken():
    first = spec(vm("mail"))
    inventory = empty(first, 0)
    target = plan(first, inventory, POLICY, None)
    under_way = amid(replace(inventory, accepted=first.commit), target)
    taken = under_way.leases["mail"]["app"].address
    wish = spec(vm("mail"), vm("zoe", nics=nics(address=taken)), commit="2")
    _, said, steps = planned(wish, under_way)
    assert ("vm/zoe", "address-taken") in said
    assert "vm.put vm/mail" in steps


def test_the_address_of_one_that_goes_is_free_when_it_is_gone():
    inventory = applied(spec(vm("old", nics=nics(address="10.0.0.50"))))
    wish = spec(vm("new", memory="256MiB", nics=nics(address="10.0.0.50")), commit="2")
    made, said, steps = planned(wish, inventory)
    assert ("vm/new", "address-held") in said
    assert "vm.retire vm/old" in steps
    _, _, steps = planned(wish, applied_after(made, inventory))
    assert "vm.put vm/new" in steps


def test_a_guest_under_another_name_does_not_lose_its_disks_by_the_way():
    inventory = applied(spec(vm("mail", nics=nics(mac=MAC))))
    made, said, _ = planned(spec(vm("post", nics=nics(mac=MAC)), commit="2"), inventory)
    assert made.steps == ()
    assert ("vm/mail", "renamed") in said
    assert {code for of, code in said if of == "vm/post"} == {"renamed"}
