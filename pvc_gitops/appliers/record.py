"""Objects that are nothing but their record: the claim's transaction does it all."""

from __future__ import annotations

from pvc_gitops.appliers.outcome import Applier, Outcome, Progress, Writes, unchecked
from pvc_gitops.model.plan import Step
from pvc_gitops.world.ports import World


def run(step: Step, world: World, progress: Progress) -> Outcome:
    """The record is written with the result."""
    del world, progress
    if step.record is None:
        return Outcome(evidence={"record": "dropped"})
    return Outcome(evidence={"record": step.record.digest})


PUT = Applier(check=unchecked, run=run, writes=Writes.LAST, is_long=False)
DROP = Applier(check=unchecked, run=run, writes=Writes.DROP, is_long=False)
