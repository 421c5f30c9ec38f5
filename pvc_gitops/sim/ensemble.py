"""ZooKeeper's servers: who leads, who follows, when they are silent. The records are in `store`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pvc_gitops.model.ids import NodeName
from pvc_gitops.sim.kernel import Kernel
from pvc_gitops.sim.wires import Net, Wires
from pvc_gitops.world.ports import Quorum

FAILOVER_S: Final = 2.8  # Z: ZooKeeper is silent this long when its leader is lost
PINGS_S: Final = (
    2.0  # a follower answers pings so long after it lost its leader: syncLimit x tickTime
)
SLOW_S: Final = 1.5  # what a slow server lets its clients wait: longer than a guard's patience


@dataclass(slots=True)
class Server:
    """One of them. It runs whenever its machine does, unless it was killed."""

    is_killed: bool = False
    # Its data is gone: with `db.autocreate=false` it does not start by itself, so it cannot vote.
    is_wiped: bool = False
    is_slow: bool = False


@dataclass(slots=True)
class Ensemble:
    """All servers. `look` after anything that they depend on has changed."""

    kernel: Kernel
    wires: Wires
    servers: dict[NodeName, Server]
    leader: NodeName | None = None
    silent_until_s: float = 0.0
    epoch: int = 0  # of the quorum; its members write it on their disks
    lost_at_s: float = 0.0  # when the last quorum went
    left_at_s: dict[NodeName, float] = field(default_factory=dict)  # when a server lost its leader
    _following: frozenset[NodeName] = field(default_factory=frozenset)  # the leader among them

    def look(self) -> None:
        """Elect anew where the leader lost its majority. Its loss is noticed only after a while."""
        before = self.leader
        if before is None or not self._is_majority(self._group(before)):
            candidates = [s for s in sorted(self.servers) if self._is_majority(self._group(s))]
            self.leader = candidates[0] if candidates else None
        if self.leader is None and before is not None:
            self.lost_at_s = self.kernel.now_s
        if self.leader is not None and self.leader != before:
            self.epoch += 1
        followed = self._following
        self._following = frozenset() if self.leader is None else self._group(self.leader)
        self.left_at_s.update(dict.fromkeys(followed - self._following, self.kernel.now_s))
        if before is not None and self.leader is not None and self.leader != before:
            self.silent_until_s = self.kernel.now_s + FAILOVER_S

    def has_quorum(self) -> bool:
        return self.leader is not None

    def is_silent(self) -> bool:
        """Have the servers lost their leader, and not agreed on the next one yet?"""
        return self.kernel.now_s < self.silent_until_s

    def quorum(self) -> Quorum:
        return Quorum(serving=len(self._following), servers=len(self.servers))

    def is_voting(self, node: NodeName) -> bool:
        """Is the server there part of a quorum?"""
        return node in self._following

    def server_for(
        self, client: NodeName, beside: Iterable[NodeName] = ()
    ) -> tuple[NodeName, Server] | None:
        """Which server a client on that node is connected to: the one there, or the next that answers.

        `beside`: servers that are left out, as a second connection does with the first one's.
        """
        if self.is_silent():
            return None
        if client in self._following and client not in beside:
            return client, self.servers[client]
        for name in sorted(self._following):
            if name not in beside and self.wires.talk(client, name, Net.CLUSTER):
                return name, self.servers[name]
        return None

    def delay_s(self, client: NodeName, beside: Iterable[NodeName] = ()) -> float:
        """How long a write by that way takes: as long as the slower of its server and the leader."""
        found = self.server_for(client, beside)
        if found is None or self.leader is None:
            return 0.0
        return SLOW_S if found[1].is_slow or self.servers[self.leader].is_slow else 0.0

    def answers_pings(self, node: NodeName) -> bool:
        """Does the server on that node still tell its clients that all is well, and write nothing?"""
        left_at_s = self.left_at_s.get(node)
        is_recent = left_at_s is not None and self.kernel.now_s < left_at_s + PINGS_S
        return is_recent and self.runs(node) and node not in self._following

    def runs(self, node: NodeName) -> bool:
        """Is there a server that runs, in a quorum or not?"""
        server = self.servers.get(node)
        is_whole = server is not None and not (server.is_killed or server.is_wiped)
        return is_whole and self.wires.is_answering(node)

    def _group(self, leader: NodeName) -> frozenset[NodeName]:
        if not self.runs(leader):
            return frozenset()
        return frozenset(
            name
            for name in self.servers
            if self.runs(name) and self.wires.talk(leader, name, Net.CLUSTER)
        )

    def _is_majority(self, group: frozenset[NodeName]) -> bool:
        return 2 * len(group) > len(self.servers)
