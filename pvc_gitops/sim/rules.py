"""What the rules need to know of the whole cluster: who leads, whose life is over, who was heard when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pvc_gitops.model import paths
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.spec import Group
from pvc_gitops.sim.wires import Net
from pvc_gitops.world.ports import Create, Op, Put

if TYPE_CHECKING:
    from pvc_gitops.sim.cluster import SimCluster


@dataclass(slots=True)
class Rules:
    """The cluster, as `checkers` asks about it."""

    cluster: SimCluster

    def on_commit(self, writer: NodeName, process: str, ops: Sequence[Op]) -> None:
        """A transaction of a process is accepted, and not applied yet."""
        cluster, records = self.cluster, self.cluster.tree.records
        agent = writer if process == "agent" else None
        cluster.checkers.written(ops, records, lambda role: self._elected(role) == writer, agent)
        for op in ops:
            if not isinstance(op, Create | Put) or not op.path.startswith(f"{paths.NODES}/"):
                continue
            of, _, what = op.path.removeprefix(f"{paths.NODES}/").partition("/")
            if what == "proof" and not self._has_mad_clocks():
                cluster.checkers.proven(of, str(op.value["incarnation"]))
            is_revoked = what == "incarnation" and op.value["is_revoked"]
            if is_revoked and not records[op.path].value["is_revoked"]:
                self.on_fence(NodeName(of), "revoked")

    def on_beat(self, node: NodeName, incarnation: str) -> None:
        """A heartbeat is acknowledged."""
        fence = self.cluster.tree.records.get(paths.fence(node))
        if fence is not None and fence.value["incarnation"] == incarnation:
            self.cluster.checkers.heard(node, incarnation)

    def on_fence(self, node: NodeName, what: str) -> None:
        """One of ours ends a node's life."""
        if self._has_mad_clocks():
            return
        acknowledged_s = self.cluster.nodes[node].guard.acknowledged_s
        self.cluster.checkers.fenced(node, what, acknowledged_s, self._lease_s)

    def is_hindered(self, node: NodeName) -> bool:
        """Can its guard renew by nothing: neither by a quorum, nor by a majority that has none?"""
        cluster = self.cluster
        if cluster.reaches_store(node):
            return False
        if cluster.post.delay_s >= self._lease_s:
            return True
        if not cluster.nodes[node].guard.can_renew_by_asking(cluster.ensemble.lost_at_s):
            return True
        voters = cluster.ensemble.servers
        guards = (cluster.nodes[v].guard for v in voters if self._hears(node, v))
        witnesses = sum(1 for guard in guards if guard.is_up and not guard.is_paused)
        return cluster.has_quorum() or 2 * witnesses <= len(voters)

    def _hears(self, node: NodeName, voter: NodeName) -> bool:
        return self.cluster.wires.talk(node, voter, Net.CLUSTER)

    def on_kill(self, node: NodeName, why: str, hindered_s: float) -> None:
        """A guard ends its guests; one whose machine goes down has no lease to be kept from."""
        if not self._has_mad_clocks() and not self.cluster.nodes[node].is_leaving:
            self.cluster.checkers.killed(node, why, hindered_s, self._lease_s)

    def on_start(self, guest: str, node: NodeName) -> None:
        """A guest's vCPUs begin to run."""
        checkers = self.cluster.checkers
        stamped = self.cluster.tree.records.get(paths.incarnation(node))
        incarnation = "" if stamped is None else str(stamped.value["id"])
        checkers.started_elsewhere(guest, node, incarnation, self._is_dead)
        checkers.stands(guest, node, self._groups_of(guest))

    def is_excused(self, node: str) -> bool:
        """Was it said to be off by its BMC, and does its guard stand still too?"""
        guard = self.cluster.nodes[NodeName(node)].guard
        return node in self.cluster.bmcs.denied and (guard.is_paused or not guard.is_up)

    def _has_mad_clocks(self) -> bool:
        """Then a node may be taken for silent that is not; it still runs no guest twice."""
        return any(node.clock.was_mad for node in self.cluster.nodes.values())

    @property
    def _lease_s(self) -> float:
        return self.cluster.spec.cluster.lease_s

    def _elected(self, role: str) -> str | None:
        """Whose candidacy is the oldest."""
        tree, path = self.cluster.tree, paths.election(role)
        first = min(tree.children.get(path, ()), default=None)
        return None if first is None else str(tree.records[f"{path}/{first}"].value["node"])

    def _is_dead(self, node: str, incarnation: str) -> bool:
        """Is that life of a node proven over, or followed by another one?"""
        records, name = self.cluster.tree.records, NodeName(node)
        proof, now = records.get(paths.proof(name)), records.get(paths.incarnation(name))
        return (proof is not None and proof.value["incarnation"] == incarnation) or (
            now is not None and now.value["id"] != incarnation
        )

    def _groups_of(self, guest: str) -> Iterator[tuple[Group, tuple[str, ...]]]:
        tree = self.cluster.tree
        names = {
            name: tree.records[f"{paths.GUESTS}/{name}"].value["spec"]["placement"]["groups"]
            for name in tree.children.get(paths.GUESTS, ())
        }
        for owned in tree.children.get(paths.OWNED, ()):
            kind, _, name = owned.partition(":")
            if kind == "group" and name in names.get(guest, ()):
                spec = tree.records[f"{paths.OWNED}/{owned}"].value["spec"]
                yield Group.from_spec(name, spec), tuple(n for n, of in names.items() if name in of)
