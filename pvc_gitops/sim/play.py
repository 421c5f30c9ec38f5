"""Playing a script on a simulated cluster, and what came of it as JSON."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pvc_gitops.controllers.observe import read_nodes
from pvc_gitops.errors import SpecError, UsageError
from pvc_gitops.model import paths
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.records import GuestPhase, IncarnationRecord
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.sim import faults, rest
from pvc_gitops.sim.before import place
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.desk import WISHES, wish
from pvc_gitops.sim.script import SETTLE_MAX_S, Command, Names, ScriptError, parse
from pvc_gitops.spec.load import load

SETTLE_LOOK_S: Final = 0.5

Files = Mapping[str, bytes]
ReadFolder = Callable[[str], Files]  # a directory as a script names it


@dataclass(slots=True)
class Player:
    """A cluster and the commands that are played on it.

    Args:
        seed: shifts when things happen within a second. The same seed, the same events.
    """

    cluster: SimCluster
    read_folder: ReadFolder
    seed: int = 0
    placed: dict[str, NodeName] = field(default_factory=dict)
    is_settled: bool | None = None  # did the last `settle` end at rest? None: there was none
    commits: int = 0

    def begin(self, at_work: Iterable[NodeName]) -> None:
        """Power these on, and let everything come to rest; nothing happens where none is named."""
        names = tuple(at_work)
        for name in names:
            self.cluster.power(name, on=True)
        if names:
            self.settle(SETTLE_MAX_S)

    def play(self, text: str, *, name: str = "script") -> None:
        """Play all of a script. Raises ScriptError; nothing has happened then."""
        nodes = self.cluster.nodes
        names = Names(
            nodes=frozenset(nodes),
            coordinators=frozenset(n for n, node in nodes.items() if node.is_coordinator),
        )
        commands = parse(text, name=name, names=names)
        if self.seed:
            offset_s = random.Random(self.seed).random()  # noqa: S311  a scenario, no secret
            self.cluster.kernel.run_until(self.cluster.kernel.now_s + offset_s)
        for command in commands:
            self.do(command, name=name)

    def do(self, command: Command, *, name: str = "script") -> None:
        """Play one command."""
        verb, *args = command.words
        place_of = f"{name}:{command.line}:{command.column}"
        if verb != "place" and self.placed:
            place(self.cluster, self.placed)
            self.placed = {}
        match verb, args:
            case "wait", [seconds]:
                kernel = self.cluster.kernel
                kernel.run_until(kernel.now_s + float(seconds))
            case "settle", _:
                self.settle(float(args[0]) if args else SETTLE_MAX_S)
            case "place", [vm, node]:
                if any(each.is_powered for each in self.cluster.nodes.values()):
                    raise ScriptError(place_of, "`place` comes before any power")
                self._know(vm, place_of)
                self.placed[vm] = NodeName(node)
            case "commit", [folder]:
                self.commits += 1
                files = self.read_folder(folder)
                self.cluster.origin.push(files, f"commit {self.commits}: {folder}")
                self.cluster.record("commit", folder=folder)
            case "git", _:
                self._git(args)
            case _ if verb in WISHES:
                if verb == "run":
                    self._know(args[0], place_of)
                self._wish(verb, args)
            case _:
                if verb == "vm":
                    self._know(args[0], place_of)
                faults.play(self.cluster, verb, args)

    def _know(self, vm: str, place_of: str) -> None:
        """A guest that is not there, and is declared nowhere, is a mistake of the script."""
        cluster = self.cluster
        domains = (node.guests.domains for node in cluster.nodes.values())
        known = cluster.placements().keys() | _guests_of(cluster.spec)
        known |= {name for each in domains for name in each}
        if vm in known:
            return
        known |= self._declared_now()
        if vm not in known:
            has = ", ".join(sorted(known)) or "none"
            raise ScriptError(place_of, f"the cluster has no guest {vm!r} (it has {has})")

    def _declared_now(self) -> frozenset[str]:
        origin = self.cluster.origin
        if origin.tip is None:
            return frozenset()
        try:
            return _guests_of(load(origin.commits[origin.tip].files, commit=origin.tip))
        except SpecError:
            return frozenset()  # the cluster will not adopt it either

    def _wish(self, verb: str, args: list[str]) -> None:
        """What is refused is told, as it would be on a terminal, and the story goes on."""
        said = " ".join((verb, *args))
        try:
            wish(self.cluster, verb, args)
        except UsageError as error:
            self.cluster.record("operator", act=said, refused=error.message)
        else:
            self.cluster.record("operator", act=said)

    def settle(self, limit_s: float) -> None:
        """Let time pass until nothing is pending, at most so long."""
        kernel = self.cluster.kernel
        end_s = kernel.now_s + limit_s
        # What was just done needs a moment to be noticed.
        kernel.run_until(min(end_s, kernel.now_s + SETTLE_LOOK_S))
        while (pending := rest.pending(self.cluster)) and kernel.now_s < end_s:
            kernel.run_until(min(end_s, kernel.now_s + SETTLE_LOOK_S))
        self.is_settled = not pending
        self.cluster.record("settled" if not pending else "not_settled", pending=pending)
        if not pending:
            rest.check(self.cluster)

    def _git(self, args: list[str]) -> None:
        origin = self.cluster.origin
        match args:
            case ["on" | "off" as state]:
                origin.is_up = state == "on"
            case ["rewind"]:
                origin.rewind()
            case ["delete"]:
                origin.delete_branch()
            case ["force", folder]:
                self.commits += 1
                origin.push(self.read_folder(folder), f"forced {self.commits}", is_forced=True)
        self.cluster.record("git", act=" ".join(args))

    # --- what came of it ---

    def result(self) -> dict[str, Any]:
        """As `pvc simulate --json` prints it."""
        cluster = self.cluster
        return {
            "ended_at_s": round(cluster.kernel.now_s, 3),
            "settled": not rest.pending(cluster) if self.is_settled is None else self.is_settled,
            "violations": [
                {"t": each.t, "rule": each.rule, "text": each.text}
                for each in cluster.checkers.violations
            ],
            "nodes": {
                name: {"state": state, "power": "on" if node.is_powered else "off"}
                for (name, node), state in zip(
                    cluster.nodes.items(), states(cluster).values(), strict=True
                )
            },
            "vms": self._vms(),
            "events": [self._about(event) for event in cluster.events],
        }

    def _about(self, event: dict[str, Any]) -> dict[str, Any]:
        """An event with the node that it is about as its `node`, and as `teller` the one that says so."""
        of = event.get("of")
        if of not in self.cluster.nodes:
            return event
        about = {key: value for key, value in event.items() if key != "of"}
        return {**about, "node": of, "teller": event["node"]}

    def _vms(self) -> dict[str, Any]:
        cluster, of_nodes = self.cluster, states(self.cluster)
        found: dict[str, Any] = {}
        for name, placement in cluster.placements().items():
            is_told = placement.state in _TOLD or of_nodes[placement.owner] in _SPEAKING
            found[name] = {
                "state": placement.state if is_told else GuestPhase.UNKNOWN,
                "node": placement.owner,
                "why": placement.why,
                "starts": [
                    {"t": t, "node": node} for t, node in cluster.checkers.starts.get(name, ())
                ],
            }
        return found


# Nodes that say themselves what becomes of their guests, and what others say of the guests of the rest.
_SPEAKING: Final = (NodeState.ONLINE, NodeState.DEGRADED, NodeState.MAINTENANCE, NodeState.LEFT)
_TOLD: Final = (GuestPhase.RECOVERING, GuestPhase.FAILED, GuestPhase.STOPPED)


def states(cluster: SimCluster) -> dict[NodeName, NodeState]:
    """All nodes' states as the leading planner sees them; without one, as the store's records allow."""
    leader = cluster.leader()
    if leader is None or leader.planner is None:
        known = (cluster.get(paths.incarnation(n), IncarnationRecord) for n in cluster.nodes)
        return {
            name: NodeState.ABSENT if record is None else NodeState.UNKNOWN
            for name, record in zip(cluster.nodes, known, strict=True)
        }
    world = cluster.world_of(leader, leader.planner)
    facts = read_nodes(world, leader.planner.memory.watch, cluster.spec.cluster.lease_s)
    return {
        name: facts[name].state if name in facts else NodeState.ABSENT for name in cluster.nodes
    }


def _guests_of(spec: ClusterSpec) -> frozenset[str]:
    return frozenset(document.name for document in spec.of_kind(Kind.VM))
