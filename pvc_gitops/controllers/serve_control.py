"""The questions of the socket that want something: intents, rollback, release (DESIGN D11, D12)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final

from pvc_gitops.controllers import intents, quarantine, withhold
from pvc_gitops.controllers.answers import Recall, Refusal, Said, Value, fresh_storage, storage_of
from pvc_gitops.controllers.gathering import watched
from pvc_gitops.controllers.intents import Refused, Wish, authority
from pvc_gitops.controllers.ledger import Note
from pvc_gitops.controllers.observe import Observed, of_one_moment, read_intents
from pvc_gitops.controllers.quarantine import Choice
from pvc_gitops.errors import RepoError, SpecError, StoreConflict
from pvc_gitops.model.intents import CLUSTER, IntentId, IntentKind
from pvc_gitops.model.plan import Plan
from pvc_gitops.model.values import replace
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.world.ports import JobState, Op, World
from pvc_gitops.world.protocol import Question, Rollback

CONFLICTS_MAX: Final = 5  # another writer was first; each time there is a newer state to look at
PLANNING_MAX_S: Final = 60.0
BY_ROOT: Final = "root"


def intents_in_force(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """All of them, the oldest first."""
    del question, recall
    found = read_intents(world.store, world.clock.now_s()).values()
    yield Value(value=sorted(found, key=lambda each: (each.made_at_s, each.id)))


def intent(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """Make one."""
    del recall
    args = question.args
    try:
        kind = IntentKind(str(args.get("kind", "")))
    except ValueError:
        known = ", ".join(each.value for each in IntentKind)
        yield Refusal(
            code="refused", message=f"no intent is a {args.get('kind')!r}", hint=f"known: {known}"
        )
        return
    for_s, data = args.get("for_s"), args.get("data", {})
    is_good = (for_s is None or type(for_s) is int) and isinstance(data, Mapping)
    if not is_good:
        yield Refusal(code="refused", message="for_s is seconds or null, data is text by key")
        return
    wish = Wish(
        kind=kind,
        subject=str(args.get("subject", "")),
        by=question.operator or BY_ROOT,
        reason=str(args.get("reason", "")),
        for_s=for_s,
        data={str(key): str(value) for key, value in data.items()},
    )
    allowed = authority(world, question.operator)
    yield from _tried(world, lambda: intents.make(world, wish, allowed))


def end_intent(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """End one by word."""
    del recall
    name = IntentId(str(question.args.get("id", "")))
    by, reason = question.operator or BY_ROOT, str(question.args.get("reason", ""))
    allowed, stays = authority(world, question.operator), bool(question.args.get("stays", False))
    yield from _tried(world, lambda: intents.end(world, name, by, reason, allowed, stays=stays))


def release(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """Take a commit out of quarantine."""
    del recall
    wanted, reason = str(question.args.get("commit", "")), str(question.args.get("reason", ""))
    allowed, by = authority(world, question.operator), question.operator or BY_ROOT

    def act() -> object:
        return allowed("rollback", CLUSTER) or quarantine.release(world, wanted, by, reason)

    yield from _tried(world, act)


def rollback(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """Without an effect: what going back would do. With the effect of that answer: go back."""
    yield from fresh_storage(world, recall)
    watch = yield from watched(world, recall)
    observed = of_one_moment(world, watch, storage_of(recall))
    if observed is None:
        yield Refusal(code="not-founded", message="the cluster is not founded yet")
        return
    choice = _chosen(question, world, observed)
    if isinstance(choice, Refused):
        yield _refusal(choice)
        return
    effect = question.args.get("effect")
    job = yield from _planned(question, world, choice, observed)
    made = _sound(job, observed, effect)
    if isinstance(made, Refused):
        yield _refusal(made)
        return
    answer = Rollback(
        commit=choice.quarantine.commit,
        subject=choice.subject,
        author=choice.author,
        now=choice.now,
        quarantined=choice.quarantine.commits,
        plan=made,
        not_undone=quarantine.not_undone(made),
        is_begun=effect is not None,
    )
    if effect is not None:
        yield from _tried(world, lambda: _begun(world, choice, observed, answer))
        return
    yield Value(value=answer)


def _chosen(question: Question, world: World, observed: Observed) -> Choice | Refused:
    args, by = question.args, question.operator or BY_ROOT
    refused = authority(world, question.operator)("rollback", CLUSTER)
    if refused is not None:
        return refused
    stopped = withhold.stops(observed.inventory, world.clock.now_s())
    if stopped:
        return Refused(
            code="stopped",
            message=f"{stopped[0].id} by {stopped[0].by} stands: nothing becomes the target",
            hint=f"pvc {stopped[0].kind} --end, then again",
        )
    wanted, reason = str(args.get("commit") or ""), str(args.get("reason", ""))
    return quarantine.choose(world, wanted, by=by, reason=reason)


def _sound(job: JobState | None, observed: Observed, effect: object) -> Plan | Refused:
    """The plan that was made, if it may be shown, or be carried out as the one that was shown."""
    if job is None or job.error is not None:
        why = "no plan was made in time" if job is None else str(job.error)
        return Refused(code="not-ready", message=why, hint="ask another coordinator")
    made: Plan = job.value
    wrong = problems(made, observed.inventory)
    if wrong:
        return Refused(message=f"the plan does not verify: {wrong[0]}")
    if effect is not None and effect != made.effect:
        return Refused(
            code="effect-differs",
            message=f"it would do something else by now: effect {made.effect}, not {effect}",
            hint="pvc rollback shows it",
        )
    return made


def _begun(world: World, choice: Choice, observed: Observed, answer: Rollback) -> Rollback:
    """Whoever saw the plan and goes back has approved it."""
    found, plan_ = choice.quarantine, answer.plan
    spec = quarantine.planned_spec(world.repo, found, found.commit)
    ops: tuple[Op, ...] = ()
    notes: tuple[Note, ...] = ()
    if withhold.mode(observed.inventory, spec) == withhold.MANUAL and plan_.steps:
        wish = Wish(
            kind=IntentKind.APPROVE,
            subject=plan_.effect,
            by=found.by,
            reason=f"rollback to {found.commit[:7]}",
            for_s=None,
            data={},
        )
        _, ops, note = intents.drafted(world.store, wish, found.at_s)
        notes = (note,)
    quarantine.begin(world, choice, ops, notes)
    return answer


def _planned(
    question: Question, world: World, choice: Choice, observed: Observed
) -> Generator[Said, None, JobState | None]:
    """Plan off the deciding thread: a large cluster takes seconds."""
    found, target = choice.quarantine, observed.target
    inv = replace(observed.inventory, accepted=found.commit)

    def work(progress: object) -> Plan:
        del progress
        spec = quarantine.planned_spec(world.repo, found, found.commit)
        return plan(spec, inv, POLICY, None if target is None else target.plan)

    key = f"rollback.plan {id(question)}"
    world.jobs.start(key, work)
    until_s = world.clock.monotonic_s() + PLANNING_MAX_S
    while world.clock.monotonic_s() < until_s:
        state = world.jobs.state(key)
        if state is not None and state.is_done:
            world.jobs.forget(key)
            return state
        yield None
    return None


def _tried(world: World, act: Callable[[], object]) -> Iterator[Said]:
    """Do it; where another writer was first, look again and do it then."""
    for _ in range(CONFLICTS_MAX):
        try:
            done = act()
        except StoreConflict:
            world.store.sync()
            yield None
            continue
        except (RepoError, SpecError) as error:
            yield Refusal(
                code="not-ready",
                message=f"this node cannot read the commit in force: {error}",
                hint="ask another coordinator",
            )
            return
        yield _refusal(done) if isinstance(done, Refused) else Value(value=done)
        return
    yield Refusal(
        code="busy", message="others wrote the same records all the time", hint="try again"
    )


def _refusal(refused: Refused) -> Refusal:
    return Refusal(code=refused.code, message=refused.message, hint=refused.hint)


HANDLERS: Final[Mapping[str, Callable[[Question, World, Recall], Iterator[Said]]]] = {
    "intents": intents_in_force,
    "intent": intent,
    "end-intent": end_intent,
    "rollback": rollback,
    "release": release,
}
