"""N-1: would every guest that must survive find a place if one node died?

Answered by trying: best-fit decreasing on a copy of the board gives a certificate. Where that fails, a
bound (volume, biggest item, strict groups) refutes; what neither proves is unknown, and counts as not
holding. Guests and hosts are taken in an order that does not depend on the process.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from pvc_gitops.model.ids import GroupName, NodeName, VmName
from pvc_gitops.model.plan import CapacityVerdict, Loss
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.fit import fit
from pvc_gitops.scheduler.place import in_order


def losses(board: Board, guests: Mapping[NodeName, Sequence[Guest]]) -> tuple[Loss, ...]:
    """The verdict for the loss of every host, by name. `guests`: who is where, as on the board."""
    return tuple(loss(board, node, guests.get(node, ())) for node in board.hosts)


def loss(board: Board, lost: NodeName, guests: Sequence[Guest]) -> Loss:
    """The verdict for the loss of one host."""
    survivors = board.copy()
    survivors.remove_host(lost)
    free_mib = sum(max(0, free) for free in survivors.free_mib.values())
    largest_mib = max(survivors.free_mib.values(), default=0)
    demand = in_order(guest for guest in guests if guest.must_survive)
    needed_mib = sum(guest.memory_mib for guest in demand)
    missing_mib = _missing_mib(survivors, demand, free_mib, largest_mib)
    certificate: dict[VmName, NodeName] = {}
    homeless: list[VmName] = []
    for guest in demand:
        node = _tightest(survivors, guest)
        if node is None:
            homeless.append(guest.name)
        else:
            survivors.put(guest, node)
            certificate[guest.name] = node
    if not homeless:
        verdict, spare = CapacityVerdict.HOLDS, free_mib - needed_mib
    elif missing_mib is not None:
        verdict, spare = CapacityVerdict.FAILS, -missing_mib
    else:
        verdict, spare = CapacityVerdict.UNKNOWN, free_mib - needed_mib
    return Loss(
        node=lost,
        verdict=verdict,
        certificate=certificate if not homeless else {},
        homeless=tuple(sorted(homeless)),
        spare_mib=spare,
    )


def _tightest(board: Board, guest: Guest) -> NodeName | None:
    start = bisect_left(board.by_free, (guest.memory_mib,))
    for _, _, node in board.by_free[start:]:
        if fit(board, node, guest) is None:
            return node
    return None


def _missing_mib(
    board: Board, demand: Sequence[Guest], free_mib: int, largest_mib: int
) -> int | None:
    """How much memory lacks for certain, 0 if only a rule stands in the way; None: no proof."""
    needed = sum(guest.memory_mib for guest in demand)
    if needed > free_mib:
        return needed - free_mib
    if demand and demand[0].memory_mib > largest_mib:
        return demand[0].memory_mib - largest_mib
    if any(_has_no_host(board, guest) for guest in demand) or _is_too_crowded(board, demand):
        return 0
    return None


def _has_no_host(board: Board, guest: Guest) -> bool:
    # Even alone, on the board as it is now: others only take room and slots away. A group that
    # belongs together and lost all its members may choose anew, which `fit` knows.
    return not guest.is_free and all(fit(board, node, guest) for node in board.free_mib)


def _is_too_crowded(board: Board, demand: Sequence[Guest]) -> bool:
    """Pigeonholes: a strict group apart has fewer slots left than members to place."""
    members: dict[GroupName, int] = {}
    for guest in demand:
        for name in guest.groups:
            members[name] = members.get(name, 0) + 1
    for name, count in members.items():
        rule = board.rules.get(name)
        if rule is None or not (rule.is_strict and rule.is_apart):
            continue
        slots = sum(max(0, rule.max_per_node - board.count(name, n)) for n in board.free_mib)
        if count > slots:
            return True
    return False
