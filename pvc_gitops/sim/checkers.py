"""What must hold at every instant, whatever the controllers do (DESIGN section 13).

Safety is watched where it would be broken: when vCPUs start, when a disk gets a writer, when a record
is written. What must hold at rest is asked at the end of a `settle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from pvc_gitops.model import guest_states, paths
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.records import GuestPhase
from pvc_gitops.model.spec import Group
from pvc_gitops.model.values import dataclass
from pvc_gitops.sim.kernel import Kernel
from pvc_gitops.world.ports import Check, Create, Delete, Domain, Op, Put, Stamped

Leads = Callable[[str], bool]  # a role


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule that was broken."""

    t: float
    rule: str
    text: str


@dataclass(slots=True)
class Checkers:
    """The rules and what they need to remember."""

    kernel: Kernel
    violations: list[Violation] = field(default_factory=list)
    running: dict[str, set[str]] = field(default_factory=dict)  # guest -> nodes
    writers: dict[tuple[str, str], set[tuple[str, str]]] = field(default_factory=dict)
    starts: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    generation: int = 0
    # guest -> the node and its incarnation that it was last started under
    started_by: dict[str, tuple[str, str]] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)  # guest -> node, by the records
    is_excused: Callable[[str], bool] = lambda _: False  # a node whose BMC and guard fail together
    # Guests with the nodes that gave them away by their own word, under their own life.
    given: set[tuple[str, str]] = field(default_factory=set)

    def broken(self, rule: str, text: str) -> None:
        self.violations.append(Violation(t=round(self.kernel.now_s, 3), rule=rule, text=text))

    def started(self, domain: Domain, node: str) -> None:
        """A guest's vCPUs begin to run."""
        nodes = self.running.setdefault(domain.name, set())
        nodes.add(node)
        self.starts.setdefault(domain.name, []).append((round(self.kernel.now_s, 3), node))
        self._one_node(domain.name, nodes)
        for disk in domain.disks:
            writers = self.writers.setdefault((disk.pool, disk.image), set())
            writers.add((domain.name, node))
            if len(writers) > 1:
                who = ", ".join(sorted(f"{vm} on {at}" for vm, at in writers))
                self.broken("one-writer", f"{disk.pool}/{disk.image} is written by {who}")

    def started_elsewhere(
        self, name: str, node: str, incarnation: str, is_dead: Callable[[str, str], bool]
    ) -> None:
        """Whose vCPUs begin to run under which life of a node. `is_dead`: is that life proven over?"""
        before = self.started_by.get(name)
        is_given = before is not None and (name, before[0]) in self.given
        if before is not None and before[0] != node and not (is_given or is_dead(*before)):
            text = f"{name} starts on {node}, and {before[1]} of {before[0]} is not proven dead"
            self.broken("proof", text)
        self.started_by[name] = (node, incarnation)
        self.given.discard((name, node))

    def writers_are(self, writers: dict[tuple[str, str], set[tuple[str, str]]]) -> None:
        """Who may write to which disk, looked at anew: clients were blocked, or let in again."""
        self.writers = writers
        for (pool, image), each in sorted(writers.items()):
            if len(each) > 1:
                who = ", ".join(sorted(f"{vm} on {at}" for vm, at in each))
                self.broken("one-writer", f"{pool}/{image} is written by {who}")

    def runs(self, name: str, node: str, *, now: bool) -> None:
        """A host's vCPUs stand still, or go on."""
        nodes = self.running.setdefault(name, set())
        (nodes.add if now else nodes.discard)(node)
        self._one_node(name, nodes)

    def _one_node(self, name: str, nodes: set[str]) -> None:
        # A BMC that says off, a network that is down and a guard that stands still are, together, a
        # dead machine for everybody who looks. Only the disk rule holds then, by the blocklist.
        if len(nodes) > 1 and not any(self.is_excused(node) for node in nodes):
            self.broken("one-node", f"{name} runs on {', '.join(sorted(nodes))}")

    def stands(self, name: str, node: str, groups: Iterable[tuple[Group, Iterable[str]]]) -> None:
        """A guest's vCPUs begin to run: are the strict groups' rules kept? Each with all its members."""
        for group, members in groups:
            where = [each for other in members for each in self.running.get(other, ())]
            if not group.is_strict:
                continue
            is_crowded = group.policy == "apart" and where.count(node) > group.max_per_node
            is_torn = group.policy == "together" and len(set(where)) > 1
            if is_crowded or is_torn:
                text = f"{name} starts on {node}, against the rule of group {group.name}"
                self.broken("strict-group", text)

    def proven(self, node: str, incarnation: str) -> None:
        """Somebody writes that this life of a node is over. Does a guest of it still run?"""
        life = (node, incarnation)
        for name, nodes in sorted(self.running.items()):
            if node in nodes and self.started_by.get(name) == life and not self.is_excused(node):
                self.broken("proof", f"{incarnation} of {node} is proven dead, and runs {name}")

    def heard(self, node: str, incarnation: str) -> None:
        """A heartbeat of a life that is being fenced was acknowledged: its lease goes on."""
        self.broken("heard", f"{incarnation} of {node} is being fenced, and renews its lease")

    def fenced(self, node: str, what: str, acknowledged_s: float | None, lease_s: float) -> None:
        """A node is revoked or switched off by us. When was its last heartbeat acknowledged?"""
        if acknowledged_s is not None and self.kernel.now_s < acknowledged_s + lease_s:
            ago_s = self.kernel.now_s - acknowledged_s
            self.broken("fence", f"{node} was {what} {ago_s:.1f} s after an acknowledged heartbeat")

    def killed(self, node: str, why: str, hindered_s: float, lease_s: float) -> None:
        """A guard ends its guests. When was it last kept from renewing its lease?"""
        if self.kernel.now_s - hindered_s > lease_s:
            self.broken(
                "kill", f"{node} ends its guests ({why}), and nothing kept it from its lease"
            )

    def stopped(self, name: str, node: str, *, was_running: bool) -> None:
        """Its process is gone."""
        if was_running:
            self.running.get(name, set()).discard(node)
        for writers in self.writers.values():
            writers.discard((name, node))

    def written(
        self, ops: Sequence[Op], records: dict[str, Stamped], leads: Leads, agent: str | None
    ) -> None:
        """A transaction was accepted: by a leader of today, only forward, and by the tables of states.

        `leads`: does the writer lead that role now? `agent`: the node whose agent it is, if it is one.
        """
        checked = {op.path: op.version for op in ops if isinstance(op, Check)}
        for op in ops:
            if isinstance(op, Delete) and op.path.startswith(f"{paths.PLACEMENT}/"):
                self._removed(op.path.rpartition("/")[2])
            if not isinstance(op, Create | Put):
                continue
            if op.path.startswith(f"{paths.PLACEMENT}/"):
                self._placed(op.path.rpartition("/")[2], op.value, checked, agent)
                self._turned(op.path, op.value, records)
            role = None if _is_put_back(op) else _role_of(op.path)
            if role is not None and not leads(role):
                self.broken("epoch", f"{op.path} was written by who does not lead {role} today")
            if op.path == paths.TARGET:
                generation = int(op.value["generation"])
                if generation <= self.generation:
                    self.broken("generation", f"{generation} was published after {self.generation}")
                self.generation = max(self.generation, generation)

    def _removed(self, name: str) -> None:
        """It belongs to nobody any more: if it runs nowhere, the next of that name is another guest."""
        if not self.running.get(name):
            self.started_by.pop(name, None)
            self.owners.pop(name, None)

    def _placed(
        self,
        name: str,
        record: Mapping[str, Any],
        checked: Mapping[str, int | None],
        agent: str | None,
    ) -> None:
        """A guest's record was written. Its owner gives it away, with a check of its own life in the same
        breath; a leader only what the owner has said that it does not run."""
        before, owner = self.owners.get(name), str(record["owner"])
        self.owners[name] = owner
        if before is None or before == owner:
            return
        is_its_word = agent == before or before not in self.running.get(name, ())
        if is_its_word and paths.incarnation(NodeName(before)) in checked:
            self.given.add((name, before))

    def _turned(self, path: str, record: Mapping[str, Any], records: Mapping[str, Stamped]) -> None:
        before = records.get(path)
        if before is None or before.value["state"] == record["state"]:
            return
        turn = GuestPhase(before.value["state"]), GuestPhase(record["state"])
        if turn not in _TURNS:
            self.broken("states", f"{path}: no event leads from {turn[0]} to {turn[1]}")


_TURNS: Final = frozenset(
    (state, to)
    for state, event, to in guest_states.TABLE.edges()
    if event is not guest_states.GuestEvent.OWNER_SILENT  # readers show it, and no record says it
)


def _is_put_back(op: Create | Put) -> bool:
    """A fence that begins as blocked is one that is over: whoever blocked too late asks for its release.
    A leader's begins unblocked, with the revocation."""
    is_fence = isinstance(op, Create) and op.path.startswith(f"{paths.FENCES}/")
    return is_fence and bool(op.value["is_blocked"])


def _role_of(path: str) -> str | None:
    """Whose leader alone may write it."""
    if path in (paths.TARGET, paths.ACCEPTED):
        return "planner"
    is_proof = path.startswith(f"{paths.NODES}/") and path.endswith("/proof")
    return "ha" if is_proof or path.startswith(f"{paths.FENCES}/") else None
