"""Ceph's blocklist says one thing, the records another: the leader of HA makes them agree."""

from __future__ import annotations

from simulated import ON, events, player

HOST = "10.22.0.3:0/0"
FENCED = "settle\npower hv3 off; wait 60; power hv3 on\nsettle\n"


def played(script):
    one = player()
    one.play(ON + script)
    return one


def fine(one):
    assert one.result()["violations"] == []
    assert {vm["state"] for vm in one.result()["vms"].values()} == {"running"}
    return True


def test_who_works_and_is_shut_out_is_let_in():
    one = played(FENCED)
    one.cluster.ceph.block(
        HOST
    )  # as a leader does that stood still, and dies before it looks again
    one.play("wait 60\nsettle\n")
    assert not one.cluster.ceph.blocklist
    assert events(one, "fence_put_back")
    assert fine(one)


def test_an_entry_of_somebody_else_stands_and_is_told():
    one = played("settle\n")
    one.cluster.ceph.block(HOST)
    one.play("wait 100\n")
    assert HOST in one.cluster.ceph.blocklist
    assert [event["of"] for event in events(one, "shut_out_by_others")] == ["hv3"]


def test_who_is_fenced_and_not_shut_out_is_shut_out_again():
    one = played("settle\npower hv3 off; bmc hv3 off; wait 20\n")
    assert HOST in one.cluster.ceph.blocklist
    one.cluster.ceph.unblock(HOST)  # as a leader does that released an earlier fence too late
    one.play("wait 60\n")
    assert HOST in one.cluster.ceph.blocklist
    assert [event["of"] for event in events(one, "fence_open_in_ceph")] == ["hv3"]
    one.play("bmc hv3 on; power hv3 on\nsettle\n")
    assert not one.cluster.ceph.blocklist
    assert fine(one)


def test_nothing_is_mended_where_nothing_is_wrong():
    one = played(FENCED + "wait 120\n")
    assert not events(one, "fence_put_back")
    assert not events(one, "fence_open_in_ceph")
