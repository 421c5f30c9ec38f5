"""A preview at every moment of a cluster's beginning, and of a change, is what is then done; and where
something else is done, it is told."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from simulated import BASE, changed, player

from pvc_gitops.controllers.answers import Event, Poke, Value
from pvc_gitops.controllers.serve import answer
from pvc_gitops.errors import UsageError
from pvc_gitops.planner.departures import departures
from pvc_gitops.planner.planner import plan
from pvc_gitops.sim import desk
from pvc_gitops.spec.load import load
from pvc_gitops.world.protocol import Question

FOLLOW_S = 400.0
MORE = changed("vms/db1.yaml", "memory: 96MiB", "memory: 128MiB\n  reboot_for_changes: now")
MORE = {name: data for name, data in MORE.items() if name != "vms/app2.yaml"}
MORE["vms/web4.yaml"] = BASE["vms/web1.yaml"].replace(b"web1", b"web4")


@dataclass
class Preview:
    """What a person saw, and from what."""

    plan: object
    inventory: object


def ask(cluster, op, **args):
    """As soon as a coordinator answers: after a power cut ZooKeeper elects a leader first."""
    for _ in range(60):
        try:
            return desk.ask(cluster, op, **args)
        except UsageError as error:
            if "no coordinator answers" not in error.message:
                raise
            run(cluster, 0.5)
    raise AssertionError("no coordinator answers")


def preview(cluster, files, commit):
    found = ask(cluster, "export")
    made = plan(load(files, commit=commit), found.inventory, found.policy, found.parent)
    return Preview(made, found.inventory)


def run(cluster, seconds):
    cluster.kernel.run_until(cluster.kernel.now_s + seconds)


def followed(cluster, commit):
    """The outcome, and the plans that were told on the way."""
    ask(cluster, "hello")
    node = next(n for n in cluster.nodes.values() if n.agent.is_up)
    question = Question(id=1, op="follow", args={"commit": commit, "timeout_s": FOLLOW_S})
    plans = []
    for said in answer(question, cluster.world_of(node, node.agent), lambda: node.agent.memory):
        match said:
            case Event():
                plans.append(said.event["plan"])
            case Value():
                plans.append(said.value["plan"])
                return said.value["outcome"], list(dict.fromkeys(plans))
            case Poke():
                raise AssertionError("following pokes nobody")
            case None:
                run(cluster, 0.1)
    raise AssertionError("no end")


def applied(cluster, shown, commit):
    """What `pvc apply` does after its preview; what it then says of differences."""
    ask(cluster, "look-at-git")
    outcome, plans = followed(cluster, commit)
    assert outcome == "applied"
    done = [ask(cluster, "plan", id=each) for each in plans if each is not None]
    return departures(shown.plan, shown.inventory, done, ask(cluster, "inventory"))


def begun(late_s=0.0):
    cluster = player().cluster
    for name in ("hv1", "hv2"):
        cluster.power(name, on=True)
    run(cluster, late_s)
    cluster.power("hv3", on=True)
    return cluster


def founded(cluster):
    try:
        desk.ask(cluster, "status")
    except UsageError:
        return False
    return True


@pytest.mark.parametrize("late_s", [0.0, 7.0])
@pytest.mark.parametrize("after_s", [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 9.0, 11.0, 14.0, 20.0])
def test_whenever_a_first_apply_begins_what_it_shows_is_what_is_done(after_s, late_s):
    cluster = begun(late_s)
    while not founded(cluster):
        run(cluster, 0.25)
    run(cluster, after_s)
    commit = cluster.origin.tip
    shown = preview(cluster, BASE, commit)
    assert applied(cluster, shown, commit) == ()
    assert preview(cluster, BASE, commit).plan.is_empty


def test_a_preview_waits_for_nodes_that_are_about_to_be_seen():
    """All of them are unknown to an agent that has just begun: it does not say so."""
    cluster = begun()
    while not founded(cluster):
        run(cluster, 0.25)
    shown = preview(cluster, BASE, cluster.origin.tip)
    assert {str(facts.state) for facts in shown.inventory.nodes.values()} == {"online"}
    cluster.nodes["hv1"].agent.die()
    cluster.nodes["hv1"].agent.start()
    again = preview(cluster, BASE, cluster.origin.tip)
    assert {str(facts.state) for facts in again.inventory.nodes.values()} == {"online"}


@pytest.mark.parametrize("wait_s", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0])
def test_a_preview_of_what_is_under_way_shows_the_rest_of_it(wait_s):
    one = player()
    one.play("power hv1 on; power hv2 on; power hv3 on\nsettle\n")
    cluster = one.cluster
    commit = cluster.origin.push(MORE, "more")
    ask(cluster, "look-at-git")
    run(cluster, wait_s)
    shown = preview(cluster, MORE, commit)
    assert applied(cluster, shown, commit) == ()


def test_what_was_shown_and_not_done_is_told_with_its_reason():
    one = player()
    one.play("power hv1 on; power hv2 on; power hv3 on\nsettle\n")
    cluster = one.cluster
    owner = str(cluster.placements()["db1"].owner)
    files = changed("vms/db1.yaml", "memory: 96MiB", "memory: 128MiB\n  reboot_for_changes: now")
    shown = preview(cluster, files, None)
    cluster.power(owner, on=False)
    run(cluster, 9.0)  # silent, and not recovered yet
    commit = cluster.origin.push(files, "more")
    told = applied(cluster, shown, commit)
    assert [line.partition(":")[0] for line in told] == ["vm/db1"]
    assert "shown as update, and not done" in told[0]


def test_what_was_done_and_not_shown_is_told():
    one = player()
    one.play("power hv1 on; power hv2 on; power hv3 on\nsettle\n")
    cluster = one.cluster
    less = {name: data for name, data in BASE.items() if name != "vms/app2.yaml"}
    shown = preview(cluster, less, None)  # and then somebody pushed more than that
    told = applied(cluster, shown, cluster.origin.push(MORE, "more"))
    assert [line.partition(":")[0] for line in told] == ["vm/db1", "vm/web4"]
    assert told[1] == "vm/web4: create, which was not shown"


def test_what_waits_for_a_node_that_fell_away_halfway_is_no_silent_success():
    """The node that a new guest begins on loses its power: the next plan waits for it."""
    one = player()
    one.play("power hv1 on; power hv2 on; power hv3 on\nsettle\n")
    cluster = one.cluster
    files = {**BASE, "vms/web4.yaml": BASE["vms/web1.yaml"].replace(b"web1", b"web4")}
    commit = cluster.origin.push(files, "web4")
    ask(cluster, "look-at-git")
    while "web4" not in cluster.placements():
        run(cluster, 0.1)
    victim = str(cluster.placements()["web4"].owner)
    cluster.power(victim, on=False)
    outcome, plans = followed(cluster, commit)
    last = ask(cluster, "plan", id=plans[-1])
    assert outcome == "applied"
    assert last.summary.waiting  # said by `pvc apply` after "git = cluster"
    assert f"changes when {victim} is back" in [item.text for item in last.report]
