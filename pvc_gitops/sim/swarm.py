"""Random faults on a simulated cluster: a phase in which anything may break, and one in which all is
healed and everything that should run must run.

The schedule is a script like one that a person writes: what was found can be played again, and made
smaller (`shrunk`) until no line can be left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from pvc_gitops.model.inventory import GuestState
from pvc_gitops.model.records import Applied, Phase, Wanted
from pvc_gitops.model.values import dataclass
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.play import Player

FAULTS_MIN: Final = 2
FAULTS_MAX: Final = 9
GAP_MAX_S: Final = 40.0
HEALING_S: Final = 1800.0  # a node boots in 60 s, gives up and tries again within minutes
_PROCESSES: Final = ("agent", "planner", "ha", "guard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a schedule came to. `problems` is empty where all is well."""

    seed: int
    script: tuple[str, ...]
    problems: tuple[str, ...]


def schedule(seed: int, nodes: Sequence[str], guests: Sequence[str]) -> tuple[str, ...]:
    """The lines of a random script: faults with gaps, then healing."""
    chance = random.Random(seed)  # noqa: S311  a scenario, no secret
    lines = []
    for _ in range(chance.randint(FAULTS_MIN, FAULTS_MAX)):
        lines.append(_fault(chance, nodes, guests))
        if chance.random() < 0.8:  # noqa: PLR2004  the others happen at once
            lines.append(f"wait {chance.uniform(0, GAP_MAX_S):.1f}")
    return (*lines, *healing(nodes))


def healing(nodes: Iterable[str]) -> tuple[str, ...]:
    """Everything that a schedule can break, mended."""
    lines = ["# healing"]
    for node in nodes:
        lines += [
            f"resume {node}",
            f"network {node} on",
            f"store {node} on",
            f"bmc {node} is {node}",
        ]
        lines += [f"bmc {node} on", f"power {node} on"]
        lines += [f"{process} {node} resume" for process in _PROCESSES]
        # A new process has no fuse that burns on.
        lines += [f"{process} {node} restart" for process in _PROCESSES]
    # A guest whose starts failed is tried again once a minute.
    return (*lines, f"settle {HEALING_S:.0f}", "wait 150", f"settle {HEALING_S:.0f}")


def _fault(chance: random.Random, nodes: Sequence[str], guests: Sequence[str]) -> str:
    node = chance.choice(nodes)
    process = chance.choice(_PROCESSES)
    other = chance.choice(nodes)
    return chance.choice(
        (
            f"power {node} off",
            f"power {node} off",
            f"power {node} on",
            f"network {node} off",
            f"network {node} on",
            f"store {node} {chance.choice(('off', 'on', 'stale', 'ambiguous'))}",
            f"bmc {node} {chance.choice(('off', 'on', 'hang', 'lie'))}",
            f"bmc {node} is {other}",
            f"pause {node}",
            f"resume {node}",
            f"{process} {node} {chance.choice(('kill', 'pause', 'restart', 'start', 'resume'))}",
            f"{chance.choice(('agent', 'planner', 'ha'))} {node} kill {chance.randint(0, 12)}",
            f"vm {chance.choice(guests)} crash",
            f"vm {chance.choice(guests)} fail-start {chance.randint(1, 2)}",
        )
    )


def run(seed: int, files: Mapping[str, bytes], script: Sequence[str] | None = None) -> Outcome:
    """Boot, apply, break, heal; and what was wrong on the way or at the end."""
    cluster = SimCluster(files, has_autonomy=True)
    player = Player(cluster, read_folder=_no_folder, seed=seed)
    nodes = tuple(cluster.nodes)
    player.play("".join(f"power {node} on\n" for node in nodes) + "settle\n")
    guests = tuple(cluster.placements())
    lines = schedule(seed, nodes, guests) if script is None else tuple(script)
    player.play("\n".join(lines) + "\n", name=f"seed {seed}")
    found = [f"{v.rule} at {v.t:.1f} s: {v.text}" for v in cluster.checkers.violations]
    if not player.is_settled:
        found.append(f"not at rest: {cluster.events[-1].get('pending')}")
    found += _not_running(cluster)
    return Outcome(seed=seed, script=lines, problems=tuple(found))


def _not_running(cluster: SimCluster) -> list[str]:
    found = []
    for name, placement in cluster.placements().items():
        record = cluster.get(f"/pvc/guests/{name}", Applied)
        if record is None or record.phase is not Phase.PRESENT:
            continue
        domain = cluster.nodes[placement.owner].guests.domains.get(name)
        runs = domain is not None and domain.state is GuestState.RUNNING
        if record.wanted is Wanted.RUNNING and not runs:
            found.append(
                f"{name} does not run: {placement.state} on {placement.owner}, {placement.why}"
            )
    return found


def shrunk(outcome: Outcome, play: Callable[[Sequence[str]], Outcome]) -> Outcome:
    """The same trouble with as few lines as possible: ever smaller pieces are left out."""
    end = outcome.script.index("# healing")
    kept, rest = list(outcome.script[:end]), outcome.script[end:]
    piece = max(1, len(kept) // 2)
    while piece:
        at = 0
        while at < len(kept):
            trial = play((*kept[:at], *kept[at + piece :], *rest))
            if trial.problems:
                outcome, kept = trial, kept[:at] + kept[at + piece :]
            else:
                at += piece
        piece //= 2
    return outcome


def _no_folder(name: str) -> Mapping[str, bytes]:
    raise AssertionError(f"a swarm commits nothing, and not {name}")
