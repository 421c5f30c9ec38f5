"""A hold as people see it: who observes it, that it is said everywhere, and that maintenance is one."""

from __future__ import annotations

import pytest
from simulated import BASE, ON, events

from pvc_gitops.cli.show import status_text
from pvc_gitops.errors import UsageError
from pvc_gitops.model import paths
from pvc_gitops.model.ha import HoldRecord
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.records import IncarnationRecord
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.desk import ask
from pvc_gitops.sim.play import Player

NODES = ("hv1", "hv2", "hv3")


@pytest.fixture
def one():
    one = Player(SimCluster(BASE), read_folder=lambda _: {})
    one.play(f"{ON}settle\n")
    return one


def observing(one):
    found = (one.cluster.get(paths.incarnation(NodeName(n)), IncarnationRecord) for n in NODES)
    return [record.hold for record in found]


def said(one):
    return [what for subject, what, _ in ask(one.cluster, "status").waiting if subject == "hold"]


def test_the_leader_tells_the_guards_and_each_records_it(one):
    one.play("hold on\nwait 4\n")
    assert one.cluster.get(paths.HOLD, HoldRecord).id == "hold-1"
    assert observing(one) == ["hold-1"] * 3
    assert said(one) == ["fencing is on hold; observed by hv1, hv2, hv3"]
    one.play("hold off\nwait 4\n")
    assert one.cluster.get(paths.HOLD, HoldRecord) is None
    assert observing(one) == [""] * 3
    assert said(one) == []


def test_who_does_not_observe_it_is_named(one):
    one.play("store hv2 off\nhold on\nwait 4\n")
    assert said(one) == ["fencing is on hold; observed by hv1, hv3; not yet by hv2"]


def test_who_still_observes_one_that_is_over_is_named(one):
    one.play("hold on\nwait 4\nstore hv2 off\nwait 1\nhold off\nwait 4\n")
    assert said(one) == ["it is over, and still observed by hv2"]


def test_the_status_line_says_so(one):
    one.play("hold on\nwait 4\n")
    assert "fencing on hold by root" in status_text(ask(one.cluster, "status")).splitlines()[0]
    one.play("hold off\nmaintenance on\nwait 4\n")
    assert "in maintenance by root" in status_text(ask(one.cluster, "status")).splitlines()[0]


def test_a_second_one_makes_it_longer_under_the_same_name(one):
    reason = "still at it"
    ask(one.cluster, "intent", kind="hold", subject="cluster", reason=reason, for_s=60)
    one.play("wait 4\n")
    ask(one.cluster, "intent", kind="hold", subject="cluster", reason=reason, for_s=600)
    one.play("wait 90\n")
    assert one.cluster.get(paths.HOLD, HoldRecord).id == "hold-1"
    assert observing(one) == ["hold-1"] * 3


def test_it_ends_by_itself_also_where_nobody_can_say_so(one):
    ask(one.cluster, "intent", kind="hold", subject="cluster", reason="short", for_s=30)
    one.play("wait 4\nnetwork hv2 off\nwait 20\n")
    assert events(one, "self_fenced") == []
    one.play("wait 12\n")
    assert [event["node"] for event in events(one, "self_fenced")] == ["hv2"]


def test_maintenance_of_the_cluster_lasts_no_longer_than_a_hold(one):
    with pytest.raises(UsageError, match="at most 4 h"):
        ask(one.cluster, "intent", kind="maintenance", subject="cluster", for_s=5 * 3600)
