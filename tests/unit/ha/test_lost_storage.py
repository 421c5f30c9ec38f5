"""When a node has lost its storage alone, and what becomes of its guests."""

from __future__ import annotations

import pytest

from pvc_gitops.ha.cut_off import (
    FRESH_S,
    GAP_MAX_S,
    LOST_S,
    Hearing,
    give_up,
    heard,
    listened,
    reach,
)
from pvc_gitops.ha.migration import CallOff, End, HandOver, Rest
from pvc_gitops.ha.moves import CutOff, Going, Scene, orders
from pvc_gitops.model.inventory import GuestState, NodeFacts, NodeState, StorageReach
from pvc_gitops.model.moves import END_HERE
from pvc_gitops.model.plan import MoveMethod
from pvc_gitops.model.spec import Strategy
from pvc_gitops.scheduler.board import Board, Guest, Host

ANSWERS, SILENT, LOST = StorageReach.ANSWERS, StorageReach.SILENT, StorageReach.LOST
RUNNING, PAUSED = GuestState.RUNNING, GuestState.PAUSED


def looks(*began_s, before=None):
    for each in began_s:
        before = listened(before, is_answered=False, began_s=each, at_s=int(each))
    return before


# --- what the node itself says ---


def test_silence_counts_from_the_beginning_of_the_first_look_that_nobody_answered():
    begins = [40.0 * n for n in range(5)]
    assert reach(looks(*begins[:3]), has_looked=True) is SILENT
    assert begins[3] == LOST_S
    assert reach(looks(*begins[:4]), has_looked=True) is LOST


def test_one_answer_ends_it():
    silence = looks(0.0, 40.0, 80.0, 120.0)
    silence = listened(silence, is_answered=True, began_s=160.0, at_s=160)
    assert reach(silence, has_looked=True) is ANSWERS
    assert reach(looks(200.0, before=silence), has_looked=True) is SILENT


def test_a_host_that_stood_still_heard_no_silence_meanwhile():
    silence = looks(0.0, 40.0, 40.0 + GAP_MAX_S + 500.0)
    assert reach(silence, has_looked=True) is SILENT


def test_who_has_not_looked_yet_says_nothing():
    assert reach(None, has_looked=False) is StorageReach.UNKNOWN


# --- what HA makes of it ---


def facts(name, storage, number, state=NodeState.ONLINE):
    return NodeFacts(
        name=name,
        state=state,
        incarnation=f"{name}-1",
        hardware=None,
        guests={},
        networks={},
        faults=(),
        report_number=number,
        observed_at_s=0,
        storage=storage,
    )


def hear(story, *, step_s=10.0, before=None, begin_s=0.0):
    """One look every `step_s`; each of the story is the storage of hv1, hv2, … then."""
    hearing = before or Hearing()
    for number, each in enumerate(story):
        now_s = begin_s + number * step_s
        names = {f"hv{n}": s for n, s in enumerate(each, 1)}
        reports = {name: facts(name, s, int(now_s)) for name, s in names.items()}
        hearing = heard(hearing, reports, now_s)
    return hearing


def test_who_alone_says_so_for_long_is_lost():
    turns = int(LOST_S / 10.0) + 2
    hearing = hear([(ANSWERS, LOST, ANSWERS)] * turns)
    assert hearing.lost == {"hv2"}
    assert hearing.sound == {"hv1", "hv3"}
    assert hear([(ANSWERS, LOST, ANSWERS)] * (turns - 2)).lost == set()


def test_a_node_that_calls_its_storage_silent_is_not_lost_yet():
    assert hear([(ANSWERS, SILENT, ANSWERS)] * 100).lost == set()


def test_when_ceph_is_away_for_all_nobody_is_lost_nor_when_the_first_has_it_back():
    hearing = hear([(LOST, LOST, LOST)] * 100)
    assert hearing.lost == hearing.sound == set()
    hearing = hear([(ANSWERS, LOST, LOST)] * 5, before=hearing, begin_s=1000.0)
    assert hearing.lost == set()
    assert hearing.sound == {"hv1"}


def test_an_old_report_is_nobodys_word():
    hearing = Hearing()
    for now_s in range(0, 400, 10):
        reports = {n: facts(n, s, 7) for n, s in (("hv1", ANSWERS), ("hv2", LOST))}
        hearing = heard(hearing, reports, float(now_s))
    assert hearing.lost == hearing.sound == set()


def test_a_leader_that_stood_still_begins_anew():
    story = [(ANSWERS, LOST, ANSWERS)]
    hearing = hear(story * 20)
    assert hearing.lost == {"hv2"}
    hearing = hear(story * 2, before=hearing, begin_s=191.0 + FRESH_S)
    assert hearing.lost == set()


