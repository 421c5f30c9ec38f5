"""How a node is emptied, and what is in the way, before anybody is moved.

Guests go where new ones would be placed. Where that leaves one without a place they go where a packing
of all of them at once says; where none exists, others are asked to make room:
in small clusters every way is tried, fewest moves first; in large ones chains of a few moves. What then
finds no place stays, with the reason, and the drain is not complete. A guest whose `migration.method` is
`none` is never moved, one that takes virtual functions of its node is stopped and started.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.plan import Bound, CapacityVerdict, Move, MoveMethod, Staying
from pvc_gitops.model.spec import Strategy
from pvc_gitops.model.values import dataclass
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.fit import fit, sentence
from pvc_gitops.scheduler.order import Hop, side_by_side
from pvc_gitops.scheduler.pack import Packing, pack
from pvc_gitops.scheduler.place import NoFit, Placed, place
from pvc_gitops.scheduler.units import Unit, fits, put, take, units

# All ways are tried where there are no more than this many seatings of the guests; one takes some 50
# microseconds.
STATES_MAX: Final = 20_000
# A guest makes room for a guest that makes room: longer chains disturb more than they are worth.
CHAIN_MAX: Final = 3
CHAIN_STEPS_MAX: Final = 5_000

Methods = Mapping[VmName, MoveMethod | None]  # None: `migration.method: none`


@dataclass(frozen=True, slots=True, kw_only=True)
class Evacuation:
    """Moves that empty a node, and who stays on it. Complete if nobody does."""

    node: NodeName
    moves: tuple[Move, ...]
    staying: tuple[Staying, ...]

    @property
    def is_complete(self) -> bool:
        return not self.staying


def evacuate(
    board: Board,
    guests: Mapping[NodeName, Sequence[Guest]],
    node: NodeName,
    methods: Methods,
    *,
    strategy: Strategy = Strategy.MEM,
) -> Evacuation:
    """How to move everybody off a node, each in its way, in an order that works.

    Args:
        board: who is where; left as it is.
        guests: the same by node.
        node: the one to be emptied.
        methods: how each guest may be moved; of those on other nodes, only live ones are asked to.
        strategy: what is spread evenly where there is a choice.
    """
    here = guests.get(node, ())
    staying = [_pinned(guest) for guest in here if methods[guest.name] is None]
    leaving = [guest for guest in here if methods[guest.name] is not None]
    bare = board.copy()
    for guest in leaving:
        bare.take(guest, node)
    for unit in units(bare, leaving):
        if unit.nodes is not None and unit.nodes.isdisjoint(bare.hosts.keys() - {node}):
            staying += [_tied(guest) for guest in unit.guests]
            put(bare, unit, node)
    tied = {each.vm for each in staying}
    leaving = [guest for guest in leaving if guest.name not in tied]
    survivors = bare.copy()
    survivors.remove_host(node)
    hops = _spread(survivors, node, leaving, strategy)
    packing = pack(survivors, leaving)
    if hops is None and packing.verdict is not CapacityVerdict.HOLDS:
        ready = {
            at: [guest for guest in each if methods[guest.name] is MoveMethod.LIVE]
            for at, each in guests.items()
            if at != node
        }
        hops = _by_making_room(board, node, leaving, ready, packing=packing)
    if hops is None:
        hops = [
            Hop(unit=unit, source=node, to=packing.places[unit.guests[0].name])
            for unit in units(survivors, leaving)
            if unit.guests[0].name in packing.places
        ]
        left = frozenset(packing.homeless)
        staying += [_homeless(board, node, g, packing) for g in leaving if g.name in left]
    how = {name: method for name, method in methods.items() if method is not None}
    return Evacuation(
        node=node,
        moves=side_by_side(board, hops, how),
        staying=tuple(sorted(staying, key=lambda each: each.vm)),
    )


def _spread(
    survivors: Board, node: NodeName, leaving: Sequence[Guest], strategy: Strategy
) -> list[Hop] | None:
    """Each where it would be placed were it new; None if that leaves one without a place."""
    answers = place(survivors.copy(), leaving, strategy)
    found: list[Hop] = []
    for unit in units(survivors, leaving):
        answer = answers[unit.guests[0].name]
        if any(isinstance(answers[guest.name], NoFit) for guest in unit.guests):
            return None
        assert isinstance(answer, Placed)
        found.append(Hop(unit=unit, source=node, to=answer.node))
    return found


def _tied(guest: Guest) -> Staying:
    only = f"placement.nodes allows only {', '.join(sorted(guest.nodes))}"
    text = only if guest.nodes and guest.is_strict else "its group is strict, and others of it stay"
    return Staying(vm=guest.name, code="rule", text=text, missing_mib=0)


def _pinned(guest: Guest) -> Staying:
    text = "would stay and stop with the node: its migration.method is none"
    return Staying(vm=guest.name, code="method-none", text=text, missing_mib=0)


def _homeless(board: Board, node: NodeName, guest: Guest, packing: Packing) -> Staying:
    """Why one of them finds no place: by itself on each node, else all of them together."""
    alone = board.copy()
    alone.take(guest, node)
    reasons = {
        name: failure
        for name in alone.hosts
        if name != node and (failure := fit(alone, name, guest))
    }
    if len(reasons) == len(alone.hosts) - 1:
        said = "; ".join(
            f"{name}: {sentence(failure, alone, name, guest)}"
            for name, failure in sorted(reasons.items())
        )
        text = f"no node takes it: {said}" if said else "there is no other node"
    else:
        text = f"no room beside the others that leave: {packing.why}"
    code = "unknown" if packing.bound is Bound.LIMIT else "no-place"
    return Staying(vm=guest.name, code=code, text=text, missing_mib=packing.missing_mib)


# --- making room -----------------------------------------------------------------------------------


def _by_making_room(
    board: Board,
    node: NodeName,
    leaving: Sequence[Guest],
    ready: Mapping[NodeName, Sequence[Guest]],
    *,
    packing: Packing,
) -> list[Hop] | None:
    """Hops, of those on other nodes too who are ready to, that empty the node; None if none were
    found."""
    where = {guest.name: at for at, each in ready.items() for guest in each}
    if packing.bound is Bound.RULE or not where:
        return None
    where |= {guest.name: node for guest in leaving}
    bare = board.copy()
    for at, each in (*ready.items(), (node, leaving)):
        for guest in each:
            bare.take(guest, at)
    every = [*leaving, *(guest for each in ready.values() for guest in each)]
    movers = units(bare, sorted(every, key=lambda guest: guest.name))
    if any(len({where[guest.name] for guest in unit.guests}) > 1 for unit in movers):
        return None  # a strict group is torn apart already: nothing is moved before that is mended
    start = [where[unit.guests[0].name] for unit in movers]
    if len(board.hosts) ** len(movers) <= STATES_MAX:
        return _shortest(bare, movers, start, node)
    return _chains(board, movers, start, node, places=packing.places)


def _shortest(
    bare: Board, movers: Sequence[Unit], start: Sequence[NodeName], node: NodeName
) -> list[Hop] | None:
    """Breadth first over all seatings: the fewest hops that empty the node, or that there are none.

    A hop needs room at its end while its guest still counts at its beginning, which is another node: so
    it is room without it. The node itself may take somebody in for a while.
    """
    nodes = sorted(bare.hosts)
    begin = tuple(nodes.index(at) for at in start)
    goal = nodes.index(node)
    came: dict[tuple[int, ...], tuple[tuple[int, ...], int] | None] = {begin: None}
    queue = deque([begin])
    while queue:
        seats = queue.popleft()
        if goal not in seats:
            return _hops(came, seats, movers, nodes)
        board = bare.copy()
        for unit, seat in zip(movers, seats, strict=True):
            put(board, unit, nodes[seat])
        for number, unit in enumerate(movers):
            for to, name in enumerate(nodes):
                then = (*seats[:number], to, *seats[number + 1 :])
                if then not in came and fits(board, name, unit):
                    came[then] = seats, number
                    queue.append(then)
    return None


def _hops(
    came: Mapping[tuple[int, ...], tuple[tuple[int, ...], int] | None],
    end: tuple[int, ...],
    movers: Sequence[Unit],
    nodes: Sequence[NodeName],
) -> list[Hop]:
    hops: list[Hop] = []
    then, step = end, came[end]
    while step is not None:
        before, number = step
        source, to = nodes[before[number]], nodes[then[number]]
        hops.append(Hop(unit=movers[number], source=source, to=to))
        then, step = before, came[before]
    return hops[::-1]


def _chains(
    board: Board,
    movers: Sequence[Unit],
    start: Sequence[NodeName],
    node: NodeName,
    *,
    places: Mapping[VmName, NodeName],
) -> list[Hop] | None:
    """The packing as far as it goes, then one chain for each that it left."""
    room = _Chains(board.copy(), movers, start, node)
    leaving = [unit for unit, at in zip(movers, start, strict=True) if at == node]
    for unit in leaving:
        to = places.get(unit.guests[0].name)
        if to is not None and fits(room.board, to, unit):
            room.go(unit, to)
    left = [unit for unit in leaving if room.at[unit.guests[0].name] == node]
    for unit in sorted(left, key=lambda each: (-each.memory_mib, each.label)):
        if not room.make(unit, CHAIN_MAX, frozenset({unit.guests[0].name})):
            return None
    return room.hops


class _Chains:
    """A board on which guests make room for each other."""

    def __init__(
        self, board: Board, movers: Sequence[Unit], start: Sequence[NodeName], node: NodeName
    ) -> None:
        self.board, self._movers, self._node = board, movers, node
        self.at = {u.guests[0].name: at for u, at in zip(movers, start, strict=True)}
        self.hops: list[Hop] = []
        self._steps_left = CHAIN_STEPS_MAX

    def go(self, unit: Unit, to: NodeName) -> None:
        name = unit.guests[0].name
        self.hops.append(Hop(unit=unit, source=self.at[name], to=to))
        take(self.board, unit, self.at[name])
        put(self.board, unit, to)
        self.at[name] = to

    def _back(self, count: int) -> None:
        while len(self.hops) > count:
            hop = self.hops.pop()
            take(self.board, hop.unit, hop.to)
            put(self.board, hop.unit, hop.source)
            self.at[hop.unit.guests[0].name] = hop.source

    def make(self, unit: Unit, depth: int, busy: frozenset[VmName]) -> bool:
        """Move it off its node, to where it fits or where somebody can be moved away for it."""
        source = self.at[unit.guests[0].name]
        targets = [n for n in self.board.free_mib if n not in (source, self._node)]
        for to in sorted(targets, key=lambda n: (-self.board.free_mib[n], n)):
            if fits(self.board, to, unit):
                self.go(unit, to)
                return True
        if depth == 0:
            return False
        for to in sorted(targets, key=lambda n: (-self.board.free_mib[n], n)):
            for other in self._residents(to, busy):
                self._steps_left -= 1
                if self._steps_left < 0:
                    return False
                count = len(self.hops)
                moved = self.make(other, depth - 1, busy | {other.guests[0].name})
                if moved and fits(self.board, to, unit):
                    self.go(unit, to)
                    return True
                self._back(count)
        return False

    def _residents(self, node: NodeName, busy: Iterable[VmName]) -> list[Unit]:
        """Those who may leave a node, the smallest first."""
        here = [u for u in self._movers if self.at[u.guests[0].name] == node]
        free = [u for u in here if u.guests[0].name not in frozenset(busy)]
        return sorted(free, key=lambda u: (u.memory_mib, u.label))
