"""Why no division of guests among hosts can work: bounds that prove it, with their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pvc_gitops.model.ids import GroupName, NodeName, VmName
from pvc_gitops.model.plan import Bound
from pvc_gitops.scheduler.board import Board
from pvc_gitops.scheduler.units import Unit, fits

_NAMES_SHOWN_MAX: Final = 3
Refutation = tuple[Bound, int, str]  # missing MiB, 0 where it is not memory; the sentence


def refutation(board: Board, asked: Sequence[Unit]) -> Refutation | None:
    """The first proof that the units do not all find a place on the board; None: no proof found.

    Cheap and incomplete: each bound forgets something of the rules, and what it forgets only makes
    room, so that a bound that is exceeded is exceeded in truth.
    """
    return next(_refutations(board, asked), None)


def _refutations(board: Board, asked: Sequence[Unit]) -> Iterator[Refutation]:
    homes = {unit.guests[0].name: _homes(board, unit) for unit in asked}
    for unit in asked:
        if not homes[unit.guests[0].name]:
            yield _alone(board, unit)
    open_to = {unit.guests[0].name: set(homes[unit.guests[0].name]) for unit in asked}
    everywhere = frozenset().union(*open_to.values()) if open_to else frozenset()
    yield from _volumes(board, asked, sorted(everywhere))
    yield from _limited_volumes(board, asked)
    yield from _big_items(board, asked, sorted(everywhere))
    yield from _pigeonholes(board, asked, open_to)


def _homes(board: Board, unit: Unit) -> list[NodeName]:
    """Where it fits if it comes first: others only take room and slots away."""
    nodes = board.free_mib if unit.nodes is None else sorted(unit.nodes & board.free_mib.keys())
    return [node for node in nodes if fits(board, node, unit)]


def _alone(board: Board, unit: Unit) -> Refutation:
    """One that finds no place even alone: because of a rule, or because it is too big."""
    allowed = [
        node
        for node in board.free_mib
        if (unit.nodes is None or node in unit.nodes)
        and all(board.count(name, node) + count <= most for name, count, most in unit.apart)
    ]
    if not allowed:
        if unit.apart and (unit.nodes is None or unit.nodes & board.free_mib.keys()):
            groups = ", ".join(name for name, _, _ in unit.apart)
            text = f"{unit.label} may go to none of the other nodes: group {groups} is strict"
            return Bound.RULE, 0, text
        limits = ", ".join(sorted(unit.nodes or ())) or "none"
        return Bound.RULE, 0, f"{unit.label} may run on {limits} only"
    largest = max(board.free_mib[node] for node in allowed)
    if unit.memory_mib > largest:
        text = f"{unit.label} needs {unit.memory_mib} MiB, no node has more than {max(0, largest)}"
        return Bound.BIGGEST, unit.memory_mib - max(0, largest), text
    if unit.vfs > max(board.free_vfs[node] for node in allowed):
        text = f"{unit.label} needs {unit.vfs} virtual functions, no node has as many left"
        return Bound.BIGGEST, 0, text
    if unit.vcpus > max(board.free_vcpus[node] for node in allowed):
        text = f"{unit.label} needs {unit.vcpus} vCPUs, no node has as many left"
        return Bound.BIGGEST, 0, text
    return Bound.BIGGEST, 0, f"no node has memory, vCPUs and virtual functions for {unit.label}"


def _volumes(
    board: Board, asked: Sequence[Unit], nodes: Sequence[NodeName]
) -> Iterator[Refutation]:
    """`nodes`: where at least one of them fits."""
    needed = sum(unit.memory_mib for unit in asked)
    free = sum(max(0, each) for each in board.free_mib.values())
    if needed > free:
        text = f"{len(asked)} guests need {needed} MiB, {free} MiB are left"
        yield Bound.VOLUME, needed - free, text
    usable = sum(board.free_mib[node] for node in nodes)
    if needed > usable:
        # Room that holds not even the smallest is of no use, unless just that room grows.
        smallest = min(unit.memory_mib for unit in asked)
        unused = [smallest - max(0, f) for n, f in board.free_mib.items() if n not in nodes]
        text = (
            f"{len(asked)} guests need {needed} MiB, {usable} MiB are left where any of them fits"
        )
        yield Bound.VOLUME, max(1, min([needed - usable, *unused])), text
    vcpus, spare = sum(u.vcpus for u in asked), sum(board.free_vcpus[n] for n in nodes)
    if vcpus > spare:
        yield Bound.VOLUME, 0, f"they need {vcpus} vCPUs, {int(spare)} are left"
    vfs, cards = sum(u.vfs for u in asked), sum(board.free_vfs[n] for n in nodes)
    if vfs > cards:
        yield Bound.VOLUME, 0, f"they need {vfs} virtual functions, {cards} are left"


def _limited_volumes(board: Board, asked: Sequence[Unit]) -> Iterator[Refutation]:
    """Those that may only be on some nodes have the room of those nodes, whoever else wants it."""
    limits = {unit.nodes for unit in asked if unit.nodes is not None}
    for nodes in sorted(limits, key=sorted):
        inside = [unit for unit in asked if unit.nodes is not None and unit.nodes <= nodes]
        needed = sum(unit.memory_mib for unit in inside)
        free = sum(max(0, board.free_mib.get(node, 0)) for node in nodes)
        if needed > free:
            text = (
                f"{_names(inside)} need {needed} MiB on {', '.join(sorted(nodes))}, {free} are left"
            )
            yield Bound.VOLUME, needed - free, text


def _big_items(
    board: Board, asked: Sequence[Unit], nodes: Sequence[NodeName]
) -> Iterator[Refutation]:
    """However small the rest is made: of units of at least `size`, a node holds free // size."""
    sizes = sorted((unit.memory_mib for unit in asked), reverse=True)
    for count, size in enumerate(sizes, 1):
        if not size or (count < len(sizes) and sizes[count] == size):
            continue
        holes = sum(max(0, board.free_mib[node]) // size for node in nodes)
        if count > holes:
            rest = max((max(0, board.free_mib[node]) % size for node in nodes), default=0)
            text = f"{count} guests of at least {size} MiB, and room for {holes} of that size"
            yield Bound.PIGEONHOLE, size - rest, text


def _pigeonholes(
    board: Board, asked: Sequence[Unit], open_to: Mapping[VmName, set[NodeName]]
) -> Iterator[Refutation]:
    """A strict group apart has fewer slots left, on nodes that take any member, than members."""
    members: dict[GroupName, int] = {}
    nodes: dict[GroupName, set[NodeName]] = {}
    most: dict[GroupName, int] = {}
    for unit in asked:
        for name, count, limit in unit.apart:
            members[name] = members.get(name, 0) + count
            nodes.setdefault(name, set()).update(open_to[unit.guests[0].name])
            most[name] = limit
    for name, count in sorted(members.items()):
        slots = sum(max(0, most[name] - board.count(name, node)) for node in nodes[name])
        if count > slots:
            text = f"group {name}: {count} to place, {slots} places left"
            yield Bound.PIGEONHOLE, 0, text


def _names(asked: Sequence[Unit]) -> str:
    names = [unit.label for unit in asked[:_NAMES_SHOWN_MAX]]
    more = len(asked) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
