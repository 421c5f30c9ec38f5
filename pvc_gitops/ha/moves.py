"""Which guests begin to move now, of all that are to be moved: from nodes that lost their storage, by
drains, single wishes, returns.

Looked at anew every time, from who is where: so nothing is lost when a leader dies, and what failed,
arrived or was started meanwhile is part of the next answer. A guest on its way counts on both nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.intents import IntentId
from pvc_gitops.model.moves import END_HERE
from pvc_gitops.model.plan import MoveMethod
from pvc_gitops.model.spec import Strategy
from pvc_gitops.model.values import dataclass
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.drain import evacuate
from pvc_gitops.scheduler.fit import fit, sentence
from pvc_gitops.scheduler.order import MOVES_PER_NODE_MAX
from pvc_gitops.scheduler.place import Placed, place


@dataclass(frozen=True, slots=True, kw_only=True)
class Emptying:
    """A node that all guests are to leave."""

    node: NodeName
    intent: IntentId


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """A node that lost its storage. `ending`: those of its guests that are ended there and started where
    there is room; the others stay as they are, and so does everybody elsewhere."""

    node: NodeName
    ending: frozenset[VmName]


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """One guest that is to go to a node; None: wherever is best but where it is."""

    vm: VmName
    to: NodeName | None
    intent: IntentId
    method: MoveMethod | None = None  # None: as it is declared


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A move that begins now."""

    vm: VmName
    source: NodeName
    to: NodeName
    method: str  # a MoveMethod, or END_HERE
    intent: IntentId  # "": nobody asked for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Who is where, and who may move.

    `board` counts whoever is on its way on both of its nodes; `guests` leaves them out. `methods` is None
    for a guest that is never moved. `resting` are guests that nothing is begun with now.
    """

    board: Board
    guests: Mapping[NodeName, Sequence[Guest]]
    methods: Mapping[VmName, MoveMethod | None]
    busy: Mapping[VmName, tuple[NodeName, NodeName]]
    resting: frozenset[VmName]
    strategy: Strategy


@dataclass(slots=True, kw_only=True)
class Orders:
    """What begins, and who cannot, with the reason: by node that is emptied, or by guest."""

    begin: list[Order] = field(default_factory=list)
    cut_off: dict[NodeName, dict[VmName, str]] = field(default_factory=dict)
    staying: dict[NodeName, dict[VmName, str]] = field(default_factory=dict)
    refused: dict[IntentId, str] = field(default_factory=dict)


def orders(
    of: Scene,
    emptying: Iterable[Emptying],
    going: Iterable[Going],
    cut_off: Iterable[CutOff] = (),
) -> Orders:
    """As many moves as may run side by side, of those first whose guests stand still, then drains."""
    found = Orders()
    room = _Room(of)
    for lost in cut_off:
        _rescue(of, lost, room, found)
    for node in emptying:
        _empty(of, node, room, found)
    for guest in going:
        _go(of, guest, room, found)
    return found


class _Room:
    """Moves that nodes are in, and the board with those that begin now."""

    def __init__(self, of: Scene) -> None:
        self.board = of.board.copy()
        self.begun: set[VmName] = set(of.busy)
        self._moves: dict[NodeName, int] = {}
        for nodes in of.busy.values():
            self._count(nodes)

    def _count(self, nodes: Iterable[NodeName]) -> None:
        for node in nodes:
            self._moves[node] = self._moves.get(node, 0) + 1

    def take(self, guest: Guest, source: NodeName, to: NodeName) -> bool:
        """Count a move, if both nodes may be in one more."""
        nodes = (source, to)
        is_full = any(self._moves.get(node, 0) >= MOVES_PER_NODE_MAX for node in nodes)
        if guest.name in self.begun or is_full:
            return False
        self._count(nodes)
        self.begun.add(guest.name)
        self.board.put(guest, to)
        return True


def _rescue(of: Scene, what: CutOff, room: _Room, found: Orders) -> None:
    # `evacuate` may ask others to make room, if they can go alive: nobody who runs well is asked here.
    methods = dict.fromkeys(of.methods) | dict.fromkeys(what.ending, MoveMethod.SHUTDOWN)
    here = [
        guest
        for guest in of.guests.get(what.node, ())
        if guest.name in what.ending and guest.name not in room.begun
    ]
    if not here:
        found.cut_off[what.node] = {}
        return
    who = {**of.guests, what.node: here}
    answer = evacuate(room.board, who, what.node, methods, strategy=of.strategy)
    found.cut_off[what.node] = {each.vm: each.text for each in answer.staying}
    guests = {guest.name: guest for guest in here}
    for move in answer.moves:
        if move.after or move.vm in of.resting or move.vm not in guests:
            continue
        if room.take(guests[move.vm], move.source, move.to):
            found.begin.append(
                Order(
                    vm=move.vm,
                    source=move.source,
                    to=move.to,
                    method=END_HERE,
                    intent=IntentId(""),
                )
            )


def _empty(of: Scene, what: Emptying, room: _Room, found: Orders) -> None:
    here = [g for g in of.guests.get(what.node, ()) if g.name not in room.begun]
    if not here:
        found.staying[what.node] = {}
        return
    who = {**of.guests, what.node: here}
    answer = evacuate(room.board, who, what.node, of.methods, strategy=of.strategy)
    found.staying[what.node] = {each.vm: each.text for each in answer.staying}
    guests = {guest.name: guest for each in who.values() for guest in each}
    for move in answer.moves:
        if move.after or move.vm in of.resting:
            continue
        if room.take(guests[move.vm], move.source, move.to):
            found.begin.append(
                Order(
                    vm=move.vm,
                    source=move.source,
                    to=move.to,
                    method=move.method,
                    intent=what.intent,
                )
            )


def _go(of: Scene, what: Going, room: _Room, found: Orders) -> None:
    if what.vm in room.begun or what.vm in of.resting:
        return
    seat = next(
        ((g, at) for at, each in of.guests.items() for g in each if g.name == what.vm), None
    )
    if seat is None:
        found.refused[what.intent] = "its node does not answer"
        return
    guest, source = seat
    method = of.methods.get(what.vm)
    if method is None and what.method is not MoveMethod.SHUTDOWN:
        found.refused[what.intent] = "its migration.method is none"
        return
    if what.method is MoveMethod.LIVE and method is not MoveMethod.LIVE:
        found.refused[what.intent] = "it cannot be moved alive: see its migration.method"
        return
    method = what.method or method
    assert method is not None
    to, why = _destination(of, room, guest, source, what.to)
    if to is None:
        found.refused[what.intent] = why
    elif room.take(guest, source, to):
        found.begin.append(
            Order(vm=what.vm, source=source, to=to, method=method, intent=what.intent)
        )


def _destination(
    of: Scene, room: _Room, guest: Guest, source: NodeName, wanted: NodeName | None
) -> tuple[NodeName | None, str]:
    """A node, or why there is none."""
    board = room.board.copy()
    board.take(guest, source)
    if wanted is not None:
        if wanted not in board.hosts:
            return None, f"{wanted} takes no guests now"
        failure = fit(board, wanted, guest)
        return (wanted, "") if failure is None else (None, sentence(failure, board, wanted, guest))
    board.remove_host(source)
    answer = place(board, [guest], of.strategy)[guest.name]
    if isinstance(answer, Placed):
        return answer.node, ""
    said = "; ".join(f"{name}: {why}" for name, why in sorted(answer.rejected.items()))
    return None, f"no node takes it: {said}" if said else "there is no other node"
