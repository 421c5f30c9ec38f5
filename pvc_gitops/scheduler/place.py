"""Where new guests go: big ones first, each to the host that scores best. Deterministic.

A score is in MiB, so that preferences and rules that only draw can be weighed against it: 10 of a
preference's weight are a tenth of the host's memory. What it counts is the strategy's: free memory for
`mem` and `memprov`; for `vcpus`, `vms` and `load`, where fewest wins whatever a host's size, one vCPU,
one guest or a load of one is worth a hundredth of an average host, as much as a weight of 1.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, assert_never

from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.spec import Strategy
from pvc_gitops.model.values import dataclass
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.fit import FitFailure, fit, sentence

# 10 of a preference's weight are worth a tenth of the node's memory (DESIGN section 4).
_MEMORY_PER_WEIGHT: Final = 0.01
# A rule that only draws outweighs room unless the host is half as full again as the others.
_MEMORY_PER_SOFT_RULE: Final = 0.5
# Loads closer than this are alike: they come from a moving average, and what only ranks must not
# make two plans out of one (D1).
LOAD_QUANTUM: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A place. `score` in MiB, as the module's docstring says; higher is better."""

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


def quantised(load: float) -> float:
    return round(load / LOAD_QUANTUM) * LOAD_QUANTUM


class Ranking:
    """Hosts by how much of what a strategy spreads they have left, kept in order while guests come.

    Only hosts differ in it: what a guest itself asks is the same wherever it goes.
    """

    def __init__(self, board: Board, strategy: Strategy) -> None:
        self._board, self._strategy = board, strategy
        hosts = board.hosts.values()
        average_mib = sum(host.memory_mib for host in hosts) / max(1, len(hosts))
        self._piece_mib = average_mib * _MEMORY_PER_WEIGHT
        self._vcpus = dict(board.free_vcpus)  # as they were reported loaded
        self._order = {name: index for index, name in enumerate(board.free_mib)}
        self._values = {name: self._value(name) for name in board.free_mib}
        self._sorted = sorted((-v, self._order[n], n) for n, v in self._values.items())

    def best_first(self) -> Iterator[NodeName]:
        """By name among equals."""
        return (node for _, _, node in self._sorted)

    def value(self, node: NodeName) -> float:
        return self._values[node]

    def cost(self, guest: Guest) -> float:
        """What is left less of, once it is there."""
        match self._strategy:
            case Strategy.MEM:
                return guest.memory_mib if guest.is_running else 0.0
            case Strategy.MEMPROV:
                return guest.memory_mib
            case Strategy.VCPUS:
                return guest.vcpus * self._piece_mib
            case Strategy.VMS:
                return self._piece_mib
            case Strategy.LOAD:
                return guest.vcpus * LOAD_QUANTUM * self._piece_mib
        assert_never(self._strategy)

    def update(self, node: NodeName) -> None:
        """A guest was put there or taken away."""
        key = (-self._values[node], self._order[node], node)
        del self._sorted[bisect_left(self._sorted, key)]
        self._values[node] = self._value(node)
        insort(self._sorted, (-self._values[node], self._order[node], node))

    def _value(self, node: NodeName) -> float:
        board, host = self._board, self._board.hosts[node]
        match self._strategy:
            case Strategy.MEM:
                return board.free_mib[node] + board.idle_mib[node]
            case Strategy.MEMPROV:
                return board.free_mib[node]
            case Strategy.VCPUS:
                return (board.free_vcpus[node] - host.vcpus) * self._piece_mib
            case Strategy.VMS:
                return -board.guests[node] * self._piece_mib
            case Strategy.LOAD:
                # A guest that comes now is in no report yet: a quantum for each vCPU.
                came = (self._vcpus[node] - board.free_vcpus[node]) * LOAD_QUANTUM
                return -(quantised(host.load) + came) * self._piece_mib
        assert_never(self._strategy)


def place(
    board: Board, guests: Iterable[Guest], strategy: Strategy = Strategy.MEM
) -> Mapping[VmName, Placed | NoFit]:
    """Choose for all guests, and put them on the board. `strategy`: of those that name none."""
    ordered = in_order(guests)
    unplaced_mib = _together_mib(board, ordered)
    rankings: dict[Strategy, Ranking] = {}
    result: dict[VmName, Placed | NoFit] = {}
    for guest in ordered:
        wanted = guest.strategy or strategy
        ranking = rankings.get(wanted) or rankings.setdefault(wanted, Ranking(board, wanted))
        if guest.is_free:
            answer = _roomiest(board, guest, ranking)
        else:
            answer = _scan(board, guest, ranking, unplaced_mib)
        for group in guest.groups:
            if group in unplaced_mib:
                unplaced_mib[group] -= guest.memory_mib
        if isinstance(answer, Placed):
            board.put(guest, answer.node)
            for each in rankings.values():
                each.update(answer.node)
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


def _roomiest(board: Board, guest: Guest, ranking: Ranking) -> Placed | NoFit:
    # Only room matters: the first host in order that fits is the best, and not all are looked at.
    too_small = bisect_left(board.by_free, (guest.memory_mib,))
    rejected = {
        node: sentence(FitFailure.MEMORY, board, node, guest)
        for _, _, node in board.by_free[:too_small]
    }
    for node in ranking.best_first():
        failure = fit(board, node, guest)
        if failure is None:
            score = float(ranking.value(node) - ranking.cost(guest))
            return Placed(guest=guest, node=node, score=score, rejected=rejected)
        rejected[node] = sentence(failure, board, node, guest)
    return NoFit(guest=guest, rejected=rejected)


def _scan(
    board: Board, guest: Guest, ranking: Ranking, unplaced_mib: Mapping[str, int]
) -> Placed | NoFit:
    rejected: dict[NodeName, str] = {}
    best: tuple[float, NodeName] | None = None
    for node in board.free_mib:  # by name: the first of equals wins
        failure = fit(board, node, guest)
        if failure is None and _is_first_of_too_many(board, node, guest, unplaced_mib):
            failure = FitFailure.MEMORY
        if failure is not None:
            rejected[node] = sentence(failure, board, node, guest)
            continue
        score = float(ranking.value(node) - ranking.cost(guest)) + drawn_mib(board, node, guest)
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


def drawn_mib(board: Board, node: NodeName, guest: Guest) -> float:
    """What preferences and rules that only draw are worth on this node, the guest not counted there."""
    memory_mib = board.hosts[node].memory_mib
    score = memory_mib * _MEMORY_PER_WEIGHT * guest.prefer.get(node, 0)
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
