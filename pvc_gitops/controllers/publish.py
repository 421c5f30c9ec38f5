"""Making a plan the target: its slices first, the target last, by compare-and-set (D3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pvc_gitops.controllers import blobs, decisions, ledger, slices
from pvc_gitops.controllers.ledger import Note
from pvc_gitops.controllers.records import put, read_all
from pvc_gitops.model import paths
from pvc_gitops.model.export import Export
from pvc_gitops.model.ids import Generation, PlanId
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.ledger import EntryKind
from pvc_gitops.model.plan import Plan, PlanPolicy
from pvc_gitops.model.records import Claim, Target
from pvc_gitops.world.ports import Delete, Leadership, Op, World

ADDRESSES_TOLD: Final = 200  # of a plan, in the ledger; its steps tell all of them
PLANS_KEPT: Final = 20  # D3; `pvc history` reads older ones from the ledger


def publish(
    world: World,
    new: Plan,
    target: Target | None,
    inv: Inventory,
    lead: Leadership,
    *,
    policy: PlanPolicy,
    also: Sequence[Op] = (),
    notes: Sequence[Note] = (),
) -> None:
    """Write the plan and what it was computed from, then make it the target, with whatever changes in
    the same moment.

    Raises StoreConflict where another leader was first, or something in `also` does not hold.
    """
    store = world.store
    assert inv.accepted is not None
    generation = Generation(1 if target is None else target.generation + 1)
    inputs = Export(inventory=inv, policy=policy, parent=new.parent, commit=inv.accepted)
    ops = [
        op
        for op in (
            *slices.creates(new, formation=inv.formation, generation=generation),
            *decisions.creates(new.id, inputs),
        )
        # A leader before us may have been killed while it wrote the very same plan.
        if store.read(op.path) is None
    ]
    aim = Target(
        plan=new.id,
        generation=generation,
        planner_version=new.planner_version,
        commit=inv.accepted,
        published_at_s=world.clock.now_s(),
    )
    before = None if target is None else target.version
    for batch in blobs.batches(ops):
        store.commit((*lead.checks, *batch))
    told = ledger.appending(store, [_published(new, generation), *notes], aim.published_at_s)
    store.commit((*lead.checks, put(paths.TARGET, aim, before), *also, *told))
    world.journal.event(
        "plan_published",
        plan=new.id,
        generation=generation,
        commit=inv.accepted,
        steps=len(new.steps),
        blocked=new.summary.blocked,
    )
    sweep(world, lead, keep=new.id)


def _published(new: Plan, generation: Generation) -> Note:
    summary = new.summary
    return Note(
        kind=EntryKind.PLAN,
        text=f"plan {new.id}: {summary.create} to create, {summary.update} to change, "
        f"{summary.delete} to destroy, {summary.blocked} blocked",
        by="planner",
        addresses=tuple(change.address for change in new.changes[:ADDRESSES_TOLD]),
        commit=new.commit,
        plan=new.id,
        data={
            "effect": new.effect,
            "generation": str(generation),
            "parent": new.parent or "",
            "planner": new.planner_version,
            "changes": str(len(new.changes)),
        },
    )


def sweep(world: World, lead: Leadership, *, keep: PlanId) -> None:
    """Drop all but the last plans. One at a time: an interrupted sweep is finished by the next.

    A claim is released by the end of its step, and its node may be away for long: the plan waits.
    """
    store = world.store
    plans = store.read_children(paths.PLANS)
    by_age = sorted(plans, key=lambda name: (plans[name].value.get("generation", 0), name))
    needed = {claim.plan for claim in read_all(store, paths.CLAIMS, Claim).values()}
    for name in by_age[:-PLANS_KEPT]:
        if name == keep or name in needed:
            continue
        doomed = list(_tree(world, f"{paths.PLANS}/{name}"))
        for batch in blobs.batches(doomed):
            store.commit((*lead.checks, *batch))


def _tree(world: World, path: str) -> Sequence[Op]:
    stamped = world.store.read(path)
    if stamped is None:
        return ()
    below: list[Op] = []
    for name in sorted(world.store.read_children(path)):
        below.extend(_tree(world, f"{path}/{name}"))
    return (*below, Delete(path=path, version=stamped.version))
