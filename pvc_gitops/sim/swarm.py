"""Random faults on simulated clusters: a phase in which anything may break, and one in which all is
mended and everything that should run must run.

    python -m pvc_gitops.sim.swarm --repo tests/golden/sim/base --seeds 0:20000

plays that range on all cores, makes what it finds as small as it can, and leaves it in a folder that
`pvc simulate` plays. Each kind of cluster is brought up once; every seed goes on from there in a child
of its own.
"""

from __future__ import annotations

import argparse
import gc
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from pvc_gitops.model.inventory import GuestState
from pvc_gitops.model.records import Applied, Phase, Wanted
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.draws import COMMITS, Group, Moment
from pvc_gitops.sim.node import SimNode
from pvc_gitops.sim.play import Player
from pvc_gitops.sim.schedules import (
    AGAIN_S,
    HEALED,
    HEALING_S,
    SHAPES,
    Outcome,
    Shape,
    committed,
    schedule,
    shape_of,
    shrunk,
    told,
)

DEEP: Final = 6  # calls that are told of an exception
LOOK_S: Final = 0.01  # how exactly a moment is met
FOUND_MAX: Final = 5  # a swarm that finds so much has found enough
Files = Mapping[str, bytes]

_READY: dict[str, Player] = {}  # by shape; a worker's own


def ready(shape: Shape, base: Files) -> Player:
    """A cluster of that shape, up and applied."""
    files = shape.files(base)
    player = Player(SimCluster(files), read_folder=lambda name: committed(files, name))
    player.play(shape.opening(), name=shape.name)
    return player


def run(seed: int, base: Files, script: Sequence[str] | None = None) -> Outcome:
    """Break and heal one cluster, in a child process: what was wrong on the way or at the end.

    `script`: lines to play instead of what the seed draws.
    """
    shape = shape_of(seed)
    if shape.name not in _READY:
        _READY[shape.name] = ready(shape, base)
        gc.collect()
        gc.freeze()  # children share it
    player = _READY[shape.name]
    guests = tuple(player.cluster.placements())
    groups = schedule(seed, shape, guests) if script is None else (tuple(script),)
    return _in_child(partial(_break, player, shape, seed, groups))


def _break(player: Player, shape: Shape, seed: int, groups: Iterable[Group]) -> Outcome:
    gc.disable()  # it does not live long
    story = _Story(player=player, name=f"seed {seed}")
    raised: tuple[str, ...] = ()
    try:
        for group in groups:
            story.play(group)
        if not player.is_settled or _not_running(player.cluster):
            story.play((f"wait {AGAIN_S:.0f}", f"settle {HEALING_S:.0f}"))
    except Exception as error:  # noqa: BLE001  the script that shows it is worth more than a trace
        last = traceback.extract_tb(error.__traceback__)[-DEEP:]
        where = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in last[::-1])
        raised = (f"raises {type(error).__name__}: {error} ({where})",)
    return _outcome(player, shape, seed, tuple(story.lines), raised)


def _outcome(
    player: Player, shape: Shape, seed: int, lines: tuple[str, ...], raised: tuple[str, ...]
) -> Outcome:
    cluster = player.cluster
    found = [f"{v.rule} at {v.t:.1f} s: {v.text}" for v in cluster.checkers.violations]
    rules = {violation.rule for violation in cluster.checkers.violations}
    rules |= {text.partition(":")[0] for text in raised}
    late: list[str] = []
    if not raised:
        late = _not_running(cluster)
        if not player.is_settled:
            late = [f"not at rest: {cluster.events[-1].get('pending')}", *late]
    return Outcome(
        seed=seed,
        shape=shape.name,
        script=lines if HEALED in lines else (*lines, HEALED),
        problems=(*found, *late, *raised),
        rules=frozenset(rules | ({"liveness"} if late else set())),
    )


@dataclass(slots=True)
class _Story:
    """What is drawn, played, and as the script that it turns into."""

    player: Player
    name: str
    lines: list[str] = field(default_factory=list)

    def play(self, group: Group) -> None:
        names = _Names(self.player.cluster)
        for step in group:
            if isinstance(step, Moment):
                self.lines.append(f"wait {self._await(step):.2f}")
                continue
            line = step.format_map(names)
            self.lines.append(line)
            self.player.play(f"{line}\n", name=self.name)

    def _await(self, moment: Moment) -> float:
        """For how long the moment was waited for; by now it is over."""
        cluster = self.player.cluster
        began_s, told, looks = cluster.kernel.now_s, len(cluster.events), 0
        while looks * LOOK_S < moment.most_s:
            looks += 1
            cluster.kernel.run_until(began_s + looks * LOOK_S)
            if any(event["kind"] in moment.kinds for event in cluster.events[told:]):
                break
            told = len(cluster.events)
        return looks * LOOK_S


