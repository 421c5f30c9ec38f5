"""Depth-first search for a division of units among hosts, complete unless its steps run out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from pvc_gitops.model.ids import GroupName, NodeName, VmName
from pvc_gitops.model.values import dataclass
from pvc_gitops.scheduler.board import Board
from pvc_gitops.scheduler.units import Unit, fits

UNITS_MAX: Final = 400  # a unit is a level of recursion


class Outcome(StrEnum):
    """How a search ends that finds nothing."""

    IMPOSSIBLE = "impossible"  # everything was tried
    ENDED = "ended"  # the steps ran out


@dataclass(slots=True, kw_only=True)
class _Room:
    """A host while it is filled. `kind`: hosts of one kind are open to the same units."""

    node: NodeName
    memory_mib: int
    vcpus: float
    vfs: int
    members: dict[GroupName, int]
    kind: int

    def state(self) -> tuple[int, int, float, int, tuple[tuple[GroupName, int], ...]]:
        members = tuple(sorted(self.members.items())) if self.members else ()
        return self.kind, self.memory_mib, self.vcpus, self.vfs, members


def search(
    board: Board, asked: Sequence[Unit], steps_max: int
) -> list[tuple[Unit, NodeName]] | Outcome:
    """Places for all, or how it ended. A step is one unit put on one host.

    Those with the least choice come first, then the biggest. Hosts that look alike are tried once; a
    set of hosts that could not take the rest once is not asked again.
    """
    if len(asked) > UNITS_MAX:
        return Outcome.ENDED
    homes = {unit.guests[0].name: _homes(board, unit) for unit in asked}
    ordered = sorted(
        asked,
        key=lambda u: (len(homes[u.guests[0].name]), -u.memory_mib, -u.vcpus, u.guests[0].name),
    )
    return _Search(board, ordered, homes, steps_max).run()


def _homes(board: Board, unit: Unit) -> frozenset[NodeName]:
    return frozenset(node for node in board.free_mib if fits(board, node, unit))


class _Search:
    def __init__(
        self,
        board: Board,
        ordered: Sequence[Unit],
        homes: Mapping[VmName, frozenset[NodeName]],
        steps_max: int,
    ) -> None:
        self._units = ordered
        self._homes = [homes[unit.guests[0].name] for unit in ordered]
        self._steps_left = steps_max
        groups = sorted({name for unit in ordered for name, _, _ in unit.apart})
        open_nodes = sorted(frozenset().union(*self._homes))
        kinds: dict[tuple[bool, ...], int] = {}
        self._rooms = [
            _Room(
                node=node,
                memory_mib=board.free_mib[node],
                vcpus=board.free_vcpus[node],
                vfs=board.free_vfs[node],
                members={group: board.count(group, node) for group in groups},
                kind=kinds.setdefault(
                    tuple(unit.nodes is None or node in unit.nodes for unit in ordered), len(kinds)
                ),
            )
            for node in open_nodes
        ]
        # What the units from the nth on need, and the smallest of them.
        self._needed = [0] * (len(ordered) + 1)
        self._smallest = [0] * (len(ordered) + 1)
        for number in range(len(ordered) - 1, -1, -1):
            memory = ordered[number].memory_mib
            self._needed[number] = self._needed[number + 1] + memory
            after = self._smallest[number + 1]
            self._smallest[number] = memory if number + 1 == len(ordered) else min(memory, after)
        self._refuted: set[tuple[int, tuple[object, ...]]] = set()
        self._placed: list[NodeName] = []

    def run(self) -> list[tuple[Unit, NodeName]] | Outcome:
        found = self._place(0)
        if found:
            return list(zip(self._units, self._placed, strict=True))
        return Outcome.ENDED if self._steps_left < 0 else Outcome.IMPOSSIBLE

    def _place(self, number: int) -> bool:
        if number == len(self._units):
            return True
        if not self._may_suffice(number):
            return False
        key = (number, tuple(sorted(room.state() for room in self._rooms)))
        if key in self._refuted:
            return False
        if self._place_somewhere(number):
            return True
        if self._steps_left >= 0:
            self._refuted.add(key)
        return False

    def _may_suffice(self, number: int) -> bool:
        smallest = self._smallest[number]
        usable = sum(r.memory_mib for r in self._rooms if r.memory_mib >= smallest)
        return usable >= self._needed[number]

    def _place_somewhere(self, number: int) -> bool:
        """The tightest first; of those that look alike, one."""
        unit, homes = self._units[number], self._homes[number]
        tried: set[object] = set()
        for room in sorted(self._rooms, key=lambda r: (r.memory_mib, r.node)):
            if room.node not in homes or not _takes(room, unit) or room.state() in tried:
                continue
            tried.add(room.state())
            self._steps_left -= 1
            if self._steps_left < 0:
                return False
            _fill(room, unit, 1)
            self._placed.append(room.node)
            if self._place(number + 1):
                return True
            self._placed.pop()
            _fill(room, unit, -1)
        return False


def _takes(room: _Room, unit: Unit) -> bool:
    return (
        room.memory_mib >= unit.memory_mib
        and room.vcpus >= unit.vcpus
        and room.vfs >= unit.vfs
        and all(room.members[name] + count <= most for name, count, most in unit.apart)
    )


def _fill(room: _Room, unit: Unit, sign: int) -> None:
    room.memory_mib -= sign * unit.memory_mib
    room.vcpus -= sign * unit.vcpus
    room.vfs -= sign * unit.vfs
    for name, count, _ in unit.apart:
        room.members[name] += sign * count
