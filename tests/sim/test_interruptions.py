"""Processes are killed before, between and after their effects; the apply finishes, nothing twice."""

from __future__ import annotations

import pytest
from simulated import BASE, ON, changed, events, play, player, starts, states

from pvc_gitops.errors import StoreConflict
from pvc_gitops.model import paths
from pvc_gitops.world.ports import Put

NEXT = {
    key: value
    for key, value in changed(
        "vms/app1.yaml", "memory: 96MiB", "memory: 128MiB\n  reboot_for_changes: now"
    ).items()
    if key != "vms/app2.yaml"
}


def ceph(one):
    """What the storage holds; trash ids aside."""
    model = one.cluster.ceph
    trash = {pool: tuple(sorted(e.name for e in entries)) for pool, entries in model.trash.items()}
    return model.pools, model.images, trash


def outcome(one):
    bridges = {n: sorted(node.interfaces.bridges) for n, node in one.cluster.nodes.items()}
    return ceph(one), states(one), bridges


@pytest.fixture(scope="module")
def undisturbed():
    return play(ON + "settle\n")


@pytest.fixture(scope="module")
def undisturbed_next():
    return play(ON + "settle\ncommit next\nsettle\n", commits={"next": NEXT})


def arm(script, node, effects):
    """The process must be up before its fuse is lit."""
    return f"{ON}wait 61\nagent {node} kill {effects}\n{script}"


@pytest.mark.parametrize(
    ("node", "effects"),
    [*(("hv1", n) for n in range(0, 40, 3)), *(("hv2", n) for n in (1, 5, 9, 17))],
)
def test_an_agent_killed_anywhere_in_the_apply_after_its_boot(node, effects, undisturbed):
    one = player()
    one.play(arm("wait 30\n", node, effects))
    assert not one.cluster.nodes[node].agent.is_up  # it did die
    one.play(f"agent {node} start\nsettle 900\n")
    assert one.result()["violations"] == []
    assert outcome(one) == outcome(undisturbed)
    assert set(starts(one).values()) == {1}
    done = [event["step"] for event in events(one, "step_done")]
    assert sorted(set(done)) == sorted(done)  # no step ended twice


@pytest.mark.parametrize(
    ("node", "effects"),
    [*(("hv1", n) for n in range(0, 18, 2)), *(("hv2", n) for n in range(1, 14, 3))],
)
def test_an_agent_killed_anywhere_in_a_change(node, effects, undisturbed_next):
    script = f"{ON}settle\ncommit next\nagent {node} kill {effects}\nwait 60\nagent {node} start\n"
    one = play(script + "settle 900\n", commits={"next": NEXT})
    assert outcome(one) == outcome(undisturbed_next)
    assert starts(one) == starts(undisturbed_next)


@pytest.mark.parametrize("effects", range(0, 10, 2))
def test_a_planner_killed_anywhere_while_it_publishes(effects, undisturbed):
    script = f"{ON}wait 60\nplanner hv1 kill {effects}\nwait 30\nplanner hv1 start\nsettle\n"
    one = play(script)
    assert outcome(one) == outcome(undisturbed)
    assert set(starts(one).values()) == {1}


@pytest.mark.parametrize("second", range(62, 78, 3))
def test_a_node_losing_power_anywhere_in_the_apply(second):
    one = play(f"{ON}wait {second}\npower hv2 off\nwait 20\npower hv2 on\nsettle 1800\n")
    assert one.is_settled
    assert set(states(one).values()) == {"running"}
    assert len(states(one)) == 6


@pytest.mark.parametrize("second", range(62, 78, 5))
def test_everything_losing_power_anywhere_in_the_apply(second):
    off = "power hv1 off; power hv2 off; power hv3 off\n"
    one = play(f"{ON}wait {second}\n{off}wait 20\n{ON}settle 1800\n")
    assert one.is_settled
    assert set(states(one).values()) == {"running"}
    assert len(states(one)) == 6


def test_guests_keep_running_through_the_death_of_every_agent():
    killed = "agent hv1 kill; agent hv2 kill; agent hv3 kill\n"
    one = play(f"{ON}settle\n{killed}wait 300\n")
    running = {vm for node in one.cluster.nodes.values() for vm in node.guests.domains}
    assert running == {"app1", "app2", "db1", "web1", "web2", "web3"}
    assert set(starts(one).values()) == {1}


def test_a_deposed_planner_writes_nothing():
    one = play(ON + "settle\n")
    old = one.cluster.leader()
    client = old.clients["planner"]
    lead = client.lead("planner", old.name)
    before = client.read(paths.TARGET)
    one.play("planner hv1 pause\nwait 30\n")
    assert one.cluster.leader().name != old.name
    with pytest.raises(StoreConflict):
        client.commit(
            (*lead.checks, Put(path=paths.TARGET, value=before.value, version=before.version))
        )
    assert client.read(paths.TARGET) == before
    one.play("planner hv1 resume\nwait 30\n")
    assert one.cluster.leader().name != old.name


def test_an_agent_refuses_an_older_generation():
    one = play(ON + "settle\ncommit next\nsettle\n", commits={"next": NEXT})
    node = one.cluster.nodes["hv1"]
    newest = dict(node.notes["target"])
    # A store restored from an old backup shows the first plan as the target again.
    node.notes["target"] = {**newest, "generation": newest["generation"] + 5}
    one.play("agent hv1 restart\nwait 60\n")
    assert events(one, "target_refused")


def test_a_repository_without_changes_makes_no_step_twice():
    one = play(ON + "settle\nwait 900\n", files=BASE)
    assert len(events(one, "plan_published")) == 1
    assert set(starts(one).values()) == {1}
