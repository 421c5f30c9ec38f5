"""(spec, inventory, policy, parent) -> Plan. Pure: no I/O, no clock, no chance.

The same arguments give the same plan, byte for byte, in every process (D1). This file is the table of
contents; whatever depends on order between kinds stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address, PlanId, address
from pvc_gitops.model.inventory import Inventory, NodeState
from pvc_gitops.model.plan import (
    Action,
    CapacityVerdict,
    Change,
    ItemKind,
    Loss,
    Permit,
    Plan,
    PlanPolicy,
    Step,
    Summary,
)
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.transitions import Word
from pvc_gitops.planner import drift, identity, moves, removal, safety, wishes
from pvc_gitops.planner.balance import rebalanced
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.guests import plan_guests
from pvc_gitops.planner.order import duration_s, ordered
from pvc_gitops.planner.steps import plain
from pvc_gitops.planner.steps.images import plan_image
from pvc_gitops.planner.steps.networks import plan_network
from pvc_gitops.planner.steps.pools import plan_pool
from pvc_gitops.planner.steps.volumes import plan_volume
from pvc_gitops.planner.survival import Survival
from pvc_gitops.planner.trash import plan_trash
from pvc_gitops.planner.words import plan_words

# Raised whenever the same arguments would give another plan.
PLANNER_VERSION: Final = "0.1.0"
POLICY: Final = PlanPolicy(planner_version=PLANNER_VERSION)

_CHANGING: Final = frozenset({Action.UPDATE, Action.MOVE})
_EXIT_NOTHING: Final = 0
_EXIT_CHANGES: Final = 2
_EXIT_BLOCKED: Final = 3


def plan(
    spec: ClusterSpec, inventory: Inventory, policy: PlanPolicy, parent: PlanId | None
) -> Plan:
    """What to do so that the cluster becomes what the commit says, and what is in the way.

    Args:
        spec: a valid commit, or folder.
        inventory: what the nodes observed; `now_s` in whole minutes.
        policy: what else the outcome depends on.
        parent: the plan in force, which this one would replace.
    """
    context = moves.arranged(Context(spec=spec, inventory=inventory, policy=policy))
    draft, survival = _drafted(context)
    over = safety.over_disrupted(context, draft.changes)
    if over:
        # Whom a commit disturbs is known when all of it is planned: so it is planned once more.
        context = replace(context, calm=frozenset(over))
        draft, survival = _drafted(context)
        _report_calm(draft, over)
    return _finished(context, inventory, draft, survival, parent)


def _drafted(context: Context) -> tuple[Draft, Survival]:
    """Everything in its order."""
    spec, draft = context.spec, Draft(context.inventory.estimates)
    moves.plan_moves(context, draft)
    going = removal.doomed(context, draft)
    removal.remove_guests(context, draft, going)
    for kind in plain.KINDS:
        for doc in spec.of_kind(kind):
            plain.plan_record(context, draft, doc)
    for doc in spec.of_kind(Kind.POOL):
        plan_pool(context, draft, doc)
    for doc in spec.of_kind(Kind.IMAGE):
        plan_image(context, draft, doc)
    for doc in spec.of_kind(Kind.VOLUME):
        plan_volume(context, draft, doc)
    for doc in spec.of_kind(Kind.NETWORK):
        plan_network(context, draft, doc)
    table, survival = plan_guests(context, draft)
    draft.rebalance = rebalanced(context, draft, table)
    removal.remove_others(context, draft, going)
    plan_trash(context, draft)
    plan_words(context, draft)
    moves.tell_moves(context, draft)
    _report_nodes(context, draft)
    drift.report(context, draft)
    wishes.tell(context, draft)
    _report_capacity(context, draft, survival)
    return draft, survival


def _report_calm(draft: Draft, over: Mapping[Address, str]) -> None:
    names = ", ".join(sorted(over))
    for of, text in sorted(over.items()):
        draft.item(
            ItemKind.BLOCKED,
            of,
            "disrupt-budget",
            text,
            remedy=f"add to transitions.yaml: `disrupted: [{names}]` (pvc allow --last), or change "
            "fewer in one commit",
            permits=(Permit(word=Word.DISRUPTED, address=of),),
        )


def exit_code(of: Plan) -> int:
    """0 nothing to do, 2 changes, 3 something is blocked (DESIGN section 5)."""
    if of.summary.blocked:
        return _EXIT_BLOCKED
    return _EXIT_CHANGES if of.steps else _EXIT_NOTHING


def is_outdated(published_by: str | None) -> bool:
    """Whether a newer planner than this one has published; it may know reasons that this one does not."""

    def parts(version: str) -> tuple[int, ...]:
        return tuple(int(part) for part in version.split("."))

    return published_by is not None and parts(published_by) > parts(PLANNER_VERSION)


def _finished(
    context: Context,
    inventory: Inventory,
    draft: Draft,
    survival: Survival,
    parent: PlanId | None,
) -> Plan:
    """`inventory`: as it was observed, before any address was changed in it."""
    steps = ordered(draft.steps)
    changes = tuple(change for _, change in sorted(draft.changes.items()))
    report = tuple(sorted(draft.report, key=lambda i: (i.address, i.kind, i.code, i.text)))
    digests = identity.Digests(context.spec.digests)
    return Plan(
        id=identity.plan_id(context.spec, inventory, context.policy, parent, digests=digests),
        effect=identity.effect(changes, report, digests=digests),
        parent=parent,
        planner_version=context.policy.planner_version,
        commit=context.spec.commit,
        cluster_id=context.inventory.cluster_id,
        now_s=context.inventory.now_s,
        inventory=identity.stamps(inventory),
        changes=changes,
        steps=steps,
        placement=tuple(sorted(draft.placement, key=lambda choice: choice.vm)),
        report=report,
        capacity=survival.after,
        summary=_summary(context, changes, draft, steps, survival.after),
        during=survival.during,
        rebalance=draft.rebalance,
    )


def _summary(
    context: Context,
    changes: Iterable[Change],
    draft: Draft,
    steps: tuple[Step, ...],
    capacity: tuple[Loss, ...],
) -> Summary:
    actions = [action for change in changes for action in change.actions]
    kinds = [item.kind for item in draft.report]
    return Summary(
        objects=len(context.spec.documents),
        create=actions.count(Action.CREATE),
        update=sum(not _CHANGING.isdisjoint(change.actions) for change in changes),
        delete=actions.count(Action.DELETE),
        restore=actions.count(Action.RESTORE),
        move=actions.count(Action.MOVE),
        adopt=actions.count(Action.ADOPT),
        forget=actions.count(Action.FORGET),
        blocked=kinds.count(ItemKind.BLOCKED),
        waiting=kinds.count(ItemKind.WAITING),
        downtime_s=max((change.downtime_s for change in changes), default=0.0),
        duration_s=round(duration_s(steps), 1),
        n1=_verdict(capacity),
    )


def _verdict(capacity: Iterable[Loss]) -> CapacityVerdict:
    verdicts = {loss.verdict for loss in capacity}
    for verdict in (CapacityVerdict.FAILS, CapacityVerdict.UNKNOWN):
        if verdict in verdicts:
            return verdict
    return CapacityVerdict.HOLDS


def _report_nodes(context: Context, draft: Draft) -> None:
    """A node that does not answer takes no steps; what concerns it waits."""
    for doc in context.spec.of_kind(Kind.NODE):
        facts = context.inventory.nodes.get(doc.name)  # type: ignore[call-overload]
        state = NodeState.ABSENT if facts is None else facts.state
        if state is NodeState.ONLINE or doc.spec["state"] == "retired":
            continue
        draft.waiting(
            doc.address, f"node-{state}", f"is {state}: nothing is planned on it", "pvc status"
        )


def _report_capacity(context: Context, draft: Draft, survival: Survival) -> None:
    """Losses that would leave guests without a place: afterwards, or only until then."""
    if context.cluster.admission == "none" or context.cluster.tolerate_nodes == 0:
        return
    lasting = {loss.lost for loss in survival.after if loss.verdict is not CapacityVerdict.HOLDS}
    for loss in survival.after:
        if loss.lost in lasting:
            _report_loss(draft, loss, "n-minus-1", "its loss")
    for loss in survival.during:
        if loss.verdict is not CapacityVerdict.HOLDS and loss.lost not in lasting:
            _report_loss(draft, loss, "n-minus-1-during", "until this plan is done, its loss")


def _report_loss(draft: Draft, loss: Loss, code: str, words: str) -> None:
    lack = f", {-loss.spare_mib} MiB are missing" if loss.spare_mib < 0 else f", {loss.why}"
    count = len(loss.homeless)
    guests = "1 guest" if count == 1 else f"{count} guests"
    beside = f" together with {' and '.join(loss.others)}" if loss.others else ""
    draft.item(
        ItemKind.WARNING,
        address(Kind.NODE, loss.node),
        code,
        f"{words}{beside} would leave {guests} without a place"
        f" ({', '.join(loss.homeless[:3])}{lack})",
    )