class _Names(dict[str, str]):
    """Who leads, or has a guest, when it is first asked."""

    def __init__(self, cluster: SimCluster) -> None:
        super().__init__()
        self.cluster = cluster

    def __missing__(self, key: str) -> str:
        cluster = self.cluster
        placement = cluster.placements().get(key)
        leads = (node.name for node in cluster.nodes.values() if _leads(node, key))
        found = next(leads, next(iter(cluster.nodes))) if placement is None else placement.owner
        return self.setdefault(key, found)


def _leads(node: SimNode, role: str) -> bool:
    process = {"ha": node.ha, "planner": node.planner}.get(role)
    is_at_work = process is not None and process.is_up and not process.stands_still
    return is_at_work and process is not None and process.memory.epoch is not None


def _not_running(cluster: SimCluster) -> list[str]:
    found = []
    for name, placement in cluster.placements().items():
        record = cluster.get(f"/pvc/guests/{name}", Applied)
        if record is None or record.phase is not Phase.PRESENT:
            continue
        domain = cluster.nodes[placement.owner].guests.domains.get(name)
        runs = domain is not None and domain.state is GuestState.RUNNING
        if record.wanted is Wanted.RUNNING and not runs and not placement.rests:
            found.append(
                f"{name} does not run: {placement.state} on {placement.owner}, {placement.why}"
            )
    return found


def _in_child(work: Callable[[], Outcome]) -> Outcome:
    """A copy of this process does it and is gone."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(work(), pipe)
        except BaseException:  # noqa: BLE001  the caller's own copy of this stack goes on, not ours
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer: Outcome = pickle.load(pipe)  # noqa: S301  our own child's
    os.waitpid(child, 0)
    return answer


# --- many -------------------------------------------------------------------------------------------


def play_all(
    seeds: Iterable[int],
    base: Files,
    *,
    jobs: int = os.cpu_count() or 1,
    before: Callable[[], None] | None = None,
) -> Iterator[Outcome]:
    """All of them, as they end, on so many cores. `before` is done once in each worker."""
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("fork"), initializer=_begin, initargs=(before,)
    ) as pool:
        yield from pool.map(partial(_one, base), seeds, chunksize=4)


def _begin(before: Callable[[], None] | None) -> None:
    _READY.clear()
    if before is not None:
        before()


def _one(base: Files, seed: int) -> Outcome:
    return run(seed, base)


def smallest(outcome: Outcome, base: Files) -> Outcome:
    """What was found, with as few lines as show it."""
    return shrunk(outcome, partial(run, outcome.seed, base))


def keep(outcome: Outcome, base: Files, folder: Path) -> Path:
    """Write down the repository, the commits and the script. Returns the script's path."""
    (shape,) = [each for each in SHAPES if each.name == outcome.shape]
    files = shape.files(base)
    trees = {"repo": files, **{name: committed(files, name) for name in COMMITS}}
    for tree, content in trees.items():
        for name, data in content.items():
            path = folder / tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    script = folder / "script.txt"
    script.write_text(f"{shape.opening()}{chr(10).join(outcome.script)}\n", encoding="utf-8")
    return script


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m pvc_gitops.sim.swarm", description=__doc__)
    parser.add_argument("--repo", type=Path, required=True, help="the repository to grow from")
    parser.add_argument("--seeds", required=True, help="FIRST:END, or one seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, default=Path("swarm-found"), help="for what it finds")
    given = parser.parse_args()
    first, _, end = given.seeds.partition(":")
    seeds = range(int(first), int(end) if end else int(first) + 1)
    base = {
        str(path.relative_to(given.repo)): path.read_bytes()
        for path in sorted(given.repo.rglob("*"))
        if path.is_file()
    }
    began_s, played, found = time.monotonic(), 0, 0
    for outcome in play_all(seeds, base, jobs=given.jobs):
        played += 1
        if not outcome.problems:
            continue
        found += 1
        small = smallest(outcome, base)
        folder = given.keep / f"seed-{outcome.seed}"
        script = keep(small, base, folder)
        print(told(small), f"pvc simulate --repo {folder / 'repo'} {script}", "", sep="\n")
        sys.stdout.flush()
        if found == FOUND_MAX:
            break
    seconds = time.monotonic() - began_s
    print(f"{played} seeds, {found} with trouble, {seconds:.0f} s on {given.jobs} processes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
