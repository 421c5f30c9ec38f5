"""Of every golden plan, every edge that no other implies: without it the verifier objects."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_golden_plans import CASES, HERE, situation

from pvc_gitops.planner.check import problems
from pvc_gitops.planner.planner import POLICY, plan


def is_implied(made, step, need):
    """Whether it comes after it by way of its other needs."""
    known = {each.id: each for each in made.steps}
    open_ = [each for each in step.needs if each != need]
    seen = set()
    while open_:
        name = open_.pop()
        if name not in seen:
            seen.add(name)
            open_ += known[name].needs
    return need in seen


def without(made, step, need):
    less = replace(step, needs=tuple(each for each in step.needs if each != need))
    return replace(made, steps=tuple(less if each is step else each for each in made.steps))


@pytest.mark.parametrize("name", CASES)
def test_an_edge_that_is_dropped_is_missed(name):
    spec, inventory = situation(HERE / name)
    made = plan(spec, inventory, POLICY, inventory.target)
    for step in made.steps:
        for need in step.needs:
            if not is_implied(made, step, need):
                assert problems(without(made, step, need), inventory), (step.id, need)
