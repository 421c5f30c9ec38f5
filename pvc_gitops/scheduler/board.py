"""Who is where, while places are chosen. The one mutable thing of this room, owned by one caller.

A `Board` starts from hosts and the guests that are on them, and is changed only by `put` and `take`.
It keeps the hosts sorted by free memory, so that a choice among 200 hosts does not look at them all.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping

from pvc_gitops.model.ids import GroupName, NodeName, VmName
from pvc_gitops.model.spec import Strategy
from pvc_gitops.model.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a node offers guests: after its reserve, and with vCPUs times the cluster's ratio."""

    name: NodeName
    memory_mib: int
    vcpus: float
    vfs: int = 0  # virtual functions of its network cards
    load: float = 0.0  # as it reports it; only ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A placement group. `max_per_node` counts for `apart` only."""

    name: GroupName
    is_apart: bool
    is_strict: bool
    max_per_node: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """What a guest asks of a host. `memory_mib` includes QEMU's own."""

    name: VmName
    memory_mib: int
    vcpus: int
    nodes: frozenset[NodeName]  # empty: any
    is_strict: bool  # whether `nodes` binds or only draws
    prefer: Mapping[NodeName, int]
    groups: tuple[GroupName, ...]
    tier: int
    must_survive: bool  # counts in N-1
    vfs: int = 0
    is_running: bool = True  # git wants it to run, or to be left as it is
    strategy: Strategy | None = None  # None: the cluster's

    @classmethod
    def disabled(cls, name: VmName) -> Guest:
        """One that has an owner, where its disks are made, and needs no room there."""
        return cls(
            name=name,
            memory_mib=0,
            vcpus=0,
            nodes=frozenset(),
            is_strict=False,
            prefer={},
            groups=(),
            tier=0,
            must_survive=False,
            is_running=False,
        )

    @property
    def is_free(self) -> bool:
        """No rule of its own: only room matters."""
        return not (self.nodes or self.prefer or self.groups)


class Board:
    """Free room of every host, and members of every group by host."""

    def __init__(self, hosts: Iterable[Host], rules: Mapping[GroupName, Rule]) -> None:
        self.hosts = {host.name: host for host in sorted(hosts, key=lambda h: h.name)}
        self.rules = rules
        self.free_mib = {name: host.memory_mib for name, host in self.hosts.items()}
        self.free_vcpus = {name: host.vcpus for name, host in self.hosts.items()}
        self.free_vfs = {name: host.vfs for name, host in self.hosts.items()}
        self.idle_mib = dict.fromkeys(self.hosts, 0)  # of guests there that do not run
        self.guests = dict.fromkeys(self.hosts, 0)
        self.group_nodes: dict[GroupName, dict[NodeName, int]] = {}
        self.changes = 0  # so that an answer of before is known for one
        # Ascending by free memory; among equals descending by name, so that reading from the end
        # gives the most free memory first and then the first name.
        self._rank = {name: -index for index, name in enumerate(self.hosts)}
        self.by_free = sorted((free, self._rank[n], n) for n, free in self.free_mib.items())

    def copy(self) -> Board:
        other = Board.__new__(Board)
        other.hosts, other.rules, other._rank = self.hosts, self.rules, self._rank  # noqa: SLF001
        other.free_mib, other.free_vcpus = dict(self.free_mib), dict(self.free_vcpus)
        other.free_vfs, other.idle_mib = dict(self.free_vfs), dict(self.idle_mib)
        other.guests, other.changes = dict(self.guests), self.changes
        other.group_nodes = {name: dict(nodes) for name, nodes in self.group_nodes.items()}
        other.by_free = list(self.by_free)
        return other

    def put(self, guest: Guest, node: NodeName) -> None:
        self._move(guest, node, 1)

    def take(self, guest: Guest, node: NodeName) -> None:
        self._move(guest, node, -1)

    def remove_host(self, node: NodeName) -> None:
        """As if the node were gone. Its guests stay counted in their groups nowhere."""
        self.changes += 1
        del self.by_free[bisect_left(self.by_free, self._key(node))]
        del self.free_mib[node], self.free_vcpus[node], self.free_vfs[node]
        del self.idle_mib[node], self.guests[node]
        for nodes in self.group_nodes.values():
            nodes.pop(node, None)

    def count(self, group: GroupName, node: NodeName) -> int:
        return self.group_nodes.get(group, {}).get(node, 0)

    def nodes_of(self, group: GroupName) -> Mapping[NodeName, int]:
        """Where members of a group are, and how many."""
        return self.group_nodes.get(group, {})

    def _key(self, node: NodeName) -> tuple[int, int, NodeName]:
        return (self.free_mib[node], self._rank[node], node)

    def _move(self, guest: Guest, node: NodeName, sign: int) -> None:
        self.changes += 1
        del self.by_free[bisect_left(self.by_free, self._key(node))]
        self.free_mib[node] -= sign * guest.memory_mib
        self.free_vcpus[node] -= sign * guest.vcpus
        self.free_vfs[node] -= sign * guest.vfs
        self.guests[node] += sign
        if not guest.is_running:
            self.idle_mib[node] += sign * guest.memory_mib
        insort(self.by_free, self._key(node))
        for group in guest.groups:
            nodes = self.group_nodes.setdefault(group, {})
            nodes[node] = nodes.get(node, 0) + sign
            if not nodes[node]:
                del nodes[node]
