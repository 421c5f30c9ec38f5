"""For random repositories: what is exported replays to the same bytes, in other processes too; and a
proposal onto its base does what its merge then does."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from strategies import repositories

from pvc_gitops.model.export import Export, files_from_text, files_to_text
from pvc_gitops.model.ids import CommitId
from pvc_gitops.planner import codec
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.planner.preview import preview
from pvc_gitops.planner.replay import applied_after
from pvc_gitops.planner.rules import judging
from pvc_gitops.spec.load import load

SETTINGS = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
REPLAY = """
import sys
from pathlib import Path
from pvc_gitops.model.export import files_from_text
from pvc_gitops.planner import codec
from pvc_gitops.planner.planner import plan
from pvc_gitops.spec.load import load
export = codec.export_from_bytes(Path(sys.argv[1]).read_bytes())
spec = load(files_from_text(export.files), commit=export.commit)
made = plan(spec, export.inventory, export.policy, export.parent)
sys.stdout.buffer.write(codec.plan_to_bytes(made))
"""


def situation(first, second):
    """Two commits, the first applied; the rules of the first judge the second."""
    base = load(first, commit=CommitId("1" * 40))
    spec = load(second, commit=CommitId("2" * 40))
    inventory = empty(base, 0)
    made = plan(base, inventory, POLICY, None)
    inventory = replace(applied_after(made, inventory), target=made.id, accepted=base.commit)
    return base, spec, inventory


@SETTINGS
@given(repositories(), repositories())
def test_an_export_is_all_that_a_plan_is_computed_from(first, second):
    base, spec, inventory = situation(first, second)
    policy = replace(POLICY, rules=judging(base, spec))
    export = Export(
        inventory=inventory, policy=policy, parent=inventory.target, commit=spec.commit,
        files=files_to_text(second),
    )  # fmt: skip
    data = codec.export_to_bytes(export)
    again = codec.export_from_bytes(data)
    assert again == export
    assert files_from_text(again.files) == dict(second)
    assert codec.export_to_bytes(again) == data
    made = plan(spec, inventory, policy, inventory.target)
    replayed = plan(spec, again.inventory, again.policy, again.parent)
    assert codec.plan_to_bytes(replayed) == codec.plan_to_bytes(made)


@SETTINGS
@given(repositories(), repositories())
def test_a_preview_is_the_plan_of_the_merge(first, second):
    base, spec, inventory = situation(first, second)
    shown = preview(spec, base, inventory)
    # The cluster plans the merge commit when it is accepted, by the rules of the one before.
    policy = replace(POLICY, rules=judging(base, spec))
    accepted = replace(inventory, accepted=spec.commit)
    done = plan(spec, accepted, policy, inventory.target)
    assert shown.plan.effect == done.effect
    assert shown.plan.steps == done.steps
    assert shown.already <= {change.address for change in shown.plan.changes}


@settings(SETTINGS, max_examples=1)
@given(repositories())
def test_other_processes_with_other_hash_seeds_give_the_same_bytes(first):
    base, spec, inventory = situation(first, first)
    export = Export(
        inventory=inventory, policy=replace(POLICY, rules=judging(base, spec)), parent=None,
        commit=spec.commit, files=files_to_text(first),
    )  # fmt: skip
    expected = codec.plan_to_bytes(plan(spec, inventory, export.policy, None))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "export.json"
        file.write_bytes(codec.export_to_bytes(export))
        for seed in ("0", "31337"):
            done = subprocess.run(
                [sys.executable, "-c", REPLAY, str(file)],
                capture_output=True,
                check=True,
                timeout=120,
                env={**os.environ, "PYTHONHASHSEED": seed},
            )
            assert done.stdout == expected