def test_a_silent_node_is_no_case_of_lost_storage():
    hearing = Hearing()
    for now_s in range(0, 400, 10):
        reports = {
            "hv1": facts("hv1", ANSWERS, now_s),
            "hv2": facts("hv2", LOST, now_s, state=NodeState.UNKNOWN),
        }
        hearing = heard(hearing, reports, float(now_s))
    assert hearing.lost == set()


# --- what the owner does ---


def gives_up(**changes):
    of = {
        "now_s": 10.0,
        "state": RUNNING,
        "is_wanted": True,
        "storage": LOST,
        "is_destination_over": False,
    }
    return give_up(**{**of, **changes})


def test_it_is_ended_then_given_away():
    assert isinstance(gives_up(), End)
    assert isinstance(gives_up(state=PAUSED), End)
    assert gives_up(state=None) == HandOver(is_whole=False)


@pytest.mark.parametrize("storage", list(StorageReach))
@pytest.mark.parametrize("state", list(GuestState))
@pytest.mark.parametrize("is_over", [True, False])
def test_nothing_that_has_a_process_here_is_given_away(storage, state, is_over):
    act = gives_up(storage=storage, state=state, is_destination_over=is_over)
    assert not isinstance(act, HandOver)


def test_who_has_its_storage_back_keeps_its_guests():
    assert isinstance(gives_up(storage=ANSWERS), CallOff)


def test_an_agent_that_has_just_begun_looks_first():
    assert isinstance(gives_up(storage=StorageReach.UNKNOWN), Rest)
    assert isinstance(gives_up(storage=SILENT), Rest)


def test_nobody_is_ended_for_a_place_that_is_gone_or_against_an_operators_stop():
    assert isinstance(gives_up(is_destination_over=True), CallOff)
    assert isinstance(gives_up(is_wanted=False), CallOff)


# --- who is ordered away ---


def guest(name, memory_mib=100):
    return Guest(
        name=name,
        memory_mib=memory_mib,
        vcpus=1,
        nodes=frozenset(),
        is_strict=False,
        prefer={},
        groups=(),
        tier=3,
        must_survive=True,
        is_running=True,
    )


def scene(seats, *, free_mib, resting=()):
    board = Board([Host(name=n, memory_mib=m, vcpus=8, vfs=0) for n, m in free_mib.items()], {})
    for node, guests in seats.items():
        for each in guests:
            board.put(each, node)
    names = [each.name for guests in seats.values() for each in guests]
    return Scene(
        board=board,
        guests=seats,
        methods=dict.fromkeys(names, MoveMethod.LIVE),
        busy={},
        resting=frozenset(resting),
        strategy=Strategy.MEM,
    )


def rescued(of, *names, going=()):
    return orders(of, [], going, [CutOff(node="hv2", ending=frozenset(names))])


def test_those_that_may_are_ended_and_the_others_stay():
    seats = {"hv1": [guest("a")], "hv2": [guest("b"), guest("c")]}
    found = rescued(scene(seats, free_mib={"hv1": 1000, "hv2": 1000}), "b")
    assert [(each.vm, each.to, each.method) for each in found.begin] == [("b", "hv1", END_HERE)]
    assert found.cut_off == {"hv2": {}}


def test_who_finds_no_room_stays_with_the_reason_and_nobody_makes_room_for_it():
    seats = {"hv1": [guest("a", 300)], "hv2": [guest("b", 300)], "hv3": [guest("d", 400)]}
    of = scene(seats, free_mib={"hv1": 500, "hv2": 1000, "hv3": 550})
    found = rescued(of, "b")
    assert found.begin == []
    assert "needs 300 MiB" in found.cut_off["hv2"]["b"]


def test_one_whose_order_failed_lately_rests():
    seats = {"hv1": [], "hv2": [guest("b")]}
    of = scene(seats, free_mib={"hv1": 1000, "hv2": 1000}, resting=["b"])
    assert rescued(of, "b").begin == []


def test_a_node_that_has_nobody_to_end_is_left_alone():
    of = scene({"hv1": [guest("a")]}, free_mib={"hv1": 1000})
    assert rescued(of).begin == []


def test_an_operators_wish_for_the_same_guest_waits_its_turn():
    seats = {"hv1": [], "hv2": [guest("b")]}
    of = scene(seats, free_mib={"hv1": 1000, "hv2": 1000})
    found = rescued(of, "b", going=[Going(vm="b", to="hv1", intent="i1")])
    assert [each.method for each in found.begin] == [END_HERE]
