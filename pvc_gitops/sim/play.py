"""Playing a script on a simulated cluster, and what came of it as JSON."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.records import Applied, GuestPhase, IncarnationRecord
from pvc_gitops.sim import rest
from pvc_gitops.sim.before import place
from pvc_gitops.sim.cluster import SimCluster, SimNode
from pvc_gitops.sim.desk import wish
from pvc_gitops.sim.machines import Mood
from pvc_gitops.sim.process import Process
from pvc_gitops.sim.script import SETTLE_MAX_S, Command, ScriptError, parse

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
    is_settled: bool = True
    commits: int = 0

    def play(self, text: str, *, name: str = "script") -> None:
        """Play all of a script. Raises ScriptError; nothing has happened then."""
        commands = parse(
            text,
            name=name,
            nodes=frozenset(self.cluster.nodes),
            has_autonomy=self.cluster.has_autonomy,
        )
        if self.seed:
            offset_s = random.Random(self.seed).random()  # noqa: S311  a scenario, no secret
            self.cluster.kernel.run_until(self.cluster.kernel.now_s + offset_s)
        for command in commands:
            self.do(command, name=name)

    def do(self, command: Command, *, name: str = "script") -> None:
        """Play one command."""
        verb, *args = command.words
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
                    raise ScriptError(
                        f"{name}:{command.line}:{command.column}: `place` comes before any power"
                    )
                self.placed[vm] = NodeName(node)
            case "commit", [folder]:
                self.commits += 1
                files = self.read_folder(folder)
                self.cluster.origin.push(files, f"commit {self.commits}: {folder}")
                self.cluster.record("commit", folder=folder)
            case (("freeze" | "halt" | "approve" | "retry" | "rollback" | "release"), _):
                self.cluster.record("operator", act=" ".join(command.words))
                wish(self.cluster, verb, args)
            case "git", _:
                self._git(args)
            case "vm", _:
                self._vm(args)
            case "image", [image, state]:
                self._image(image, is_bad=state == "bad")
            case _, [node, *rest_of]:
                self._node(verb, self.cluster.nodes[NodeName(node)], rest_of)

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

    def _node(self, verb: str, node: SimNode, args: list[str]) -> None:
        cluster, state = self.cluster, args[0] if args else ""
        match verb:
            case "power":
                cluster.power(node.name, on=state == "on")
            case "network":
                cluster.network(node.name, on=state == "on")
            case "store":
                cluster.store(node.name, state)
            case "pause":
                cluster.pause(node.name)
            case "resume":
                cluster.resume(node.name)
            case "guard":
                _drive(node.guard, state, can_start=node.is_up)
            case "watchdog":
                cluster.watchdog(node.name, None if state == "none" else float(state))
            case "agent":
                self._process(node, "agent", args)
            case "planner" | "ha":
                self._process(node, verb, args)
            case "bmc":
                self._bmc(node, args)

    def _process(self, node: SimNode, which: str, args: list[str]) -> None:
        process = {"agent": node.agent, "planner": node.planner, "ha": node.ha}[which]
        if process is None:
            return
        self.cluster.record(which, node=node.name, act=" ".join(args))
        match args:
            case ["kill", effects]:
                process.fuse = int(effects)
                return
            case ["stall", seconds, *effects]:
                process.stall = (int(effects[0]) if effects else 0, float(seconds))
                return
        _drive(process, args[0], can_start=node.is_up)

    def _bmc(self, node: SimNode, args: list[str]) -> None:
        match args:
            case ["is", other]:
                self.cluster.bmcs.wired[node.name] = NodeName(other)
            case [mood]:
                self.cluster.bmcs.moods[node.name] = Mood(mood)
        self.cluster.record("bmc", node=node.name, act=" ".join(args))

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

    def _vm(self, args: list[str]) -> None:
        match args:
            case [name, "crash"]:
                for node in self.cluster.nodes.values():
                    node.guests.end(name, is_clean=False)
            case [name, "reboot"]:
                for node in self.cluster.nodes.values():
                    node.guests.reboot(name)
            case [name, "unplug", kind, device]:
                for node in self.cluster.nodes.values():
                    node.guests.unplug(name, kind, device)
            case [name, "fail-start", count, *where]:
                for node in self.cluster.nodes.values():
                    if not where or node.name == where[0]:
                        node.guests.failing_starts[name] = int(count)
            case [name, "open", where]:
                self._open(name, self.cluster.nodes[NodeName(where)])
            case [name, "close"]:
                self.cluster.hands.close(name)

    def _open(self, guest: str, node: SimNode) -> None:
        record = applied(self.cluster, f"vm/{guest}")
        if record is not None and self.cluster.reaches_storage(node.name):
            disks = tuple((disk.pool, disk.image) for disk in record.disks.values())
            self.cluster.hands.open(guest, node.name, node.declared.addresses["storage"], disks)

    def _image(self, image: str, *, is_bad: bool) -> None:
        for document in self.cluster.spec.documents.values():
            if document.address == f"image/{image}":
                urls = self.cluster.ceph.bad_urls
                (urls.add if is_bad else urls.discard)(document.spec["url"])

    # --- what came of it ---

    def result(self) -> dict[str, Any]:
        """As `pvc simulate --json` prints it."""
        cluster = self.cluster
        return {
            "ended_at_s": round(cluster.kernel.now_s, 3),
            "settled": self.is_settled,
            "violations": [
                {"t": each.t, "rule": each.rule, "text": each.text}
                for each in cluster.checkers.violations
            ],
            "nodes": {
                name: {"state": state(cluster, name), "power": "on" if node.is_powered else "off"}
                for name, node in cluster.nodes.items()
            },
            "vms": self._vms(),
            "events": cluster.events,
        }

    def _vms(self) -> dict[str, Any]:
        cluster = self.cluster
        found: dict[str, Any] = {}
        for name, placement in cluster.placements().items():
            is_known = state(cluster, placement.owner) == NodeState.ONLINE
            found[name] = {
                "state": placement.state if is_known else GuestPhase.UNKNOWN,
                "node": placement.owner,
                "why": placement.why,
                "starts": [
                    {"t": t, "node": node} for t, node in cluster.checkers.starts.get(name, ())
                ],
            }
        return found


def state(cluster: SimCluster, name: NodeName) -> NodeState:
    """A node's state as the leader sees it; without one, as the store's records allow."""
    stamped = cluster.tree.records.get(paths.incarnation(name))
    record = None if stamped is None else decode(IncarnationRecord, stamped.value)
    leader = cluster.leader()
    if leader is None or leader.planner is None:
        return NodeState.ABSENT if record is None else NodeState.UNKNOWN
    now_s = leader.clock.now_s()
    watch = leader.planner.memory.watch
    found: NodeState = watch.state(name, record, now_s, cluster.spec.cluster.lease_s)
    return found


def applied(cluster: SimCluster, address: str) -> Applied | None:
    """One record in force."""
    stamped = cluster.tree.records.get(paths.applied(address))  # type: ignore[arg-type]
    return None if stamped is None else decode(Applied, stamped.value)


def _drive(process: Any, act: str, *, can_start: bool) -> None:  # noqa: ANN401  guard or process
    match act:
        case "kill":
            process.die()
        case "start" if can_start:
            process.start()
        case "pause":
            process.pause()
        case "resume":
            process.resume()
        case "restart":
            process.die()
            if can_start:
                process.start()
