"""For random repositories and random next commits: every plan verifies, carrying it out leaves nothing
to do, from every interruption, and the same input gives the same bytes in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import repositories

from pvc_gitops.model.ids import CommitId
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.planner.remaining import amid, remaining_differs
from pvc_gitops.planner.replay import applied_after
from pvc_gitops.spec.load import load

SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def spec_of(files, number):
    return load(files, commit=CommitId(str(number) * 40))


def carried_out(spec, inventory):
    """Plan, verify, apply; the inventory afterwards."""
    made = plan(spec, inventory, POLICY, inventory.target)
    assert problems(made, inventory) == ()
    after = applied_after(made, inventory)
    return made, replace(after, target=made.id, accepted=spec.commit)


@SETTINGS
@given(st.lists(repositories(), min_size=1, max_size=3))
def test_after_every_commit_nothing_is_left_to_do(commits):
    inventory = empty(spec_of(commits[0], 1), 0)
    for number, files in enumerate(commits, 1):
        spec = spec_of(files, number)
        _, inventory = carried_out(spec, inventory)
        then = plan(spec, inventory, POLICY, inventory.target)
        assert [step.id for step in then.steps] == []
        assert problems(then, inventory) == ()


@SETTINGS
@given(repositories(), repositories(), st.data())
def test_from_every_interruption_the_rest_is_the_same_plan(first, second, data):
    _, before = carried_out(spec_of(first, 1), empty(spec_of(first, 1), 0))
    spec = spec_of(second, 2)
    made = plan(spec, before, POLICY, before.target)
    count = data.draw(st.integers(0, len(made.steps)))
    done = made.steps[:count]
    middle = amid(applied_after(made, before, done), made)
    rest = plan(spec, middle, POLICY, made.id)
    assert problems(rest, middle) == ()
    assert remaining_differs(rest, made, frozenset(step.id for step in done)) is False
    _, after = carried_out(spec, middle)
    after = replace(after, chosen={}, leases={})
    assert plan(spec, after, POLICY, after.target).steps == ()


PROGRAM = """
import sys
from pathlib import Path
from pvc_gitops.planner import codec
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.spec.load import load
root = Path(sys.argv[1])
paths = sorted(root.rglob("*.yaml"), reverse=sys.argv[2] == "reverse")
spec = load({p.relative_to(root).as_posix(): p.read_bytes() for p in paths}, commit=None)
sys.stdout.buffer.write(codec.plan_to_bytes(plan(spec, empty(spec, 0), POLICY, None)))
"""


@settings(max_examples=3, deadline=None, derandomize=True)
@given(repositories())
def test_the_same_input_gives_the_same_bytes_in_every_process(tmp_path_factory, files):
    root: Path = tmp_path_factory.mktemp("repo")
    for path, data in files.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(data)
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(root), order],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed, order in (("1", "forward"), ("2", "reverse"), ("77", "forward"))
    }
    assert len(outputs) == 1
    assert b'"format": "pvc-plan/1"' in outputs.pop()
