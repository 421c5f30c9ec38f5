"""Where new guests go: big ones first, each to the host that scores best. Deterministic."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final

from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.values import dataclass
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.fit import FitFailure, fit, sentence

# 10 of a preference's weight are worth a tenth of the node's memory (DESIGN section 4).
_MEMORY_PER_WEIGHT: Final = 0.01
# A rule that only draws outweighs room unless the host is half as full again as the others.
_MEMORY_PER_SOFT_RULE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A place. `score` is free memory after it, in MiB, plus what preferences are worth."""

    guest: Guest
    node: NodeName
    score: float
    rejected: Mapping[NodeName, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoFit:
    """No host takes it; why, by host."""

    guest: Guest
    rejected: Mapping[NodeName, str]


def in_order(guests: Iterable[Guest]) -> list[Guest]:
    """Big guests first, since small ones fit into what is left; ties by name."""
    return sorted(guests, key=lambda g: (-g.memory_mib, -g.vcpus, g.name))


def place(board: Board, guests: Iterable[Guest]) -> Mapping[VmName, Placed | NoFit]:
    """Choose for all guests, and put them on the board."""
    ordered = in_order(guests)
    unplaced_mib = _together_mib(board, ordered)
    result: dict[VmName, Placed | NoFit] = {}
    for guest in ordered:
        answer = _scan(board, guest, unplaced_mib) if not guest.is_free else _roomiest(board, guest)
        for group in guest.groups:
            if group in unplaced_mib:
                unplaced_mib[group] -= guest.memory_mib
        if isinstance(answer, Placed):
            board.put(guest, answer.node)
        result[guest.name] = answer
    return result


def _together_mib(board: Board, guests: Iterable[Guest]) -> dict[str, int]:
    # The first member of a strict group `together` decides for all: its host must have room for all.
    total: dict[str, int] = {}
    for guest in guests:
        for name in guest.groups:
            rule = board.rules.get(name)
            if rule is not None and rule.is_strict and not rule.is_apart:
                total[name] = total.get(name, 0) + guest.memory_mib
    return total


def _roomiest(board: Board, guest: Guest) -> Placed | NoFit:
    # Only room matters, and hosts are sorted by it: all that are too small are below one point.
    too_small = bisect_left(board.by_free, (guest.memory_mib,))
    rejected = {
        node: sentence(FitFailure.MEMORY, board, node, guest)
        for _, _, node in board.by_free[:too_small]
    }
    for free, _, node in reversed(board.by_free[too_small:]):
        failure = fit(board, node, guest)
        if failure is None:
            score = float(free - guest.memory_mib)
            return Placed(guest=guest, node=node, score=score, rejected=rejected)
        rejected[node] = sentence(failure, board, node, guest)
    return NoFit(guest=guest, rejected=rejected)


def _scan(board: Board, guest: Guest, unplaced_mib: Mapping[str, int]) -> Placed | NoFit:
    rejected: dict[NodeName, str] = {}
    best: tuple[float, NodeName] | None = None
    for node in board.free_mib:  # by name: the first of equals wins
        failure = fit(board, node, guest)
        if failure is None and _is_first_of_too_many(board, node, guest, unplaced_mib):
            failure = FitFailure.MEMORY
        if failure is not None:
            rejected[node] = sentence(failure, board, node, guest)
            continue
        score = _score(board, node, guest)
        if best is None or score > best[0]:
            best = (score, node)
    if best is None:
        return NoFit(guest=guest, rejected=rejected)
    return Placed(guest=guest, node=best[1], score=best[0], rejected=rejected)


def _is_first_of_too_many(
    board: Board, node: NodeName, guest: Guest, unplaced_mib: Mapping[str, int]
) -> bool:
    return any(
        not board.nodes_of(name) and unplaced_mib.get(name, 0) > board.free_mib[node]
        for name in guest.groups
    )


def _score(board: Board, node: NodeName, guest: Guest) -> float:
    memory_mib = board.hosts[node].memory_mib
    score = float(board.free_mib[node] - guest.memory_mib)
    score += memory_mib * _MEMORY_PER_WEIGHT * guest.prefer.get(node, 0)
    if guest.nodes and not guest.is_strict and node in guest.nodes:
        score += memory_mib * _MEMORY_PER_SOFT_RULE
    for name in guest.groups:
        rule = board.rules.get(name)
        if rule is None or rule.is_strict:
            continue
        here = board.count(name, node)
        if rule.is_apart:
            score -= memory_mib * _MEMORY_PER_SOFT_RULE * max(0, here + 1 - rule.max_per_node)
        elif here:
            score += memory_mib * _MEMORY_PER_SOFT_RULE
    return score
