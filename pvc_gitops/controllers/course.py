"""The leading planner's course: what it decides from, and what it writes beside plans."""

from __future__ import annotations

from collections.abc import Sequence

from pvc_gitops.controllers import intents, ledger, slices, withhold
from pvc_gitops.controllers.ledger import Note
from pvc_gitops.controllers.observe import Observed
from pvc_gitops.controllers.records import put, version_of
from pvc_gitops.model import paths
from pvc_gitops.model.control import Pace, Quarantine, Withheld
from pvc_gitops.model.ids import PlanId
from pvc_gitops.model.intents import Intent
from pvc_gitops.model.ledger import EntryKind
from pvc_gitops.model.plan import Plan
from pvc_gitops.model.records import StepStatus
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import Check, Leadership, Op, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the leader decides from, besides its memory."""

    observed: Observed
    aside: Quarantine | None
    wishes: int | None  # version of the intents' parent: every new intent raises it
    pace: Pace
    withheld: Withheld | None


def allowed(world: World, look: Look, new: Plan) -> tuple[Plan, ...]:
    """The plans of the commit in force that were let go, as far as they are kept."""
    current = look.observed.plan
    found = []
    for name in look.pace.allowed:
        is_current = current is not None and current.id == name
        each = current if is_current else slices.read_plan(world.store, name)
        if each is not None and each.commit == new.commit:
            found.append(each)
    return tuple(found)


def rest(
    world: World,
    lead: Leadership,
    look: Look,
    new: Plan,
    words: Sequence[Intent],
    *,
    is_given_up: bool,
) -> None:
    """Nothing is published: say what was reached or given up, and end what asked for it."""
    now_s, commit = world.clock.now_s(), look.observed.inventory.accepted
    assert commit is not None
    results = look.observed.results
    failed = sum(1 for r in results.values() if r.status is StepStatus.FAILED)
    held = None
    if is_given_up:
        held = withhold.given_up(commit, new.effect, failed, look.pace.times, now_s)
    withhold.say(world, lead, look.withheld, held)
    for word in words:
        ops, note = intents.ending(word, "nothing was left to try again", "planner")
        told = ledger.appending(world.store, [note], now_s)
        world.store.commit((*lead.checks, *ops, *told))
    if new.steps or look.pace.converged == commit or not _has_ended(look.observed):
        return
    note = Note(
        kind=EntryKind.CONVERGED,
        text=f"nothing of {commit[:7]} is left to do",
        by="planner",
        commit=commit,
        plan=look.observed.inventory.target,
        data={"blocked": str(new.summary.blocked or "")},
    )
    set_pace(world, lead, replace(look.pace, converged=commit), note)


def _has_ended(observed: Observed) -> bool:
    """Is every step of the plan in force done?"""
    if observed.plan is None:
        return False
    done = {r.step for r in observed.results.values() if r.status is StepStatus.DONE}
    return all(step.id in done for step in observed.plan.steps)


def set_pace(world: World, lead: Leadership, pace: Pace, *notes: Note) -> None:
    """Write down the pace alone, where nothing is published."""
    before = version_of(world.store.read(paths.PACE))
    told = ledger.appending(world.store, notes, world.clock.now_s())
    world.store.commit((*lead.checks, put(paths.PACE, pace, before), *told))


def with_publishing(
    world: World, look: Look, pace: Pace, used: Sequence[Intent], plan_id: PlanId
) -> tuple[tuple[Op, ...], tuple[Note, ...]]:
    """What changes together with the target: what is counted, what is not held back any more, and
    the words that are used up. A halt or a freeze that was made meanwhile stops it all."""
    store = world.store
    ops: list[Op] = [put(paths.PACE, pace, version_of(store.read(paths.PACE)))]
    ops += withhold.clearing(look.withheld)
    if look.wishes is not None:
        ops.append(Check(path=paths.INTENTS, version=look.wishes))
    notes: list[Note] = []
    for intent in used:
        ending, note = intents.ending(intent, f"used by plan {plan_id}", "planner")
        ops += ending
        notes.append(note)
    return tuple(ops), tuple(notes)
