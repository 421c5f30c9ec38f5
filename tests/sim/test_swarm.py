"""Random faults: no rule is broken, and when all is mended everything runs."""

from __future__ import annotations

from random import Random

import pytest
from simulated import BASE

from pvc_gitops.model.ids import NodeName
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.draws import COMMITS, drawn
from pvc_gitops.sim.play import Player
from pvc_gitops.sim.schedules import (
    HEALED,
    SHAPES,
    Outcome,
    committed,
    healing,
    schedule,
    shape_of,
    shrunk,
    told,
)
from pvc_gitops.sim.script import Names, parse
from pvc_gitops.sim.swarm import keep, run
from pvc_gitops.spec.load import load

SEEDS = 200
FEW = 20  # in one test: each worker brings the clusters up for itself
GUESTS = ("app1", "app2", "db1", "web1", "web2", "web3")


@pytest.mark.parametrize("first", range(0, SEEDS, FEW))
def test_random_schedules_break_nothing_for_good(first):
    outcomes = (run(seed, BASE) for seed in range(first, first + FEW))
    bad = [told(outcome) for outcome in outcomes if outcome.problems]
    assert not bad, "\n\n".join(bad)


def test_the_same_seed_gives_the_same_story():
    shape = shape_of(7)
    assert schedule(7, shape, GUESTS) == schedule(7, shape, GUESTS)
    assert schedule(7, shape, GUESTS) != schedule(8, shape, GUESTS)
    assert run(7, BASE) == run(7, BASE)


def test_what_a_seed_has_waited_for_and_named_is_played_again_as_it_was():
    """Its script alone, without its eyes, to the event: what was found must be found again."""
    for seed in (1, 6, 14):
        outcome = run(seed, BASE)
        assert not any("{" in line for line in outcome.script)
        assert run(seed, BASE, outcome.script) == outcome


def test_what_raises_is_told_with_the_script_that_shows_it():
    outcome = run(1, BASE, ("wait 1", "power hv9 off"))
    assert outcome.rules == {"raises ScriptError"}
    assert outcome.script == ("wait 1", "power hv9 off", HEALED)
    (problem,) = outcome.problems
    assert "the repository declares no node 'hv9'" in problem


def test_all_that_can_be_drawn_is_a_script_and_each_seed_has_its_taste():
    nodes = tuple(NodeName(f"hv{number}") for number in range(1, 5))
    names = Names(nodes=frozenset(nodes), coordinators=frozenset(nodes[:3]))
    said = dict.fromkeys(("ha", "planner", *GUESTS), "hv1")
    verbs, few = set(), 0
    for seed in range(300):
        groups = drawn(Random(seed), nodes, nodes[:3], GUESTS)
        lines = [s.format_map(said) for group in groups for s in group if isinstance(s, str)]
        commands = parse("\n".join(lines), name=f"seed {seed}", names=names)
        verbs |= {command.words[0] for command in commands}
        few += len({command.words[0] for command in commands}) < 6
        assert HEALED not in lines
    assert verbs >= {"power", "network", "link", "store", "zk", "bmc", "pause", "clock", "libvirt"}
    assert verbs >= {"guard", "agent", "planner", "ha", "ceph", "vm", "run", "drain", "commit"}
    assert few > 30, "seeds that know few kinds of faults play what only those do together"


def test_every_size_from_three_to_seven_is_played_and_is_a_valid_repository():
    assert {shape.nodes for shape in SHAPES} == {3, 4, 5, 6, 7}
    assert {shape_of(seed).name for seed in range(SEEDS)} == {shape.name for shape in SHAPES}
    for shape in SHAPES:
        files = shape.files(BASE)
        assert len(load(files, commit=None).nodes) == shape.nodes
        for name in COMMITS:
            assert committed(files, name) != files


def test_what_is_kept_is_played_again_by_the_script_alone(tmp_path):
    outcome = run(3, BASE)
    script = keep(outcome, BASE, tmp_path)
    repo = tmp_path / "repo"
    files = {str(p.relative_to(repo)): p.read_bytes() for p in repo.rglob("*") if p.is_file()}
    player = Player(SimCluster(files), read_folder=lambda name: committed(files, name))
    player.play(script.read_text())
    (shape,) = [each for each in SHAPES if each.name == outcome.shape]
    assert player.is_settled
    assert len(player.cluster.nodes) == shape.nodes


def outcome_of(script, *rules):
    return Outcome(
        seed=1, shape="three", script=tuple(script), problems=rules, rules=frozenset(rules)
    )


def test_what_was_found_is_made_as_small_as_it_can_be():
    def play(script):
        is_bad = {"power hv1 off", "pause hv2"} <= set(script)
        return outcome_of(script, *(("both",) if is_bad else ()))

    (shape,) = [each for each in SHAPES if each.name == "three"]
    lines = [f"wait {n}" for n in range(9)]
    lines[2:2], lines[7:7] = ["power hv1 off"], ["pause hv2"]
    mended = (HEALED, *healing(shape, GUESTS))
    small = shrunk(play([*lines, *mended]), play)
    assert small.script == ("power hv1 off", "pause hv2", *mended)


def test_another_trouble_is_not_taken_for_the_same_one():
    def play(script):
        return outcome_of(script, "one" if "pause hv2" in script else "other")

    small = shrunk(play(["wait 1", "pause hv2", "wait 2", HEALED]), play)
    assert small.script == ("pause hv2", HEALED)
