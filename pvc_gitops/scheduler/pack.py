"""Places for a set of guests at once, or the reason why there are none. Used by the N-1 proof, and by
whoever has to carry out what it promises: a set is placed as a whole, never guest by guest.

In this order: the last certificate, if it still holds; best-fit decreasing by the scarcest resource;
refutation by bounds; search with a step limit; else `unknown`. `holds` and `fails` are always true, and
for small cases (`SMALL_HOSTS`, `SMALL_UNITS`) the answer is never `unknown`. The same arguments give
the same answer in every process: limits count steps, not time.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, assert_never

from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.plan import Bound, CapacityVerdict
from pvc_gitops.model.values import dataclass
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.bounds import refutation
from pvc_gitops.scheduler.search import Outcome, search
from pvc_gitops.scheduler.units import Unit, fits, put, units

# A certificate for thirty lost nodes at the edge of what they hold stays within half a second.
STEPS_MAX: Final = 1_500
# Up to this size the search runs to its end; states that were refuted once are not entered again, so
# that the worst of many thousand random cases took 40,000 steps.
SMALL_HOSTS: Final = 5
SMALL_UNITS: Final = 12
SMALL_STEPS_MAX: Final = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """`places` of those that found one; `homeless`, by name, are the others: () if and only if the
    verdict is `holds`. `missing_mib`: memory that lacks for certain, 0 where it is not memory."""

    verdict: CapacityVerdict
    places: Mapping[VmName, NodeName]
    homeless: tuple[VmName, ...]
    missing_mib: int
    bound: Bound | None
    why: str


def pack(
    board: Board,
    guests: Iterable[Guest],
    *,
    last: Mapping[VmName, NodeName] | None = None,
    is_even: bool = False,
) -> Packing:
    """Places on the board for all guests at once, or why not.

    Args:
        board: who is there already; left as it is.
        guests: who has to find a place; none of them is on the board.
        last: where an earlier answer put them.
        is_even: spread them where there is room to: a proof needs any place, guests that start
            together start sooner on many nodes than on one.
    """
    asked = units(board, guests)
    known = None if last is None else _as_before(board, asked, last)
    if known is None and is_even:
        known = _emptiest(board, asked)
    if known is not None:
        return _holds(known)
    best: list[tuple[Unit, NodeName]] = []
    left: list[Unit] = asked
    scarcest = _scarcest(board, asked)
    for ordered in _orders(board, asked, scarcest):
        placed, homeless = _best_fit(board, ordered, scarcest)
        if not homeless:
            return _holds(placed)
        if not best or len(homeless) < len(left):
            best, left = placed, homeless
    refuted = refutation(board, asked)
    if refuted is not None:
        return _open(CapacityVerdict.FAILS, best, left, refuted)
    is_small = len(board.free_mib) <= SMALL_HOSTS and len(asked) <= SMALL_UNITS
    found = search(board, asked, SMALL_STEPS_MAX if is_small else STEPS_MAX)
    if isinstance(found, list):
        return _holds(found)
    if found is Outcome.IMPOSSIBLE:
        why = "every way to divide them among the other nodes was tried"
        return _open(CapacityVerdict.FAILS, best, left, (Bound.SEARCH, 0, why))
    why = "there may be a way to divide them among the other nodes, and none was found"
    return _open(CapacityVerdict.UNKNOWN, best, left, (Bound.LIMIT, 0, why))


def _holds(placed: Iterable[tuple[Unit, NodeName]]) -> Packing:
    return Packing(
        verdict=CapacityVerdict.HOLDS,
        places=_places(placed),
        homeless=(),
        missing_mib=0,
        bound=None,
        why="",
    )


def _open(
    verdict: CapacityVerdict,
    placed: Iterable[tuple[Unit, NodeName]],
    left: Iterable[Unit],
    because: tuple[Bound, int, str],
) -> Packing:
    bound, missing_mib, why = because
    return Packing(
        verdict=verdict,
        places=_places(placed),
        homeless=tuple(sorted(guest.name for unit in left for guest in unit.guests)),
        missing_mib=missing_mib,
        bound=bound,
        why=why,
    )


def _places(placed: Iterable[tuple[Unit, NodeName]]) -> dict[VmName, NodeName]:
    return {guest.name: node for unit, node in placed for guest in unit.guests}


def _as_before(
    board: Board, asked: Iterable[Unit], last: Mapping[VmName, NodeName]
) -> list[tuple[Unit, NodeName]] | None:
    trial = board.copy()
    placed: list[tuple[Unit, NodeName]] = []
    for unit in asked:
        node = last.get(unit.guests[0].name)
        if node is None or node not in trial.free_mib or not fits(trial, node, unit):
            return None
        put(trial, unit, node)
        placed.append((unit, node))
    return placed


def _emptiest(board: Board, asked: Iterable[Unit]) -> list[tuple[Unit, NodeName]] | None:
    """The big ones first, each to the node with the most free memory; None where one finds no place."""
    trial = board.copy()
    placed: list[tuple[Unit, NodeName]] = []
    for unit in sorted(asked, key=lambda unit: (-unit.memory_mib, unit.guests[0].name)):
        node = next(
            (node for _, _, node in reversed(trial.by_free) if fits(trial, node, unit)), None
        )
        if node is None:
            return None
        put(trial, unit, node)
        placed.append((unit, node))
    return placed


# --- best-fit decreasing ---------------------------------------------------------------------------


def _orders(board: Board, asked: Sequence[Unit], scarcest: _Resource) -> Iterator[list[Unit]]:
    """Big ones first; then, where rules bind some of them, those that have the least choice first."""

    def size(unit: Unit) -> tuple[float, int, VmName]:
        return (-_asks(unit, scarcest), -unit.memory_mib, unit.guests[0].name)

    yield sorted(asked, key=size)
    if any(unit.nodes is not None or unit.apart for unit in asked):
        choice = {unit.guests[0].name: _choice(board, unit) for unit in asked}
        yield sorted(asked, key=lambda unit: (choice[unit.guests[0].name], size(unit)))


def _choice(board: Board, unit: Unit) -> int:
    if unit.nodes is None and not unit.apart:
        return len(board.free_mib)
    return sum(fits(board, node, unit) for node in board.free_mib)


class _Resource(StrEnum):
    MEMORY = "memory"
    VCPUS = "vcpus"
    VFS = "vfs"


def _asks(unit: Unit, resource: _Resource) -> float:
    match resource:
        case _Resource.MEMORY:
            return unit.memory_mib
        case _Resource.VCPUS:
            return unit.vcpus
        case _Resource.VFS:
            return unit.vfs
    assert_never(resource)


def _scarcest(board: Board, asked: Sequence[Unit]) -> _Resource:
    """What the units ask the largest share of; memory among equals."""
    shares = (
        (_share(sum(u.memory_mib for u in asked), board.free_mib.values()), _Resource.MEMORY),
        (_share(sum(u.vcpus for u in asked), board.free_vcpus.values()), _Resource.VCPUS),
        (_share(sum(u.vfs for u in asked), board.free_vfs.values()), _Resource.VFS),
    )
    return max(shares, key=lambda share: share[0])[1]


def _share(asked: float, free: Iterable[float]) -> float:
    there = sum(max(0, each) for each in free)
    return asked / there if there else float(asked > 0)


def _best_fit(
    board: Board, ordered: Iterable[Unit], scarcest: _Resource
) -> tuple[list[tuple[Unit, NodeName]], list[Unit]]:
    """Each to the node where least of the scarcest resource is left; and those that found none."""
    trial = board.copy()
    free = _free(trial, scarcest)
    # Ascending by what is left, so that a choice among 200 nodes does not look at them all. Memory is
    # kept so by the board itself.
    is_shelved = scarcest is not _Resource.MEMORY
    shelf = sorted((free[node], node) for node in free) if is_shelved else []
    placed: list[tuple[Unit, NodeName]] = []
    homeless: list[Unit] = []
    for unit in ordered:
        node = _tightest(trial, unit, scarcest, shelf)
        if node is None:
            homeless.append(unit)
            continue
        if is_shelved:
            del shelf[bisect_left(shelf, (free[node], node))]
        put(trial, unit, node)
        if is_shelved:
            insort(shelf, (free[node], node))
        placed.append((unit, node))
    return placed, homeless


def _free(board: Board, resource: _Resource) -> Mapping[NodeName, float]:
    match resource:
        case _Resource.MEMORY:
            return board.free_mib
        case _Resource.VCPUS:
            return board.free_vcpus
        case _Resource.VFS:
            return board.free_vfs
    assert_never(resource)


def _tightest(
    board: Board, unit: Unit, scarcest: _Resource, shelf: Sequence[tuple[float, NodeName]]
) -> NodeName | None:
    """The node that takes the unit and has the least of the scarcest resource; the first of equals."""
    if scarcest is _Resource.MEMORY:
        start = bisect_left(board.by_free, (unit.memory_mib,))
        return next((n for _, _, n in board.by_free[start:] if fits(board, n, unit)), None)
    start = bisect_left(shelf, (_asks(unit, scarcest),))
    return next((node for _, node in shelf[start:] if fits(board, node, unit)), None)
