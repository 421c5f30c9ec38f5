"""`pvc rebalance` in a simulated cluster: real planner, real orders, real agents."""

from __future__ import annotations

import pytest
from simulated import BASE, ON, events, play, starts

from pvc_gitops.cli.rebalance import carry_out
from pvc_gitops.errors import UsageError
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.values import replace
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.sim.desk import ask
from pvc_gitops.spec.load import load

ALL = ("app1", "app2", "db1", "web1", "web2", "web3")


class Desk:
    """The cluster's socket, as a client has it."""

    def __init__(self, one):
        self.one, self.most = one, 0

    def status(self):
        found = ask(self.one.cluster, "status")
        self.most = max(self.most, sum(p.incoming is not None for p in found.guests.values()))
        return found

    def wish(self, kind, subject, *, reason, data):
        return ask(
            self.one.cluster, "intent", kind=kind.value, subject=subject, reason=reason, data=data
        )

    def end_intent(self, name, *, reason):
        return ask(self.one.cluster, "end-intent", id=name, reason=reason)

    def pause(self):
        self.one.play("wait 1\n")


@pytest.fixture
def free():
    """No groups and no wishes: only room counts."""
    return {
        path: data
        for path, data in BASE.items()
        if not path.startswith("vms/") and not path.startswith("groups/")
    } | {
        f"vms/{name}.yaml": (
            f"apiVersion: pvc/v1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n"
            "  cpu: {vcpus: 1}\n  memory: 192MiB\n"
            "  disks: [{name: root, pool: vms, size: 64MiB, image: tiny-guest}]\n"
        ).encode()
        for name in ALL
    }


def found(one, files):
    """What `pvc plan --rebalance` says of the cluster as it is."""
    inventory = ask(one.cluster, "inventory")
    spec = load(files, commit=CommitId(inventory.accepted))
    made = plan(spec, inventory, replace(POLICY, rebalance=True), inventory.target)
    assert problems(made, inventory) == ()
    assert made.steps == ()
    return made.rebalance


def crowded(files):
    """All guests on one node, as after the others were away."""
    one = play(ON + "settle\n", files=files)
    wanted = "".join(
        f"run {name} migrate hv1\n"
        for name, vm in sorted(one.result()["vms"].items())
        if vm["node"] != "hv1"
    )
    one.play(wanted + "settle\n")
    assert {vm["node"] for vm in one.result()["vms"].values()} == {"hv1"}
    return one


def test_a_crowded_node_is_spread_once_and_then_nothing_moves(free):
    one = crowded(free)
    before, lives = found(one, free), starts(one)
    assert before.moves
    desk = Desk(one)
    assert carry_out(before, desk, "rebalance", desk.pause) == 0
    one.play("settle\n")
    assert (one.is_settled, one.result()["violations"]) == (True, [])
    places = {name: vm["node"] for name, vm in one.result()["vms"].items()}
    assert all(places[move.vm] == move.to for move in before.moves)
    assert starts(one) == lives  # moved alive
    assert 1 <= desk.most <= 2  # of moves that leave one node
    after = found(one, free)
    assert after.moves == ()
    assert after.before <= after.threshold
    assert carry_out(after, desk, "rebalance", desk.pause) == 0
    asked = [e for e in ask(one.cluster, "history", limit=500) if "rebalance" in e.text]
    assert len(asked) == len(before.moves)


def test_who_must_stay_together_is_not_torn_apart(free):
    bound = dict(free)
    bound["groups/pair.yaml"] = (
        b"apiVersion: pvc/v1\nkind: PlacementGroup\nmetadata: {name: pair}\n"
        b"spec: {policy: together, strict: true}\n"
    )
    for name in ("app1", "app2"):
        bound[f"vms/{name}.yaml"] += b"  placement: {groups: [pair]}\n"
    one = crowded(bound)
    wanted = found(one, bound)
    assert wanted.moves
    assert not {"app1", "app2"} & {move.vm for move in wanted.moves}
    desk = Desk(one)
    assert carry_out(wanted, desk, "rebalance", desk.pause) == 0
    assert found(one, bound).moves == ()


def test_after_a_move_that_fails_no_other_begins(free):
    one = crowded(free)
    wanted = found(one, free)
    first = wanted.moves[0]
    one.play(f"vm {first.vm} fail-migrate 3\n")
    desk = Desk(one)
    assert carry_out(wanted, desk, "rebalance", desk.pause) == 3
    one.play("settle\n")
    assert (one.is_settled, one.result()["violations"]) == (True, [])
    assert one.result()["vms"][first.vm]["node"] == "hv1"
    assert all(
        vm["state"] == "running" and len(vm["starts"]) == 1 for vm in one.result()["vms"].values()
    )


def test_who_stops_in_the_middle_leaves_what_was_begun_and_goes_on_with_the_rest(free):
    one = crowded(free)
    wanted = found(one, free)

    def leaves():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(wanted, Desk(one), "rebalance", leaves)
    with pytest.raises(UsageError, match="moves it already"):
        carry_out(wanted, Desk(one), "rebalance", leaves)
    one.play("settle\n")
    begun = len(events(one, "guest_ordered"))
    rest = found(one, free)
    assert len(rest.moves) < len(wanted.moves)
    desk = Desk(one)
    assert carry_out(rest, desk, "rebalance", desk.pause) == 0
    one.play("settle\n")
    assert (one.is_settled, one.result()["violations"]) == (True, [])
    assert len(events(one, "guest_ordered")) == begun + len(rest.moves)
    assert found(one, free).moves == ()
