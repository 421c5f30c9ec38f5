"""What has to find a place as a whole: a guest, or guests that a strict rule keeps together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pvc_gitops.model.ids import GroupName, NodeName
from pvc_gitops.model.values import dataclass
from pvc_gitops.scheduler.board import Board, Guest, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Guests with one destination, and what they ask of it together.

    `nodes`: where strict rules allow them, None: anywhere. `apart`: members that they add to strict
    groups, and how many of those one node may hold.
    """

    guests: tuple[Guest, ...]
    memory_mib: int
    vcpus: int
    vfs: int
    nodes: frozenset[NodeName] | None
    apart: tuple[tuple[GroupName, int, int], ...]  # group, members, max_per_node

    @property
    def label(self) -> str:
        return " with ".join(guest.name for guest in self.guests)


def units(board: Board, guests: Iterable[Guest]) -> list[Unit]:
    """The guests, those that must be together as one; in the order of the first of each.

    Those that belong to members who are on the board already are tied to those members' nodes.
    """
    rules = board.rules
    bound: dict[int, list[Guest]] = {}
    of_group: dict[GroupName, int] = {}
    for number, guest in enumerate(guests):
        bound[number] = [guest]
        for name in guest.groups:
            if not _binds_together(rules.get(name)):
                continue
            other = of_group.setdefault(name, number)
            if other != number:  # this one, and all that were bound to it, join the earlier
                first, second = min(other, number), max(other, number)
                bound[first] += bound.pop(second)
                of_group = {g: first if n == second else n for g, n in of_group.items()}
                number = first  # noqa: PLW2901  where the guest is now
    return [_unit(board, members) for _, members in sorted(bound.items())]


def fits(board: Board, node: NodeName, unit: Unit) -> bool:
    """Whether the node takes all of it, as the board stands."""
    return (
        board.free_mib[node] >= unit.memory_mib
        and board.free_vcpus[node] >= unit.vcpus
        and board.free_vfs[node] >= unit.vfs
        and (unit.nodes is None or node in unit.nodes)
        and all(board.count(name, node) + count <= most for name, count, most in unit.apart)
    )


def put(board: Board, unit: Unit, node: NodeName) -> None:
    for guest in unit.guests:
        board.put(guest, node)


def take(board: Board, unit: Unit, node: NodeName) -> None:
    for guest in unit.guests:
        board.take(guest, node)


def _binds_together(rule: Rule | None) -> bool:
    return rule is not None and rule.is_strict and not rule.is_apart


def _unit(board: Board, members: Sequence[Guest]) -> Unit:
    nodes: frozenset[NodeName] | None = None
    counts: dict[GroupName, int] = {}
    for guest in members:
        if guest.nodes and guest.is_strict:
            nodes = guest.nodes if nodes is None else nodes & guest.nodes
        for name in guest.groups:
            rule = board.rules.get(name)
            if rule is None or not rule.is_strict:
                continue
            if rule.is_apart:
                counts[name] = counts.get(name, 0) + 1
            elif here := frozenset(board.nodes_of(name)):
                nodes = here if nodes is None else nodes & here
    return Unit(
        guests=tuple(members),
        memory_mib=sum(guest.memory_mib for guest in members),
        vcpus=sum(guest.vcpus for guest in members),
        vfs=sum(guest.vfs for guest in members),
        nodes=nodes,
        apart=_limits(board.rules, counts),
    )


def _limits(
    rules: Mapping[GroupName, Rule], counts: Mapping[GroupName, int]
) -> tuple[tuple[GroupName, int, int], ...]:
    return tuple((name, n, rules[name].max_per_node) for name, n in sorted(counts.items()))
