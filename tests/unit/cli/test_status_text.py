"""The screen of `pvc status`: what a person must see first stays in sight."""

from __future__ import annotations

from pvc_gitops.cli.show import status_text
from pvc_gitops.model.inventory import NodeFacts, NodeState
from pvc_gitops.model.moves import Moves
from pvc_gitops.world.protocol import Status

SLOW = "guests run without hardware virtualisation: no /dev/kvm"


def node(name, *faults, state=NodeState.ONLINE):
    return NodeFacts(
        name=name,
        state=state,
        incarnation=None,
        hardware=None,
        guests={},
        networks={},
        faults=faults,
        report_number=1,
        observed_at_s=0,
    )


def screen(*nodes, moves=None):
    state = Status(
        cluster="lab",
        now_s=0,
        answered_by="hv1",
        is_store_connected=True,
        quorum=3,
        quorum_of=3,
        accepted=None,
        seen={},
        target=None,
        is_applied=True,
        steps_left=0,
        steps_failed={},
        problems=(),
        planner=None,
        planner_version="",
        nodes={each.name: each for each in nodes},
        guests={},
        storage=None,
        waiting=(),
        moves=moves or Moves(),
    )
    return status_text(state, width=120)


def test_what_all_nodes_say_is_said_once_and_hides_nothing():
    text = screen(node("hv1", SLOW), node("hv2", SLOW, "network 1000: no"), node("hv3", SLOW))
    assert text.count(SLOW) == 1
    assert f"everywhere: {SLOW}" in text.splitlines()
    assert next(line for line in text.splitlines() if line.startswith("hv2")).endswith("1000: no")


def test_what_one_node_alone_says_stands_beside_it():
    text = screen(node("hv1"), node("hv2", SLOW), node("hv3", state=NodeState.UNKNOWN))
    assert next(line for line in text.splitlines() if line.startswith("hv2")).endswith(SLOW)
    assert "everywhere" not in text


def test_who_stays_on_a_node_without_storage_stands_there_with_the_reason():
    moves = Moves(cut_off={"hv2": {"db1": "no node takes it: hv1: needs 300 MiB, 20 MiB free"}})
    lines = screen(node("hv1"), node("hv2"), moves=moves).splitlines()
    (line,) = [each for each in lines if each.startswith(" vm/db1")]
    assert "hv2 lost its storage" in line
    assert line.endswith("20 MiB free")
