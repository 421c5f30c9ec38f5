"""Best fit by an index is best fit by looking at every node."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pvc_gitops.model.plan import CapacityVerdict
from pvc_gitops.scheduler.board import Board, Guest, Host
from pvc_gitops.scheduler.pack import _best_fit, _free, _Resource, pack
from pvc_gitops.scheduler.units import fits, put, units


def guest(number, memory_mib, vcpus):
    return Guest(
        name=f"vm{number:02}",
        memory_mib=memory_mib,
        vcpus=vcpus,
        nodes=frozenset(),
        is_strict=False,
        prefer={},
        groups=(),
        tier=3,
        must_survive=True,
    )


def by_looking_at_all(board, ordered, resource):
    trial, placed = board.copy(), []
    free = _free(trial, resource)
    for unit in ordered:
        open_to = [node for node in sorted(trial.free_mib) if fits(trial, node, unit)]
        if open_to:
            node = min(open_to, key=lambda each: (free[each], each))
            put(trial, unit, node)
            placed.append((unit, node))
    return placed


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), max_size=20),
)
@settings(max_examples=300, deadline=None)
def test_the_scarcest_is_left_least(sizes, asked):
    hosts = [
        Host(name=f"hv{number}", memory_mib=memory, vcpus=float(vcpus))
        for number, (memory, vcpus) in enumerate(sizes)
    ]
    board = Board(hosts, {})
    ordered = units(board, [guest(n, *each) for n, each in enumerate(asked)])
    for resource in (_Resource.VCPUS, _Resource.VFS):
        placed, homeless = _best_fit(board, ordered, resource)
        assert placed == by_looking_at_all(board, ordered, resource)
        assert len(placed) + len(homeless) == len(ordered)


def test_guests_that_start_together_are_spread_where_there_is_room():
    board = Board([Host(name=f"hv{n}", memory_mib=6, vcpus=16.0) for n in (1, 2)], {})
    even = pack(board, [guest(number, 1, 1) for number in range(4)], is_even=True)
    assert sorted(even.places.values()) == ["hv1", "hv1", "hv2", "hv2"]
    # Spread, the last of these would find no room: they are packed.
    packed = pack(
        board, [guest(n, size, 1) for n, size in enumerate((3, 3, 2, 2, 2))], is_even=True
    )
    assert packed.verdict is CapacityVerdict.HOLDS
    assert packed.places["vm00"] == packed.places["vm01"]
