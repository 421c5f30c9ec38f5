"""What plans are computed from: by which rules, and the inputs of each, kept so that it can be replayed.

A plan names its inputs by a digest only. Kept beside it, compressed, they answer "why did it do that?"
on any machine, byte for byte, as long as the plan itself is kept.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator

from pvc_gitops.controllers import blobs, source
from pvc_gitops.controllers.records import read
from pvc_gitops.errors import RepoError, SpecError, UsageError
from pvc_gitops.model import paths
from pvc_gitops.model.export import Export
from pvc_gitops.model.ids import CommitId, PlanId
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import PlanPolicy
from pvc_gitops.model.records import Accepted
from pvc_gitops.model.values import replace
from pvc_gitops.planner.codec import export_from_bytes, export_to_bytes
from pvc_gitops.planner.planner import POLICY
from pvc_gitops.planner.rules import judging
from pvc_gitops.world.ports import Create, Store, World


def policy_of(world: World, commit: CommitId) -> PlanPolicy:
    """What a commit is planned by: the rules of the one accepted before it, where they judge it."""
    accepted = read(world.store, paths.ACCEPTED, Accepted)
    if accepted is None or accepted.commit != commit or accepted.before is None:
        return POLICY
    try:
        before = source.spec_of(world.repo, accepted.before)
        return replace(POLICY, rules=judging(before, source.spec_of(world.repo, commit)))
    except (RepoError, SpecError):
        # A mirror that was made anew holds the history, too; a release that reads less than the one
        # before has no other rules to judge by.
        return POLICY


def inputs_now(world: World, inventory: Inventory) -> Export:
    """What the planner would be given now."""
    commit = inventory.accepted
    return Export(
        inventory=inventory,
        policy=POLICY if commit is None else policy_of(world, commit),
        parent=inventory.target,
        commit=commit,
    )


def creates(plan: PlanId, inputs: Export) -> Iterator[Create]:
    """The records that keep a plan's inputs; they go with the plan."""
    data = zlib.compress(export_to_bytes(inputs), level=9)
    text = base64.b64encode(data).decode()
    yield from blobs.creates(paths.plan_inputs(plan), {"zlib": text})


def inputs_of(store: Store, plan: PlanId) -> Export | None:
    """What a plan was computed from; None where it is not kept. Raises UsageError."""
    value = blobs.read(store, paths.plan_inputs(plan))
    if value is None:
        return None
    try:
        return export_from_bytes(zlib.decompress(base64.b64decode(value["zlib"])))
    except (zlib.error, ValueError, KeyError) as err:
        raise UsageError(f"what plan {plan} was computed from does not read: {err}") from err
