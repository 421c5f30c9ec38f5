"""Candidates find out by day what would go wrong at night, and status says it."""

from simulated import BASE, ON, events

from pvc_gitops.cli.show import health
from pvc_gitops.controllers.status import status
from pvc_gitops.model import paths
from pvc_gitops.model.ha import Fence
from pvc_gitops.model.readiness import Grade, Readiness
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.play import Player


def played(script):
    one = Player(SimCluster(BASE), read_folder=lambda _: {})
    one.play(script)
    assert one.result()["violations"] == []
    return one


def shown(one):
    node = one.cluster.nodes["hv1"]
    return status(one.cluster.world_of(node, node.agent), node.agent.memory.watch, None)


def rows(one):
    return {row.node: row for row in shown(one).fencing}


def test_a_healthy_cluster_is_ready_and_every_candidate_has_tried_every_node():
    one = played(ON + "settle\nwait 60\n")
    for name in ("hv1", "hv2", "hv3"):
        record = one.cluster.get(paths.ready(name), Readiness)
        assert set(record.trials) == {"hv1", "hv2", "hv3"}
        assert record.blocklist_at_s is not None
    assert {row.grade for row in rows(one).values()} == {Grade.READY}
    assert "192.0.2.1:0/1" not in one.cluster.ceph.blocklist
    assert not [each for each in shown(one).waiting if each[0] == "fencing"]


def test_a_dead_bmc_is_found_before_it_is_needed_and_found_well_again():
    one = played(ON + "settle\nwait 60\nbmc hv3 off\nwait 360\n")
    row = rows(one)["hv3"]
    assert row.grade is Grade.PARTLY
    assert "does not answer" in row.troubles[0]
    (alarm,) = [each for each in shown(one).waiting if each[0] == "fencing"]
    assert alarm[1].startswith("hv3: ")
    one.play("bmc hv3 on\nwait 90\n")
    assert rows(one)["hv3"].grade is Grade.READY
    told = [event["trouble"] for event in events(one, "fence_readiness") if event["of"] == "hv3"]
    assert told[-1] == "none"


def test_a_bmc_of_another_machine_is_found_by_its_identity():
    one = played(ON + "settle\nbmc hv3 is hv2\nwait 360\n")
    assert "another machine's" in rows(one)["hv3"].troubles[0]


def test_a_bmc_that_says_off_of_a_node_at_work_is_disbelieved():
    one = played(ON + "settle\nbmc hv3 lie\nwait 360\n")
    assert "disbelieved" in rows(one)["hv3"].troubles[0]


def test_trying_presses_no_button_and_wakes_nobody():
    one = played(ON + "settle\nwait 1200\n")
    assert not events(one, "fence_requested")
    assert len(events(one, "power")) == 3
    assert health(shown(one)).clause == ""


def test_no_node_is_tried_while_it_is_being_fenced():
    one = played(ON + "settle\nwait 60\nbmc hv2 off; power hv2 off\nwait 400\n")
    (revoked,) = events(one, "node_revoked")
    begun_s = one.cluster.get(paths.fence("hv2"), Fence).revoked_at_s
    for name in ("hv1", "hv3"):
        tried = one.cluster.get(paths.ready(name), Readiness).trials["hv2"]
        assert tried.at_s <= begun_s + 1, (name, revoked)
