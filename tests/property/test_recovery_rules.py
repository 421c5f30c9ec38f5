"""Whatever is lost, and whatever room there is: the order, the fit, and what is said of the rest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pvc_gitops.ha.recovery import Coming, GivenUp, Lost, recover
from pvc_gitops.scheduler.board import Board, Guest, Host, Rule

NODES = ("hv1", "hv2", "hv3")
RULES = {"apart": Rule(name="apart", is_apart=True, is_strict=True, max_per_node=1)}


@st.composite
def guests(draw, prefix, most):
    count = draw(st.integers(0, most))
    return [
        Guest(
            name=f"{prefix}{index}",
            memory_mib=draw(st.integers(1, 6)) * 100,
            vcpus=1,
            nodes=frozenset(draw(st.sets(st.sampled_from(NODES), max_size=2))),
            is_strict=draw(st.booleans()),
            prefer={},
            groups=("apart",) if draw(st.booleans()) else (),
            tier=draw(st.integers(1, 5)),
            must_survive=True,
        )
        for index in range(count)
    ]


def board(rooms):
    hosts = [Host(name=n, memory_mib=m, vcpus=100.0) for n, m in zip(NODES, rooms, strict=True)]
    return Board(hosts, RULES)


ROOMS = st.tuples(*[st.integers(0, 12).map(lambda n: n * 100)] * 3)


@given(ROOMS, guests("g", 6), st.one_of(st.none(), st.integers(1, 5)))
def test_nobody_is_placed_against_a_rule_and_everybody_hears_why(rooms, lost, held):
    start = board(rooms)
    coming = [
        Coming(name="c", tier=held, since_s=0.0, patience_s=60.0, is_given_up=False)
        for held in ([held] if held else [])
    ]
    found = recover(start, [Lost(guest=each, owner="dead") for each in lost], coming)
    by_name = {each.name: each for each in lost}
    assert found.places.keys() | found.waiting.keys() == by_name.keys()
    assert not found.places.keys() & found.waiting.keys()
    assert all(found.waiting.values())
    members = dict.fromkeys(NODES, 0)
    used = dict.fromkeys(NODES, 0)
    for name, node in found.places.items():
        guest = by_name[name]
        used[node] += guest.memory_mib
        members[node] += len(guest.groups)
        assert not (guest.is_strict and guest.nodes) or node in guest.nodes
    assert all(used[n] <= room for n, room in zip(NODES, rooms, strict=True))
    assert max(members.values()) <= 1
    # One tier at a time, and none past who is still on the way up.
    assert len({by_name[name].tier for name in found.places}) <= 1
    assert held is None or all(by_name[name].tier <= held for name in found.places)
    assert recover(start, [Lost(guest=g, owner="dead") for g in lost], coming) == found


@given(ROOMS, guests("g", 6))
def test_a_later_tier_takes_no_place_from_an_earlier_one(rooms, lost):
    """Who of the first tier fits does not depend on who else is lost."""
    if not lost:
        return
    first = min(each.tier for each in lost)
    alone = [Lost(guest=g, owner="dead") for g in lost if g.tier == first]
    everybody = [Lost(guest=g, owner="dead") for g in lost]
    with_all, by_itself = (recover(board(rooms), of, []) for of in (everybody, alone))
    if by_itself.places:
        assert with_all.places.keys() == by_itself.places.keys()


@given(ROOMS, guests("g", 5))
def test_who_is_up_or_was_waited_for_long_enough_holds_nobody_up(rooms, lost):
    given_up = Coming(name="a", tier=1, since_s=0.0, patience_s=60.0, is_given_up=True)
    late = Coming(name="b", tier=1, since_s=60.0, patience_s=60.0, is_given_up=False)
    of = [Lost(guest=each, owner="dead") for each in lost]
    assert recover(board(rooms), of, [given_up, late]) == recover(board(rooms), of, [])


@given(ROOMS, guests("g", 3), st.sets(st.sampled_from(NODES), max_size=3))
def test_who_is_given_up_goes_to_another_node_that_has_not_tried_it_yet(rooms, some, tried):
    start = board(rooms)
    for each in some:
        start.put(each, "hv1")
    given_up = [GivenUp(guest=g, owner="hv1", tried=tuple(sorted(tried))) for g in some]
    found = recover(start, [], [], given_up)
    assert found.places.keys() | found.waiting.keys() == {g.name for g in some}
    for name, node in found.places.items():
        guest = next(g for g in some if g.name == name)
        fresh = {"hv2", "hv3"} - tried
        if guest.is_strict and guest.nodes:
            fresh &= guest.nodes
        assert node != "hv1"
        assert node in fresh or not fresh
