"""Random stories: clusters to break, what each seed does to one (`draws`), everything mended; and how a
script is made smaller.

What a seed does waits for moments and names whoever leads then, so it becomes a script while it is
played: one like a person writes, that `pvc simulate` plays again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.values import dataclass
from pvc_gitops.sim.draws import Group, drawn, processes

HEALING_S: Final = 1800.0  # a node boots in 60 s, gives up and tries again within minutes
AGAIN_S: Final = 150.0  # a guest whose starts failed is tried again once a minute
HEALED: Final = "# healing"


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


def schedule(seed: int, shape: Shape, guests: Sequence[str]) -> tuple[Group, ...]:
    """What is played after the opening: faults with gaps, then healing."""
    chance = random.Random(seed)  # noqa: S311  a scenario, no secret
    nodes = [NodeName(f"hv{number}") for number in range(1, shape.nodes + 1)]
    faults = drawn(chance, nodes, nodes[: shape.coordinators], guests)
    return (*faults, (HEALED, *healing(shape, guests)))


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
        for process in processes(is_coordinator=is_coordinator):
            # A new process has no fuse that burns on.
            acts += [f"{process} {node} resume", f"{process} {node} restart"]
        lines.append("; ".join(acts))
    return (*lines, f"settle {HEALING_S:.0f}")


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
