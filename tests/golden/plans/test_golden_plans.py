"""Every case of this folder; README.md says how they are written."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from pvc_gitops.model.ids import CommitId, PlanId
from pvc_gitops.model.intents import Intent, IntentKind
from pvc_gitops.model.inventory import (
    Deviation,
    Hardware,
    ImageFacts,
    NodeState,
    UnmanagedDisk,
    UnmanagedGuest,
    UnmanagedNetwork,
    UnmanagedNic,
)
from pvc_gitops.model.records import Claim, GuestPhase
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


def happen(inventory, spec, line):  # noqa: C901, PLR0911, PLR0912  one case a verb
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
        case ["load", name, load]:
            facts = replace(inventory.nodes[name], load=float(load))
            return replace(inventory, nodes={**inventory.nodes, name: facts})
        case ["storage", "unseen"]:
            return replace(inventory, storage=None)
        case ["now", time]:
            now_s = int(datetime.fromisoformat(time).timestamp())
            return replace(inventory, now_s=now_s)
        case ["intent", kind, subject, by, *data]:
            intent = Intent(
                id=f"{kind}-1",
                kind=IntentKind(kind),
                subject=subject,
                by=by,
                reason="disk check",
                made_at_s=inventory.now_s - 60,
                expires_at_s=inventory.now_s + 3600,
                data=dict(pair.split("=") for pair in data),
            )
            return replace(inventory, intents={intent.id: intent})
        case ["owner-is", vm, node]:
            return moved(inventory, vm, node)
        case ["started", vm]:
            return started(inventory, vm)
        case ["placement", vm, state, *why]:
            placement = replace(
                inventory.placements[vm], state=GuestPhase(state), why=" ".join(why)
            )
            return replace(inventory, placements={**inventory.placements, vm: placement})
        case ["drift", of, *words, live, applied]:
            return drifted(inventory, of, words, live, applied)
        case ["hardware", node, cpus, memory_mib]:
            hardware = Hardware(cpus=int(cpus), memory_mib=int(memory_mib))
            facts = replace(inventory.nodes[node], hardware=hardware)
            return replace(inventory, nodes={**inventory.nodes, node: facts})
        case ["spent", what, word, count]:
            spent = replace(inventory.spent, **{what: {word: int(count)}})
            return replace(inventory, spent=spent)
        case ["formation", number]:
            return replace(inventory, formation=int(number))
        case ["image", key, size_mib]:
            return with_image(inventory, key, int(size_mib))
        case ["unmanaged", node, name, mac, key, size_mib]:
            return foreign(with_image(inventory, key, int(size_mib)), node, name, mac, key)
        case ["bridge", node, name, vni, mtu, gateway, *hindrance]:
            bridge = UnmanagedNetwork(
                bridge=name,
                vni=int(vni),
                mtu_bytes=int(mtu),
                gateway=gateway,
                hindrance=" ".join(hindrance),
            )
            facts = inventory.nodes[node]
            facts = replace(facts, bridges=(*facts.bridges, bridge))
            return replace(inventory, nodes={**inventory.nodes, node: facts})
        case ["done", count]:
            first = plan(spec, inventory, POLICY, None)
            done = first.steps[: int(count)]
            return amid(applied_after(first, inventory, done), first)
    raise AssertionError(f"world.txt: {line!r}")


def with_image(inventory, key, size_mib):
    image = ImageFacts(size_mib=size_mib, parent=None, snapshots=())
    storage = replace(inventory.storage, images={**inventory.storage.images, key: image})
    return replace(inventory, storage=storage)


def foreign(inventory, node, name, mac, key):
    """A domain that somebody defined by hand."""
    pool, _, image = key.partition("/")
    guest = UnmanagedGuest(
        name=name,
        uuid="0c6f1a52-2f0e-4f1c-9a53-0e6a6b1f0c11",
        vcpus=1,
        memory_mib=96,
        disks=(UnmanagedDisk(name="vda", pool=pool, image=image, bus="virtio-blk"),),
        nics=(UnmanagedNic(mac=mac, bridge="br1000", model="virtio"),),
        hindrance="",
    )
    facts = replace(inventory.nodes[node], unmanaged=(guest,))
    return replace(inventory, nodes={**inventory.nodes, node: facts})


def with_guest(inventory, vm, change):
    owner = inventory.placements[vm].owner
    node = inventory.nodes[owner]
    node = replace(node, guests={**node.guests, vm: change(node.guests[vm])})
    return replace(inventory, nodes={**inventory.nodes, owner: node})


def started(inventory, vm):
    """Somebody, or something, has stopped and started it by now."""
    placement = inventory.placements[vm]
    starts, digest = placement.starts + 1, inventory.applied[f"vm/{vm}"].digest
    placement = replace(placement, starts=starts, since_s=inventory.now_s)
    inventory = replace(inventory, placements={**inventory.placements, vm: placement})
    return with_guest(
        inventory, vm, lambda f: replace(f, starts=starts, digest=digest, deviations=(), bears="")
    )


def moved(inventory, vm, node):
    """Autonomy has put it elsewhere."""
    old = inventory.placements[vm].owner
    facts = inventory.nodes[old].guests[vm]
    nodes = dict(inventory.nodes)
    nodes[old] = replace(nodes[old], guests={k: v for k, v in nodes[old].guests.items() if k != vm})
    nodes[node] = replace(nodes[node], guests={**nodes[node].guests, vm: facts})
    placement = replace(inventory.placements[vm], owner=node)
    return replace(inventory, nodes=nodes, placements={**inventory.placements, vm: placement})


def drifted(inventory, of, words, live, applied):
    """Somebody's doing: to a guest, to a network on a node, in Ceph."""
    kind, _, name = of.partition("/")
    if kind == "pool":
        pools = dict(inventory.storage.pools)
        pools[name] = replace(pools[name], **{words[0]: int(live)})
        return replace(inventory, storage=replace(inventory.storage, pools=pools))
    if kind in ("image", "disk"):
        (key,) = [k for k in inventory.storage.images if k.split("/")[1].startswith(name)]
        images = dict(inventory.storage.images)
        if live == "gone":
            del images[key]
        else:
            images[key] = replace(images[key], size_mib=int(live))
        return replace(inventory, storage=replace(inventory.storage, images=images))
    needs_restart = words[-1] == "restart"
    part = " ".join(words[:-1] if needs_restart else words)
    found = Deviation(
        part=part, live=live, applied=applied, needs_restart=needs_restart, is_drift=True
    )
    if kind == "vm":
        return with_guest(inventory, name, lambda f: replace(f, deviations=(*f.deviations, found)))
    node, _, part = part.partition(" ")
    facts = inventory.nodes[node]
    net = replace(facts.networks[name], deviations=(replace(found, part=part),))
    facts = replace(facts, networks={**facts.networks, name: net})
    return replace(inventory, nodes={**inventory.nodes, node: facts})


def situation(case):
    """What is planned, and the inventory it is planned for."""
    *applied, last = commits(case)
    world = case / "world.txt"
    lines = world.read_text().splitlines() if world.exists() else []
    began = (
        datetime.fromisoformat(lines.pop(0).split()[1]) if "began " in "".join(lines[:1]) else None
    )
    now_s = 0 if began is None else int(began.timestamp())
    inventory = empty(last if not applied else applied[0], now_s)
    for spec in applied:
        made = plan(spec, inventory, POLICY, inventory.target)
        assert problems(made, inventory) == ()
        inventory = replace(applied_after(made, inventory), target=made.id, accepted=spec.commit)
    for line in lines:
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
