"""Every case of this folder; README.md says how they are written."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pvc_gitops.model.ids import CommitId, PlanId
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.records import Claim
from pvc_gitops.planner import codec
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, exit_code, plan
from pvc_gitops.planner.remaining import amid, remaining_differs
from pvc_gitops.planner.render import text
from pvc_gitops.planner.replay import applied_after
from pvc_gitops.spec.load import load

HERE = Path(__file__).parent
CASES = sorted(path.name for path in HERE.iterdir() if (path / "README.md").exists())


def documents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.yaml")
    }


def commits(case):
    """The specs of a case's commits, in order."""
    files = documents(HERE / "base")
    for folder in sorted(path for path in case.iterdir() if path.is_dir()):
        for path, data in documents(folder).items():
            if data:
                files[path] = data
            else:
                del files[path]
        yield load(files, commit=CommitId(folder.name * 40))


def happen(inventory, spec, line):
    """One line of `world.txt`."""
    match line.split():
        case ["node", name, state]:
            facts = replace(inventory.nodes[name], state=NodeState(state))
            return replace(inventory, nodes={**inventory.nodes, name: facts})
        case ["owner-of", vm, state]:
            return happen(inventory, spec, f"node {inventory.placements[vm].owner} {state}")
        case ["claim", address, operation, whose]:
            claim = Claim(
                address=address,
                plan=inventory.target if whose == "target" else PlanId("0" * 16),
                step=f"{operation} {address}",
                node="hv1",
                incarnation="declared",
            )
            return replace(inventory, claims={address: claim})
        case ["domain", vm, "gone"]:
            owner = inventory.placements[vm].owner
            guests = {k: v for k, v in inventory.nodes[owner].guests.items() if k != vm}
            facts = replace(inventory.nodes[owner], guests=guests)
            return replace(inventory, nodes={**inventory.nodes, owner: facts})
        case ["storage", "unseen"]:
            return replace(inventory, storage=None)
        case ["done", count]:
            first = plan(spec, inventory, POLICY, None)
            done = first.steps[: int(count)]
            return amid(applied_after(first, inventory, done), first)
    raise AssertionError(f"world.txt: {line!r}")


def situation(case):
    """What is planned, and the inventory it is planned for."""
    *applied, last = commits(case)
    inventory = empty(last if not applied else applied[0], 0)
    for spec in applied:
        made = plan(spec, inventory, POLICY, inventory.target)
        assert problems(made, inventory) == ()
        inventory = replace(applied_after(made, inventory), target=made.id, accepted=spec.commit)
    world = case / "world.txt"
    for line in world.read_text().splitlines() if world.exists() else ():
        inventory = happen(inventory, last, line)
    return last, inventory


def seen(made):
    """The text, the steps and the exit code."""
    # The id changes whenever any input does; what it must do is tested elsewhere.
    shown = text(made, elapsed_s=0.21).replace(made.id, "ID")
    steps = [f"{step.id} @ {step.node}" for step in made.steps]
    return "\n".join([shown, "", *steps, f"exit {exit_code(made)}"]) + "\n"


@pytest.mark.parametrize("name", CASES)
def test_golden_plan(name):
    case = HERE / name
    spec, inventory = situation(case)
    made = plan(spec, inventory, POLICY, inventory.target)
    expect = case / "plan.expect"
    if os.environ.get("PVC_BLESS"):
        expect.write_text(seen(made))
    assert expect.exists(), "no plan.expect: look at the plan, then PVC_BLESS=1"
    assert seen(made) == expect.read_text()

    assert problems(made, inventory) == ()
    assert codec.plan_from_bytes(codec.plan_to_bytes(made)) == made
    assert codec.inventory_from_bytes(codec.inventory_to_bytes(inventory)) == inventory
    if inventory.storage is None or inventory.claims:
        return  # what waits is done by a later plan
    after = replace(applied_after(made, inventory), target=made.id)
    then = plan(spec, after, POLICY, made.id)
    assert [step.id for step in then.steps] == []
    assert remaining_differs(then, made, frozenset(step.id for step in made.steps)) is False


def test_the_rest_of_a_plan_is_not_another_plan():
    """At every step boundary the plan of a new leader equals what is left: it publishes nothing."""
    (spec,) = commits(HERE / "a-plan-made-in-the-middle-holds-what-is-left")
    inventory = empty(spec, 0)
    first = plan(spec, inventory, POLICY, None)
    for count in range(len(first.steps) + 1):
        done = first.steps[:count]
        after = amid(applied_after(first, inventory, done), first)
        new = plan(spec, after, POLICY, first.id)
        names = frozenset(step.id for step in done)
        assert remaining_differs(new, first, names) is False, count
        if count:
            assert remaining_differs(new, first, frozenset()) is True
