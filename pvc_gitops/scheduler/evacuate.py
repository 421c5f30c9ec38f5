"""N-1: would every guest that must survive find a place if one node died, or several at once?

Asked of `pack`, the division that recovery carries out as well: what is proven here is what is done
there. A verdict is for a board as it stands; which boards a plan passes through is the planner's
knowledge (`planner.survival`). Whoever leaves room or asks for less keeps every certificate, so that a
board proven with the most that each guest may ask proves all boards below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations, islice
from math import comb
from typing import Final

from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.plan import Bound, CapacityVerdict, Loss
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.pack import pack

# Pairs of 60 nodes, triples of 22. More are looked at in order of what they carry, and the rest is
# said to be unknown.
SUBSETS_MAX: Final = 1_800

Certificates = Mapping[tuple[NodeName, ...], Mapping[VmName, NodeName]]


def losses(
    board: Board,
    guests: Mapping[NodeName, Sequence[Guest]],
    *,
    tolerate: int = 1,
    last: Iterable[Loss] = (),
) -> tuple[Loss, ...]:
    """The verdict for the loss of every `tolerate` hosts, by name; () where none must be survived.

    Args:
        board: hosts and who is on them.
        guests: the same by host.
        tolerate: how many hosts are lost at once. More than there are: all of them.
        last: earlier answers; their certificates are tried first.
    """
    known: Certificates = {each.lost: each.certificate for each in last if each.certificate}
    size = min(tolerate, len(board.hosts))
    if size == 0:
        return ()
    examined = tuple(
        loss(board, lost, guests, last=known.get(lost)) for lost in _subsets(board, guests, size)
    )
    left = comb(len(board.hosts), size) - len(examined)
    return examined if left <= 0 else (*examined, _not_examined(board, size, left))


def loss(
    board: Board,
    lost: tuple[NodeName, ...],
    guests: Mapping[NodeName, Sequence[Guest]],
    *,
    last: Mapping[VmName, NodeName] | None = None,
) -> Loss:
    """The verdict for the loss of these hosts at once."""
    survivors = board.copy()
    for node in lost:
        survivors.remove_host(node)
    demand = [
        guest
        for guest in chain.from_iterable(guests.get(node, ()) for node in lost)
        if guest.must_survive
    ]
    packing = pack(survivors, demand, last=last)
    if packing.verdict is CapacityVerdict.FAILS:
        spare_mib = -packing.missing_mib
    else:
        free_mib = sum(max(0, free) for free in survivors.free_mib.values())
        spare_mib = free_mib - sum(guest.memory_mib for guest in demand)
    holds = packing.verdict is CapacityVerdict.HOLDS
    return Loss(
        node=lost[0],
        others=lost[1:],
        verdict=packing.verdict,
        certificate=packing.places if holds else {},
        homeless=packing.homeless,
        spare_mib=spare_mib,
        bound=packing.bound,
        why=packing.why,
    )


def holds(found: Iterable[Loss]) -> bool:
    return all(loss.verdict is CapacityVerdict.HOLDS for loss in found)


def _subsets(
    board: Board, guests: Mapping[NodeName, Sequence[Guest]], size: int
) -> Iterator[tuple[NodeName, ...]]:
    nodes = sorted(board.hosts)
    if comb(len(nodes), size) <= SUBSETS_MAX:
        yield from combinations(nodes, size)
        return
    carried = {
        node: sum(guest.memory_mib for guest in guests.get(node, ()) if guest.must_survive)
        for node in nodes
    }
    fullest = sorted(nodes, key=lambda node: (-carried[node], node))
    for lost in islice(combinations(fullest, size), SUBSETS_MAX):
        yield tuple(sorted(lost))


def _not_examined(board: Board, size: int, left: int) -> Loss:
    first, *others = sorted(board.hosts)[:size]
    return Loss(
        node=first,
        others=tuple(others),
        verdict=CapacityVerdict.UNKNOWN,
        certificate={},
        homeless=(),
        spare_mib=0,
        bound=Bound.LIMIT,
        why=f"{left} further losses of {size} nodes are not examined",
    )
