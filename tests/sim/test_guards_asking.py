"""What an attacker or a bad switch can do to the answers of guards: nothing that lets a guest run twice,
and nothing that ends one that every guard in truth lets live."""

from __future__ import annotations

import pytest
from simulated import BASE, ON, events

from pvc_gitops.model.ids import NodeName
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.play import Player
from pvc_guard.talk import Answer, read_answer, write_answer

NO_QUORUM = "zk hv2 kill; zk hv3 kill\n"
CUT_OFF = "store hv3 off\n"


def settled():
    one = Player(SimCluster(BASE), read_folder=lambda _: {})
    one.play(f"{ON}settle\n")
    return one


def ended_guests(one):
    return {event["node"] for event in events(one, "self_fenced")}


def lease_of(one, node):
    guard = one.cluster.nodes[NodeName(node)].guard.guard
    return None if guard is None or guard.lease is None else guard.lease


def test_honest_answers_keep_all_guests():
    one = settled()
    one.play(f"{NO_QUORUM}wait 60\n")
    assert ended_guests(one) == set()
    assert lease_of(one, "hv1").is_by_asking


def test_answers_that_come_after_the_lease_renew_nothing():
    one = settled()
    one.cluster.post.delay_s = 7.0
    one.play(f"{NO_QUORUM}wait 20\n")
    assert ended_guests(one) == {"hv1", "hv2", "hv3"}
    assert one.result()["violations"] == []


def test_answers_that_are_late_count_for_the_moment_of_asking():
    one = settled()
    one.cluster.post.delay_s = 0.7
    one.play(f"{NO_QUORUM}wait 30\n")
    assert ended_guests(one) == set()


@pytest.mark.parametrize("what", ["forged", "turned round", "cut short"])
def test_what_is_changed_on_the_way_counts_for_nothing(what):
    """hv3 misses a quorum that exists; without the key somebody makes all answers say there is none."""

    def forged(_):
        lie = Answer(nonce="0" * 32, of="10.21.0.1", is_out=True, out_for_s=1000.0)
        return write_answer(b"a guess", lie)

    def turned_round(data):
        return data.replace(b'"is_out":false', b'"is_out":true ').replace(b":0.0", b":9e9")

    def cut_short(data):
        return data[:40]

    one = settled()
    change = {"forged": forged, "turned round": turned_round, "cut short": cut_short}
    one.cluster.post.tamper = change[what]
    one.play(f"{CUT_OFF}wait 12\n")
    assert ended_guests(one) == {"hv3"}
    one.play("store hv3 on\nsettle\n")
    assert one.result()["violations"] == []


def test_answers_of_another_outage_are_not_played_again():
    one = settled()
    kept = []

    def keep(data):
        kept.append(data)
        return data

    one.cluster.post.tamper = keep
    one.play(f"{NO_QUORUM}wait 20\nzk hv2 start; zk hv3 start\nwait 20\n")
    from pvc_gitops.sim.guards import KEY

    outs = [data for data in kept if read_answer(KEY, data).is_out]
    assert outs
    assert ended_guests(one) == set()
    one.cluster.post.tamper = lambda _: outs[-1]
    one.play(f"{CUT_OFF}wait 12\n")
    assert ended_guests(one) == {"hv3"}


def test_a_guard_that_stands_still_counts_nothing_that_it_reads_too_late():
    one = settled()
    one.play(f"{NO_QUORUM}wait 4\nguard hv1 pause\nwait 8\nguard hv1 resume\nwait 1\n")
    assert ended_guests(one) == {"hv1"}
    one.play("zk hv2 start; zk hv3 start\nsettle\n")
    assert one.result()["violations"] == []


def test_a_client_that_dies_without_a_quorum_does_not_end_the_guests_of_others():
    """Nobody can end its session: nothing is logged that looks as if a server had voted."""
    one = settled()
    one.play(f"{NO_QUORUM}wait 4\nagent hv2 kill; planner hv3 kill; ha hv1 pause\nwait 30\n")
    assert ended_guests(one) == set()
    one.play(
        "zk hv2 start; zk hv3 start\nagent hv2 start; planner hv3 start; ha hv1 resume\nsettle\n"
    )
    assert one.is_settled
    assert one.result()["violations"] == []
