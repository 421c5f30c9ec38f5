"""What keeps a plan that would do something from becoming the target, and how it is told.

The leading planner decides it at every look from the intents, the mode and its own pace; what stands in
`/pvc/withheld` is for people and for whoever follows a commit, never an input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pvc_gitops.controllers.records import put
from pvc_gitops.model import paths
from pvc_gitops.model.control import Brake, Obstacle, Withheld
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address, CommitId
from pvc_gitops.model.intents import CLUSTER, Intent, IntentKind, standing
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import Change, Plan
from pvc_gitops.model.spec import Cluster, ClusterSpec
from pvc_gitops.model.values import replace
from pvc_gitops.world.ports import Delete, Leadership, Op, World

MANUAL: Final = "manual"


def stops(inv: Inventory, now_s: int) -> tuple[Intent, ...]:
    """Halts, then freezes: the intents under which no target is published."""
    intents = tuple(inv.intents.values())
    return (
        *standing(intents, IntentKind.HALT, CLUSTER, now_s),
        *standing(intents, IntentKind.FREEZE, CLUSTER, now_s),
    )


def approvals(inv: Inventory, effect: str, now_s: int) -> tuple[Intent, ...]:
    return standing(inv.intents.values(), IntentKind.APPROVE, effect, now_s)


def mode(inv: Inventory, spec: ClusterSpec) -> str:
    """`apply.mode` as it is in force: a commit does not switch off the approval of itself."""
    for record in inv.applied.values():
        if record.kind is Kind.CLUSTER:
            return Cluster.from_spec(record.name, record.spec).apply_mode
    return spec.cluster.apply_mode


def withheld(
    inv: Inventory,
    *,
    new: Plan,
    allowed: Sequence[Plan],
    brake: Brake | None,
    is_manual: bool,
    now_s: int,
) -> Withheld | None:
    """Why a plan that is due is not published; None where nothing is in its way.

    `allowed` are the plans of the same commit that were let go before.
    """
    assert new.commit is not None
    base = Withheld(
        obstacle=Obstacle.FROZEN,
        commit=new.commit,
        effect=new.effect,
        text="",
        remedy="",
        since_s=now_s,
    )
    stopped = stops(inv, now_s)
    if stopped:
        first = stopped[0]
        is_halt = first.kind is IntentKind.HALT
        word = "halted" if is_halt else "frozen"
        return replace(
            base,
            obstacle=Obstacle.HALTED if is_halt else Obstacle.FROZEN,
            text=f"{word} by {first.by}{f': {first.reason}' if first.reason else ''}; "
            f"{size(new)} of {new.commit[:7]} wait",
            remedy=f"pvc {first.kind} --end",
        )
    if brake is not None:
        return replace(
            base,
            obstacle=brake.obstacle,
            text=f"the planner stopped itself: {brake.text}; {size(new)} wait",
            remedy="pvc plan shows them; pvc retry, or push a commit",
        )
    is_part = is_part_of(new, allowed)
    if is_manual and new.steps and not is_part and not approvals(inv, new.effect, now_s):
        return replace(
            base,
            obstacle=Obstacle.APPROVAL,
            text=f"{size(new)} of {new.commit[:7]} wait for approval",
            remedy=f"pvc approve {new.effect}",
        )
    return None


def is_part_of(new: Plan, allowed: Sequence[Plan]) -> bool:
    """Does a plan do nothing but what plans of the same commit were let go for? A retry, or a plan made
    anew because a node came back, asks nobody again."""
    known: dict[Address, list[Change]] = {}
    for each in allowed:
        for change in each.changes:
            known.setdefault(change.address, []).append(change)
    return bool(allowed) and all(
        any(
            before.after == change.after and set(change.actions) <= set(before.actions)
            for before in known.get(change.address, ())
        )
        for change in new.changes
    )


def given_up(commit: CommitId, effect: str, failed: int, times: int, now_s: int) -> Withheld:
    """What is told of a commit that is not tried any more."""
    steps = "1 step" if failed == 1 else f"{failed} steps"
    return Withheld(
        obstacle=Obstacle.GIVEN_UP,
        commit=commit,
        effect=effect,
        text=f"{steps} of {commit[:7]} failed {times + 1} times; nothing is tried again by itself",
        remedy="pvc retry",
        since_s=now_s,
    )


def size(of: Plan) -> str:
    """`3 to create, 1 to change, 0 to destroy`; of an empty plan, that nothing changes."""
    summary = of.summary
    if not of.steps:
        return "0 changes"
    words = f"{summary.create} to create, {summary.update} to change, {summary.delete} to destroy"
    return f"{words}, {summary.restore} to restore" if summary.restore else words


def say(world: World, lead: Leadership, before: Withheld | None, now: Withheld | None) -> None:
    """Write down what is held back, if it is news; take it away when nothing is."""
    store = world.store
    if now is None:
        if before is not None:
            store.commit((*lead.checks, *clearing(before)))
        return
    is_same = (
        before is not None
        and replace(now, since_s=before.since_s, version=before.version) == before
    )
    if is_same:
        return
    version = None if before is None else before.version
    store.commit((*lead.checks, put(paths.WITHHELD, now, version)))
    if before is None or (before.obstacle, before.effect) != (now.obstacle, now.effect):
        world.journal.event(
            "withheld", obstacle=now.obstacle, commit=now.commit, effect=now.effect, why=now.text
        )


def clearing(before: Withheld | None) -> tuple[Op, ...]:
    """For the transaction that lets it go."""
    return () if before is None else (Delete(path=paths.WITHHELD, version=before.version),)
