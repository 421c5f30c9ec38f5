"""Random faults: no rule is broken, and when all is healed everything runs."""

from __future__ import annotations

import pytest
from simulated import BASE

from pvc_gitops.sim.swarm import Outcome, healing, run, schedule, shrunk

SEEDS = 24


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_schedule_breaks_nothing_for_good(seed):
    outcome = run(seed, BASE)
    assert not outcome.problems, "\n".join([*outcome.problems, *outcome.script])


def test_the_same_seed_gives_the_same_schedule():
    assert schedule(7, ["hv1", "hv2"], ["web1"]) == schedule(7, ["hv1", "hv2"], ["web1"])
    assert schedule(7, ["hv1", "hv2"], ["web1"]) != schedule(8, ["hv1", "hv2"], ["web1"])


def test_what_was_found_is_made_as_small_as_it_can_be():
    def play(script):
        problems = ("both",) if {"power hv1 off", "pause hv2"} <= set(script) else ()
        return Outcome(seed=1, script=tuple(script), problems=problems)

    lines = [f"wait {n}" for n in range(9)]
    lines[2:2], lines[7:7] = ["power hv1 off"], ["pause hv2"]
    small = shrunk(play([*lines, *healing(["hv1"])]), play)
    assert small.script == ("power hv1 off", "pause hv2", *healing(["hv1"]))
