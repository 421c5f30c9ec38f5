"""Following a commit over the socket: every step as it goes, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Final

from pvc_gitops.controllers import quarantine, slices
from pvc_gitops.controllers.answers import Event, Recall, Said, Value
from pvc_gitops.controllers.observe import read_intents
from pvc_gitops.controllers.records import read
from pvc_gitops.errors import RepoError, SpecError
from pvc_gitops.model import paths
from pvc_gitops.model.control import Obstacle, Quarantine, Withheld
from pvc_gitops.model.ids import CommitId, PlanId
from pvc_gitops.model.intents import CLUSTER, IntentKind, standing
from pvc_gitops.model.plan import Plan
from pvc_gitops.model.records import Accepted, SourceSeen, StepResult, StepStatus, Target
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import World
from pvc_gitops.world.protocol import Question

# How soon a planner publishes again what somebody asked for; measured 1 to 3 s.
AGAIN_TIMEOUT_S: Final = 10.0
FOLLOW_DEFAULT_S: Final = 600.0


def follow(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """Events of every step of the commit's plan, until it is applied, failed, or time is over."""
    del recall
    commit = CommitId(str(question.args.get("commit", "")))
    limit_s = question.args.get("timeout_s", FOLLOW_DEFAULT_S)
    until_s = world.clock.monotonic_s() + (
        float(limit_s) if isinstance(limit_s, int | float) else FOLLOW_DEFAULT_S
    )
    again_s = world.clock.monotonic_s() + AGAIN_TIMEOUT_S
    stale = _failed_before(world, commit)
    told = _Told()
    while True:
        target = read(world.store, paths.TARGET, Target)
        plan = None
        if target is not None and target.commit == commit:
            plan = slices.read_plan(world.store, target.plan)
        if plan is not None and plan.id == stale and world.clock.monotonic_s() < again_s:
            plan = None  # who follows has just asked for what failed to be tried again
        if plan is None:
            end = _held_back(world, commit, target) or _refused(world, commit)
        else:
            results = slices.read_results(world.store, plan.id)
            yield from told.news(plan, results)
            end = told.end(world, plan, results)
        if end is None and world.clock.monotonic_s() > until_s:
            end = {"outcome": "timeout", "plan": told.shown}
        if end is not None:
            yield Value(value=end)
            return
        yield None


@dataclass(slots=True)
class _Told:
    """What was told of the plans of one commit."""

    shown: PlanId | None = None
    steps: dict[str, tuple[StepStatus, float | None]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)  # a later plan may leave a failed step out

    def news(self, plan: Plan, results: Mapping[str, StepResult]) -> Iterator[Event]:
        """One event for every step that stands elsewhere than before."""
        if plan.id != self.shown:
            self.steps, self.shown = {}, plan.id
        statuses = slices.statuses(plan, results)
        for step in plan.steps:
            result = results.get(step.id)
            now = (statuses[step.id], None if result is None else result.progress)
            if self.steps.get(step.id) == now:
                continue
            self.steps[step.id] = now
            yield Event(
                event={
                    "plan": plan.id,
                    "step": step.id,
                    "address": step.address,
                    "node": step.node,
                    "status": now[0],
                    "progress": now[1],
                    "error": "" if result is None else result.error,
                }
            )

    def end(
        self, world: World, plan: Plan, results: Mapping[str, StepResult]
    ) -> Mapping[str, object] | None:
        """The last word, once there is nothing to wait for."""
        statuses = slices.statuses(plan, results)
        self.failed |= {name for name, each in statuses.items() if each is StepStatus.FAILED}
        self.failed -= {name for name, each in statuses.items() if each is StepStatus.DONE}
        outcome = _outcome(statuses, has_failed=bool(self.failed))
        if not outcome and StepStatus.RUNNING not in statuses.values() and _is_halted(world):
            outcome = "halted"
        return {"outcome": outcome, "plan": plan.id} if outcome else None


def _failed_before(world: World, commit: CommitId) -> PlanId | None:
    """The commit's plan in force, if it came to its end and something failed."""
    target = read(world.store, paths.TARGET, Target)
    if target is None or target.commit != commit:
        return None
    plan = slices.read_plan(world.store, target.plan)
    if plan is None:
        return None
    statuses = slices.statuses(plan, slices.read_results(world.store, plan.id))
    has_failed = StepStatus.FAILED in statuses.values()
    return plan.id if _outcome(statuses, has_failed=has_failed) == "failed" else None


def _outcome(statuses: Mapping[str, StepStatus], *, has_failed: bool) -> str:
    """`applied`, `failed`, or "" while there is something to wait for."""
    if any(each in (StepStatus.PENDING, StepStatus.RUNNING) for each in statuses.values()):
        return ""
    return "failed" if has_failed else "applied"


def _refused(world: World, commit: CommitId) -> Mapping[str, object] | None:
    """How following ends where this very commit is the tip that is not adopted."""
    accepted = read(world.store, paths.ACCEPTED, Accepted)
    seen = read(world.store, paths.seen(world.me.node), SourceSeen)
    if seen is None or seen.tip != commit or not seen.problems:
        return None
    if accepted is not None and accepted.commit == commit:
        return None
    return {"outcome": "refused", "plan": None, "problems": seen.problems}


def _is_halted(world: World) -> bool:
    now_s = world.clock.now_s()
    found = read_intents(world.store, now_s).values()
    return bool(standing(found, IntentKind.HALT, CLUSTER, now_s))


def _held_back(
    world: World, commit: CommitId, target: Target | None
) -> Mapping[str, object] | None:
    """How following ends where somebody must do something first, or a later commit came."""
    held = read(world.store, paths.WITHHELD, Withheld)
    if held is not None and held.commit == commit and held.obstacle is not Obstacle.GIVEN_UP:
        return {"outcome": "withheld", "plan": None, "withheld": held}
    accepted = read(world.store, paths.ACCEPTED, Accepted)
    aside = read(world.store, paths.QUARANTINED, Quarantine)
    try:
        if accepted is None:
            return None
        if aside is not None and aside.commit == commit:
            return None  # gone back to: whoever leads is about to put it in force
        if aside is not None and accepted.commit == commit:
            still = quarantine.holding(world.repo, aside, commit)
            is_aside = any(still.values())  # else whoever leads is about to put it in force
            return {"outcome": "quarantined", "plan": None, "held": still} if is_aside else None
        is_later = target is not None and target.commit == accepted.commit != commit
        if is_later and world.repo.is_ancestor(commit, accepted.commit):
            return {"outcome": "superseded", "plan": None, "commit": accepted.commit}
    except (RepoError, SpecError):
        pass  # this mirror is behind; the next look, or the time limit, ends it
    return None
