"""From who goes where to an order in which nobody is ever without room.

A guest that moves alive counts on both nodes until it has moved. An order is found for one move after
another, and then loosened: each move waits only for those that make its room, so that the rest runs side
by side. Where moves wait for each other in a circle, one of them goes by way of a third node, or it is
said that they cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.plan import Move, MoveMethod
from pvc_gitops.model.values import dataclass
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.units import Unit, fits, put, take

# Of migrations that read or write one node's memory at once: more only share its network.
MOVES_PER_NODE_MAX: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One unit from one node to another, in its turn."""

    unit: Unit
    source: NodeName
    to: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """`hops` in an order that works; `stuck` are units that found no turn, and where they stay."""

    hops: tuple[Hop, ...]
    stuck: tuple[Hop, ...]


def in_turn(board: Board, wanted: Iterable[Hop]) -> Order:
    """An order in which each unit has room when it arrives. The board is left as it is afterwards.

    Args:
        board: who is where now, those that move included.
        wanted: each unit once, from where it is to where it is to be.
    """
    waiting = sorted(wanted, key=lambda hop: (-hop.unit.memory_mib, hop.unit.label))
    hops: list[Hop] = []
    while waiting:
        moved = [hop for hop in waiting if _try(board, hop, hops)]
        if moved:
            waiting = [hop for hop in waiting if hop not in moved]
            continue
        aside = _aside(board, waiting)
        if aside is None:
            break
        number, way = aside
        goal = waiting[number].to
        assert _try(board, way, hops)
        waiting[number] = Hop(unit=way.unit, source=way.to, to=goal)
    return Order(hops=tuple(hops), stuck=tuple(waiting))


def _try(board: Board, hop: Hop, hops: list[Hop]) -> bool:
    if not fits(board, hop.to, hop.unit):
        return False
    put(board, hop.unit, hop.to)
    take(board, hop.unit, hop.source)
    hops.append(hop)
    return True


def _aside(board: Board, waiting: Sequence[Hop]) -> tuple[int, Hop] | None:
    """Of those that wait, the smallest whose leaving lets another one in, and a third node that takes
    it meanwhile. Each step of that kind sets one move free, so there is an end."""
    for number, hop in sorted(
        enumerate(waiting), key=lambda each: (each[1].unit.memory_mib, each[0])
    ):
        others = [each for each in waiting if each is not hop and each.to == hop.source]
        if not others:
            continue
        for node in board.free_mib:
            if node in (hop.source, hop.to) or not fits(board, node, hop.unit):
                continue
            put(board, hop.unit, node)
            take(board, hop.unit, hop.source)
            helps = any(fits(board, each.to, each.unit) for each in others)
            put(board, hop.unit, hop.source)
            take(board, hop.unit, node)
            if helps:
                return number, Hop(unit=hop.unit, source=hop.source, to=node)
    return None


# --- side by side ----------------------------------------------------------------------------------


def side_by_side(
    board: Board, hops: Sequence[Hop], methods: Mapping[VmName, MoveMethod]
) -> tuple[Move, ...]:
    """The same hops as moves of guests, each waiting only for what it must.

    A move waits for earlier ones that leave its destination, as many as its room takes when all earlier
    arrivals have come already; for the guest's own move before it; and for the last but one that shares
    a node with it. So whatever else runs early or late, no node holds more than it has: of those that
    have come to a node, take the last in this order; it waited for all leavings that were needed with
    everybody before it there.

    Args:
        board: who is where before the first hop; left as it is.
        hops: in an order that works.
        methods: how each guest is moved.
    """
    arrived: dict[NodeName, list[Unit]] = {}
    left: dict[NodeName, list[tuple[Unit, tuple[str, ...]]]] = {}
    last: dict[VmName, str] = {}
    busy: dict[NodeName, list[tuple[str, ...]]] = {}
    trial = board.copy()
    moves: list[Move] = []
    for hop in hops:
        after = _makes_room(trial, hop, left.get(hop.to, []))
        ids = tuple(f"{guest.name} {hop.source} {hop.to}" for guest in hop.unit.guests)
        for node in (hop.source, hop.to):
            after |= _limited(busy.setdefault(node, []), len(ids))
        for guest, name in zip(hop.unit.guests, ids, strict=True):
            own = {last[guest.name]} if guest.name in last else set()
            moves.append(
                Move(
                    id=name,
                    vm=guest.name,
                    source=hop.source,
                    to=hop.to,
                    method=methods[guest.name],
                    memory_mib=guest.memory_mib,
                    after=tuple(sorted(after | own)),
                )
            )
            last[guest.name] = name
        arrived.setdefault(hop.to, []).append(hop.unit)
        left.setdefault(hop.source, []).append((hop.unit, ids))
        busy[hop.source].append(ids)
        busy[hop.to].append(ids)
        put(trial, hop.unit, hop.to)  # and it stays counted where it came from
    return tuple(moves)


def _makes_room(trial: Board, hop: Hop, left: Sequence[tuple[Unit, tuple[str, ...]]]) -> set[str]:
    """The earliest leavings of its destination without which it would not fit. `trial` counts all that
    has come, and nobody who has left."""
    after: set[str] = set()
    gone: list[Unit] = []
    for unit, ids in left:
        if fits(trial, hop.to, hop.unit):
            break
        take(trial, unit, hop.to)
        gone.append(unit)
        after |= set(ids)
    assert fits(trial, hop.to, hop.unit), hop
    for unit in gone:
        put(trial, unit, hop.to)
    return after


def _limited(busy: Sequence[tuple[str, ...]], count: int) -> set[str]:
    """What must have ended so that a node is not in more moves at once than it should."""
    after: set[str] = set()
    room = MOVES_PER_NODE_MAX - count
    for ids in reversed(busy):
        if room >= len(ids):
            room -= len(ids)
        else:
            after |= set(ids)
            break
    return after


def guests_of(hops: Iterable[Hop]) -> list[Guest]:
    return [guest for hop in hops for guest in hop.unit.guests]
