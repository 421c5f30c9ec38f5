"""Random scripts: faults with gaps, then everything mended; and how a script is made smaller.

A schedule is a script like one that a person writes, so what was found can be played again with
`pvc simulate`. Faults come alone and in those combinations in which one hides what the other does: a
guard that stands still beside a BMC that is dead, a process that stops between a check and its act.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.values import dataclass

FAULTS_MIN: Final = 2
FAULTS_MAX: Final = 8
GAP_MAX_S: Final = 30.0
HEALING_S: Final = 1800.0  # a node boots in 60 s, gives up and tries again within minutes
AGAIN_S: Final = 150.0  # a guest whose starts failed is tried again once a minute
# Far from what proofs allow for (1 %), and with watchdogs of 20 s a guest still starts after they have
# bitten: (9 + 8 + 20) / 2 s, and 3 s for the start.
MAD_RATE: Final = "2.0"
HEALED: Final = "# healing"
COMMITS: Final = ("smaller", "more", "fewer", "broken")  # what `commit` makes of the repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A cluster to break. `watchdogs`: what is not a hardware watchdog of 10 s."""

    name: str
    nodes: int
    coordinators: int
    weight: int  # how often it is played
    watchdogs: Mapping[str, str]
    is_strict: bool = False  # the groups' rules must hold, not only where they can

    def opening(self) -> str:
        """The script that brings it up."""
        lines = [f"watchdog {node} {what}" for node, what in self.watchdogs.items()]
        lines += [f"power hv{n} on" for n in range(1, self.nodes + 1)]
        return "\n".join([*lines, "settle"]) + "\n"

    def files(self, base: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Its repository: the base, with more nodes like its first."""
        files = dict(base)
        pattern = files["nodes/hv1.yaml"].decode()
        for number in range(1, self.nodes + 1):
            text = pattern.replace("hv1", f"hv{number}").replace(".0.1", f".0.{number}")
            if number > self.coordinators:
                text = text.replace("role: coordinator", "role: hypervisor")
            files[f"nodes/hv{number}.yaml"] = text.encode()
        # No disk, so no watcher: nothing but its records and proofs keeps it from running twice.
        lines = files["vms/app1.yaml"].decode().replace("app1", "net1").splitlines(keepends=True)
        disks = ("  disks:", "    - {name: root")
        files["vms/net1.yaml"] = "".join(n for n in lines if not n.startswith(disks)).encode()
        if self.is_strict:
            group = files["groups/web.yaml"]
            files["groups/web.yaml"] = group.replace(b"strict: false", b"strict: true")
        return files


SHAPES: Final = (
    Shape(name="three", nodes=3, coordinators=3, weight=5, watchdogs={}),
    Shape(
        name="three-bare",
        nodes=3,
        coordinators=3,
        weight=5,
        watchdogs={"hv1": "none", "hv2": "20"},
    ),
    Shape(
        name="four",
        nodes=4,
        coordinators=3,
        weight=3,
        watchdogs={"hv2": "none", "hv4": "20"},
        is_strict=True,
    ),
    Shape(name="five", nodes=5, coordinators=5, weight=2, watchdogs={"hv1": "20", "hv5": "none"}),
    Shape(name="six", nodes=6, coordinators=3, weight=1, watchdogs={"hv3": "none"}, is_strict=True),
    Shape(name="seven", nodes=7, coordinators=5, weight=1, watchdogs={"hv2": "20"}),
)


def shape_of(seed: int) -> Shape:
    """Which cluster a seed is played on."""
    chance = random.Random(f"shape {seed}")  # noqa: S311  a scenario, no secret
    return chance.choices(SHAPES, [shape.weight for shape in SHAPES])[0]


def committed(files: Mapping[str, bytes], name: str) -> Mapping[str, bytes]:
    """What the repository becomes by a commit in the middle."""
    changed = dict(files)
    match name:
        case "smaller":
            changed["vms/web1.yaml"] = files["vms/web1.yaml"].replace(b"96MiB", b"80MiB")
        case "more":
            changed["vms/app4.yaml"] = files["vms/app1.yaml"].replace(b"app1", b"app4")
        case "fewer":
            del changed["vms/app2.yaml"]
        case "broken":
            changed["vms/web1.yaml"] = b"this: is no guest\n"
        case _:
            raise AssertionError(f"no commit of that name: {name}")
    return changed


# --- drawing ----------------------------------------------------------------------------------------


def schedule(seed: int, shape: Shape, guests: Sequence[str]) -> tuple[str, ...]:
    """The lines of a random script, after the opening: faults with gaps, then healing."""
    chance = random.Random(seed)  # noqa: S311  a scenario, no secret
    nodes = [NodeName(f"hv{number}") for number in range(1, shape.nodes + 1)]
    draw = _Draw(
        chance=chance, nodes=nodes, coordinators=nodes[: shape.coordinators], guests=guests
    )
    # Nothing happens on the full second only.
    lines = [f"wait {chance.random():.3f}"]
    for _ in range(chance.randint(FAULTS_MIN, FAULTS_MAX)):
        lines += draw.fault()
        if chance.random() < 0.75:  # noqa: PLR2004  the others happen at once
            lines.append(f"wait {chance.uniform(0, GAP_MAX_S):.1f}")
    return (*lines, HEALED, *healing(shape, guests))


def healing(shape: Shape, guests: Sequence[str]) -> tuple[str, ...]:
    """Everything that a schedule can break, mended."""
    nodes = [f"hv{number}" for number in range(1, shape.nodes + 1)]
    lines = ["; ".join(["git on", "ceph on", "hold off", *(f"vm {vm} close" for vm in guests)])]
    for at, node in enumerate(nodes):
        acts = [f"resume {node}", f"network {node} on", f"store {node} on"]
        acts += [f"link {node} {other} on" for other in nodes if other != node]
        acts += [f"bmc {node} is {node}", f"bmc {node} on", f"power {node} on"]
        acts += [f"clock {node} rate 1.0", f"libvirt {node} ok", f"undrain {node}"]
        is_coordinator = at < shape.coordinators
        if is_coordinator:
            acts += [f"zk {node} start", f"zk {node} ok"]
        for process in _processes(is_coordinator=is_coordinator):
            # A new process has no fuse that burns on.
            acts += [f"{process} {node} resume", f"{process} {node} restart"]
        lines.append("; ".join(acts))
    return (*lines, f"settle {HEALING_S:.0f}")


def _processes(*, is_coordinator: bool) -> tuple[str, ...]:
    return ("guard", "agent", "planner", "ha") if is_coordinator else ("guard", "agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draw:
    """One after the other, from one chance."""

    chance: random.Random
    nodes: Sequence[NodeName]
    coordinators: Sequence[NodeName]
    guests: Sequence[str]

    def fault(self) -> tuple[str, ...]:
        """A fault alone, or several that belong together."""
        chance = self.chance
        if chance.random() < 0.3:  # noqa: PLR2004  combinations are what is worth most a second
            return self._together(chance.choice(self.nodes))
        return (self._alone(chance.choice(self.nodes)),)

    def _alone(self, node: NodeName) -> str:
        chance = self.chance
        guest, head = chance.choice(self.guests), chance.choice(self.coordinators)
        net = chance.choice(("cluster", "storage", "upstream"))
        other = chance.choice([each for each in self.nodes if each != node])
        process = chance.choice(_processes(is_coordinator=node in self.coordinators))
        return chance.choice(
            (
                f"power {node} off",
                f"power {node} off",
                f"power {node} on",
                f"network {node} {chance.choice(('off', 'off', 'on'))}",
                f"link {node} {net} {chance.choice(('off', 'off', 'on'))}",
                f"link {node} {other} {chance.choice(('off', 'off', 'on'))}",
                f"store {node} {chance.choice(('off', 'on', 'stale', 'ambiguous'))}",
                f"zk {head} {chance.choice(('kill', 'start', 'slow', 'ok'))}",
                f"bmc {node} {chance.choice(('off', 'on', 'hang', 'lie'))}",
                f"bmc {node} is {other}",
                f"pause {node}",
                f"resume {node}",
                f"{process} {node} {chance.choice(('kill', 'pause', 'restart', 'start', 'resume'))}",
                f"agent {node} kill {chance.randint(0, 12)}",
                f"planner {head} kill {chance.randint(0, 12)}",
                f"ha {head} kill {chance.randint(0, 6)}",
                f"agent {node} stall {chance.randint(3, 60)} {chance.randint(0, 6)}",
                f"planner {head} stall {chance.randint(3, 30)} {chance.randint(0, 6)}",
                f"ha {head} stall {chance.randint(3, 60)} {chance.randint(0, 6)}",
                f"clock {node} rate {chance.choice(('0.99', '1.01', '1.005'))}",
                f"libvirt {node} {chance.choice(('hang', 'ok'))}",
                f"ceph {chance.choice(('off', 'on', 'slow 3'))}",
                f"vm {guest} crash",
                f"vm {guest} fail-start {chance.randint(1, 2)}",
                f"vm {guest} fail-migrate 1",
                f"vm {guest} open {node}",
                f"run {guest} migrate {node}",
                f"run {guest} relocate {node}",
                f"drain {node}",
                f"undrain {node}",
                f"reboot {node}",
                f"git {chance.choice(('off', 'on'))}",
                f"commit {chance.choice(COMMITS)}",
            )
        )

    def _together(self, node: NodeName) -> tuple[str, ...]:
        """Pairs and more, each of which takes away what would hide the other's harm."""
        chance = self.chance
        head = chance.choice(self.coordinators)
        guest = chance.choice(self.guests)
        gap = f"wait {chance.uniform(1, 25):.1f}"
        stall = f"ha {head} stall {chance.randint(5, 60)} {chance.randint(0, 5)}"
        return chance.choice(
            (
                # Nothing ends its guests, nothing proves anything, and then it is back.
                (f"bmc {node} off", f"network {node} off", gap, f"network {node} on"),
                (f"bmc {node} off", f"guard {node} pause", gap, f"guard {node} resume"),
                (f"bmc {node} lie", f"network {node} off", gap, f"network {node} on"),
                (f"bmc {node} off", f"pause {node}", gap, f"resume {node}"),
                # The agent has checked, and its node is given up before it acts.
                (
                    f"vm {guest} crash",
                    f"agent {node} stall {chance.randint(10, 60)} {chance.randint(0, 3)}",
                    f"store {node} off",
                    gap,
                    f"store {node} on",
                ),
                # Leaders that stand still amid a fence or a plan, and wake up as someone who was.
                (*(f"ha {each} stall 20 {chance.randint(0, 4)}" for each in self.coordinators),),
                (stall, f"power {node} off"),
                (stall, f"network {node} off", gap, f"network {node} on"),
                (
                    f"commit {chance.choice(COMMITS)}",
                    f"planner {head} stall {chance.randint(5, 30)} {chance.randint(0, 4)}",
                ),
                # Somebody looks into the disks of a guest that is between two starts.
                (
                    *(f"vm {guest} fail-start 2", f"vm {guest} power-off", "wait 3"),
                    *(f"vm {guest} open {node}", gap),
                ),
                # The others' clocks run away: they give it up while it still holds its lease.
                (
                    *(f"clock {each} rate {MAD_RATE}" for each in self.nodes if each != node),
                    *(f"bmc {node} off", f"agent {node} pause", f"network {node} off"),
                    *(f"wait {chance.uniform(3.6, 4.9):.1f}", f"network {node} on"),
                ),
                # A move that is cut off at either end.
                (
                    f"run {guest} migrate {node}",
                    f"wait {chance.uniform(0, 6):.1f}",
                    chance.choice((f"power {node} off", f"network {node} off", f"pause {node}")),
                ),
                (f"drain {node}", f"wait {chance.uniform(0, 10):.1f}", f"network {node} off"),
                # Who should let go of them does not listen.
                (f"agent {node} pause", f"drain {node}", gap, f"agent {node} resume"),
            )
        )


# --- making smaller ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a schedule came to. `problems` is empty where all is well."""

    seed: int
    shape: str
    script: tuple[str, ...]  # after the opening
    problems: tuple[str, ...]
    rules: frozenset[str]  # that were broken; "liveness" too


def shrunk(outcome: Outcome, play: Callable[[Sequence[str]], Outcome]) -> Outcome:
    """The same trouble with as few lines as possible: ever smaller pieces are left out.

    What is left breaks a rule that was broken before: another trouble is another story.
    """
    end = outcome.script.index(HEALED)
    kept, rest = list(outcome.script[:end]), outcome.script[end:]
    piece = max(1, len(kept) // 2)
    while piece:
        at = 0
        while at < len(kept):
            trial = play((*kept[:at], *kept[at + piece :], *rest))
            if trial.rules & outcome.rules:
                outcome, kept = trial, kept[:at] + kept[at + piece :]
            else:
                at += piece
        piece //= 2
    return outcome


def told(outcome: Outcome) -> str:
    """For people: what went wrong, and the script that shows it."""
    (shape,) = [each for each in SHAPES if each.name == outcome.shape]
    lines = [f"seed {outcome.seed} on {outcome.shape}:", *(f"  {p}" for p in outcome.problems)]
    return "\n".join([*lines, shape.opening().rstrip(), *outcome.script])
