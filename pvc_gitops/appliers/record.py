"""Objects that are nothing but their record: the claim's transaction does it all."""

from __future__ import annotations

from pvc_gitops.appliers.outcome import Applier, Outcome, Progress, Writes, unchecked
from pvc_gitops.errors import PrereqError
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import VmName
from pvc_gitops.model.plan import Step
from pvc_gitops.model.records import GuestPhase, PlacementRecord
from pvc_gitops.world.ports import World


def run(step: Step, world: World, progress: Progress) -> Outcome:
    """The record is written with the result."""
    del world, progress
    if step.record is None:
        return Outcome(evidence={"record": "dropped"})
    return Outcome(evidence={"record": step.record.digest})


def check_move(step: Step, world: World) -> None:
    """A start under way would go on under the old name."""
    kind, _, name = str(step.inputs["from"]).partition("/")
    if kind != Kind.VM:
        return
    stamped = world.store.read(paths.placement(VmName(name)))
    placement = None if stamped is None else decode(PlacementRecord, stamped.value)
    if placement is None:
        return
    if placement.state is GuestPhase.STARTING or placement.incoming is not None:
        raise PrereqError(f"{step.inputs['from']} is on its way; it is renamed when it has arrived")


def run_move(step: Step, world: World, progress: Progress) -> Outcome:
    """Done with the claim: one transaction took the record out of the one address and put it into the
    other, so that at no instant there were two, or none."""
    del world, progress
    return Outcome(evidence={"record": f"was {step.inputs['from']}"})


PUT = Applier(check=unchecked, run=run, writes=Writes.LAST, is_long=False)
MOVE = Applier(check=check_move, run=run_move, writes=Writes.MOVE, is_long=False)
KEEP = Applier(check=unchecked, run=run, writes=Writes.KEEP, is_long=False)
DROP = Applier(check=unchecked, run=run, writes=Writes.DROP, is_long=False)
