"""The fewest moves that spread guests better over the nodes, and when it is not worth one.

How uneven nodes are is the standard deviation of their used shares in percent points: of what the
cluster's strategy spreads, plus that of a second resource, so that even memory is not bought with
crowded CPUs. The search lowers `imbalance + price * moves`: a move must earn its
price, a guest that is better left at home goes back, and which guest goes where is exchanged as long as
that helps. Where it ends no single move would earn its price, so that a rebalance of the result is
empty. Below `THRESHOLD` nothing is moved, nor for less than `GAIN_SHARE_MIN` of what is uneven, so that
what trembles around an edge moves nothing either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import sqrt
from typing import Final

from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.plan import Move, MoveMethod, Rebalance
from pvc_gitops.model.spec import Strategy
from pvc_gitops.model.values import dataclass
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.order import Hop, in_turn, side_by_side
from pvc_gitops.scheduler.place import drawn_mib, quantised
from pvc_gitops.scheduler.units import Unit, fits, put, take, units

THRESHOLD: Final = 10.0  # percent points: nodes at 40, 50 and 64 % of their memory
GAIN_MIN: Final = 11.0  # points that a move must gain, over the number of nodes it is shared by
GAIN_SHARE_MIN: Final = 0.25
_ROUNDS_MAX: Final = 2_000
_PERCENT: Final = 100.0
_TINY: Final = 1e-9


def rebalance(
    board: Board,
    guests: Mapping[NodeName, Sequence[Guest]],
    movable: Iterable[VmName],
    *,
    strategy: Strategy,
    moves_max: int,
) -> Rebalance:
    """Moves of running guests, in an order that works.

    Args:
        board: who is where; left as it is.
        guests: the same by node.
        movable: guests that may be moved alive. The others count, and stay.
        strategy: what is to be even.
        moves_max: no more moves than this.
    """
    state = _State(board.copy(), guests, frozenset(movable), strategy)
    before = state.imbalance()
    if before <= THRESHOLD:
        return _none(
            before, f"nodes differ by {before:.1f} points, not by more than {THRESHOLD:.0f}"
        )
    _search(state, moves_max)
    after = state.imbalance()
    if before - after < GAIN_SHARE_MIN * before:
        return _none(before, f"the best moves found gain {before - after:.1f} points: too little")
    hops = [
        Hop(unit=item.unit, source=state.nodes[item.home], to=state.nodes[item.at])
        for item in state.items
        if item.at != item.home
    ]
    order = in_turn(board.copy(), hops)
    if order.stuck:
        names = ", ".join(sorted(hop.unit.label for hop in order.stuck))
        return _none(before, f"{names} wait for each other's room, and no third node has any")
    methods = {g.name: MoveMethod.LIVE for hop in order.hops for g in hop.unit.guests}
    moves = side_by_side(board, order.hops, methods)
    why = f"nodes differ by {before:.1f} points, afterwards by {after:.1f}"
    if state.moved() >= moves_max:
        why += f"; no more than {moves_max} moves at a time"
    return _result(moves, before, after, why)


def imbalance(
    board: Board, guests: Mapping[NodeName, Sequence[Guest]], strategy: Strategy
) -> float:
    """Percent points by which nodes differ, as `rebalance` counts them."""
    return _State(board.copy(), guests, frozenset(), strategy).imbalance()


def _none(before: float, why: str) -> Rebalance:
    return _result((), before, before, why)


def _result(moves: tuple[Move, ...], before: float, after: float, why: str) -> Rebalance:
    return Rebalance(
        moves=moves,
        before=round(before, 2),
        after=round(after, 2),
        threshold=THRESHOLD,
        why=why,
    )


# --- the state that is searched ----------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Item:
    """A unit that may move. `sizes`: what it takes of the two resources; nodes by their number."""

    unit: Unit
    sizes: tuple[float, float]
    home: int
    at: int
    is_plain: bool  # any of its size would do in its stead


class _State:
    """Where every unit is, and sums from which the imbalance after a move is known at once."""

    def __init__(
        self,
        board: Board,
        guests: Mapping[NodeName, Sequence[Guest]],
        movable: frozenset[VmName],
        strategy: Strategy,
    ) -> None:
        self.board = board
        # A node that is to leave has no room of its own: nothing is balanced with it.
        self.nodes = sorted(n for n, host in board.hosts.items() if host.memory_mib and host.vcpus)
        self._number = {node: number for number, node in enumerate(self.nodes)}
        self._two = _resources(strategy)
        self.price = GAIN_MIN / max(1, len(self.nodes))
        average = sum(board.guests.values()) / max(1, len(self.nodes))
        self.full = [
            [_full(board, node, resource, average) for node in self.nodes] for resource in self._two
        ]
        self.shares = [
            [
                sum(_size(board, node, each, resource) for each in guests.get(node, ())) / full
                for node, full in zip(self.nodes, fulls, strict=True)
            ]
            for resource, fulls in zip(self._two, self.full, strict=True)
        ]
        self.items = list(self._items(guests, movable))

    def _items(
        self, guests: Mapping[NodeName, Sequence[Guest]], movable: frozenset[VmName]
    ) -> Iterator[_Item]:
        where = {guest.name: node for node, each in guests.items() for guest in each}
        every = [guest for _, each in sorted(guests.items()) for guest in each]
        bare = Board(self.board.hosts.values(), self.board.rules)
        for unit in units(bare, sorted(every, key=lambda guest: guest.name)):
            nodes = {where[guest.name] for guest in unit.guests}
            names = {guest.name for guest in unit.guests}
            node = next(iter(nodes))
            if len(nodes) > 1 or not names <= movable or node not in self._number:
                continue
            first, second = (
                sum(_size(self.board, node, guest, resource) for guest in unit.guests)
                for resource in self._two
            )
            number = self._number[node]
            yield _Item(
                unit=unit,
                sizes=(first, second),
                home=number,
                at=number,
                is_plain=len(unit.guests) == 1 and unit.guests[0].is_free,
            )

    def imbalance(self) -> float:
        return _PERCENT * sum(_deviation(shares) for shares in self.shares)

    def moved(self) -> int:
        return sum(item.at != item.home for item in self.items)

    def may_go(self, item: _Item, to: int) -> bool:
        """Whether rules and room allow it, and no wish is worse off there."""
        node, here = self.nodes[to], self.nodes[item.at]
        if not fits(self.board, node, item.unit):
            return False
        if item.is_plain:
            return True
        take(self.board, item.unit, here)
        wishes = [
            sum(drawn_mib(self.board, at, guest) for guest in item.unit.guests)
            for at in (here, node)
        ]
        put(self.board, item.unit, here)
        return wishes[1] >= wishes[0]

    def go(self, item: _Item, to: int) -> None:
        take(self.board, item.unit, self.nodes[item.at])
        put(self.board, item.unit, self.nodes[to])
        for size, shares, full in zip(item.sizes, self.shares, self.full, strict=True):
            shares[item.at] -= size / full[item.at]
            shares[to] += size / full[to]
        item.at = to

    def slopes(self) -> tuple[float, float]:
        """By how much the imbalance falls for each unit by which a sum of squares does: a lower bound,
        since the root is concave."""
        first, second = (
            _PERCENT / (2 * len(self.nodes) * max(_deviation(shares), _TINY))
            for shares in self.shares
        )
        return first, second

    def gains(self, item: _Item, slopes: tuple[float, float]) -> list[float]:
        """At least how much the imbalance falls if it goes to each node; of its own, nothing."""
        first = self._falls(0, item, slopes[0])
        second = self._falls(1, item, slopes[1])
        return [one + two for one, two in zip(first, second, strict=True)]

    def _falls(self, resource: int, item: _Item, slope: float) -> list[float]:
        """By how much the sum of squares around the mean falls, times the slope."""
        shares, full, at = self.shares[resource], self.full[resource], item.at
        size, count = item.sizes[resource], len(self.nodes)
        out = size / full[at]
        base = slope * out * (2 * shares[at] - out)
        if min(full) == max(full):  # alike: the mean stays where it is
            slope *= out
            return [base - slope * (2 * share + out) for share in shares]
        twice = 2 * sum(shares) / count
        falls = []
        for share, whole in zip(shares, full, strict=True):
            into = size / whole
            more = into - out
            squares = into * (2 * share + into) - more * (twice + more / count)
            falls.append(base - slope * squares)
        return falls


def _deviation(shares: Sequence[float]) -> float:
    mean = sum(shares) / max(1, len(shares))
    return sqrt(sum((share - mean) ** 2 for share in shares) / max(1, len(shares)))


def _resources(strategy: Strategy) -> tuple[Strategy, Strategy]:
    """What is to be even, and what second."""
    if strategy in (Strategy.MEM, Strategy.MEMPROV):
        return strategy, Strategy.VCPUS
    return strategy, Strategy.MEM


def _full(board: Board, node: NodeName, resource: Strategy, average: float) -> float:
    """What a share of one is."""
    host = board.hosts[node]
    match resource:
        case Strategy.MEM | Strategy.MEMPROV:
            return max(1.0, host.memory_mib)
        case Strategy.VCPUS:
            return max(1.0, host.vcpus)
        case Strategy.VMS:
            return max(1.0, 2 * average)  # so that a node with the average is half full
        case Strategy.LOAD:
            return max(1.0, host.vcpus / 4)


def _size(board: Board, node: NodeName, guest: Guest, resource: Strategy) -> float:
    """What a guest takes of it, where it is now."""
    match resource:
        case Strategy.MEM:
            return guest.memory_mib if guest.is_running else 0.0
        case Strategy.MEMPROV:
            return guest.memory_mib
        case Strategy.VCPUS:
            return guest.vcpus
        case Strategy.VMS:
            return 1.0
        case Strategy.LOAD:
            # A node reports one load; its guests are taken to share it by their vCPUs.
            host = board.hosts[node]
            used = host.vcpus - board.free_vcpus[node]
            return quantised(host.load) * guest.vcpus / used if used else 0.0


# --- the search ------------------------------------------------------------------------------------


def _search(state: _State, moves_max: int) -> None:
    """Down to where neither a move, nor a return, nor an exchange helps."""
    for _ in range(_ROUNDS_MAX):
        if not _best_move(state, moves_max) and not _exchange(state):
            return


def _best_move(state: _State, moves_max: int) -> bool:
    slopes, moved = state.slopes(), state.moved()
    best: tuple[float, _Item, int] | None = None
    seen: set[tuple[int, tuple[float, float]]] = set()
    for item in state.items:
        is_home = item.at == item.home
        if is_home and moved >= moves_max:
            continue
        if is_home and item.is_plain:
            key = (item.at, item.sizes)
            if key in seen:
                continue
            seen.add(key)
        least = _TINY if best is None else best[0]
        cost = state.price if is_home else 0.0
        for to, fall in enumerate(state.gains(item, slopes)):
            gain = fall - cost if is_home or to != item.home else fall + state.price
            if gain > least and to != item.at and state.may_go(item, to):
                best = gain, item, to
                least = gain
    if best is None:
        return False
    state.go(best[1], best[2])
    return True


def _exchange(state: _State) -> bool:
    """Once through all that moved: two exchange where they went, or one returns and another from its
    home goes. Whether any did."""
    moved = [item for item in state.items if item.at != item.home]
    at_home: dict[int, dict[tuple[float, float], _Item]] = {}
    for item in state.items:
        if item.at == item.home:
            at_home.setdefault(item.at, {}).setdefault(item.sizes, item)
    slopes, any_did = state.slopes(), False
    for number, item in enumerate(moved):
        if item.at == item.home:
            continue  # it returned in this round
        others = [other for other in moved[number + 1 :] if other.at != other.home]
        pairs = [(other, other.at) for other in others]
        pairs += [(other, item.home) for other in at_home.get(item.home, {}).values()]
        for other, goes in pairs:
            if item.sizes == other.sizes or item.at == other.at or other.at != goes:
                continue
            if _try_both(state, item, other, slopes):
                slopes, any_did = state.slopes(), True
                break
    return any_did


def _try_both(state: _State, item: _Item, other: _Item, slopes: tuple[float, float]) -> bool:
    """Each goes where the other is, if that helps and both may."""
    was, other_was = item.at, other.at
    if not _is_promising(state, item, other, slopes):
        return False
    before = state.imbalance()
    take(state.board, other.unit, state.nodes[other_was])
    is_free = state.may_go(item, other_was)
    put(state.board, other.unit, state.nodes[other_was])
    if not is_free:
        return False
    state.go(item, other_was)
    if state.may_go(other, was):
        state.go(other, was)
        if state.imbalance() < before - _TINY:
            return True
        state.go(other, other_was)
    state.go(item, was)
    return False


def _is_promising(state: _State, item: _Item, other: _Item, slopes: tuple[float, float]) -> bool:
    """Whether the squares fall, by the sizes alone: most pairs are out at once."""
    here, there, total = item.at, other.at, 0.0
    for number in (0, 1):
        shares, full = state.shares[number], state.full[number]
        more = other.sizes[number] - item.sizes[number]
        into, out = more / full[here], more / full[there]
        squares = into * (2 * shares[here] + into) - out * (2 * shares[there] - out)
        total -= slopes[number] * squares
    return total > _TINY
