"""pvc-planner: one tick. Accept commits, plan, verify, publish by compare-and-set.

Candidates that do not lead only watch the heartbeats, so that a new leader knows since when each
stands still. A leader that is deposed in the middle loses nothing: every write checks its candidacy
and its epoch, and a plan that no target names is inert.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import field
from typing import Final

from pvc_gitops.controllers import (
    apply_status,
    intents,
    ledger,
    previews,
    quarantine,
    storage,
    withhold,
)
from pvc_gitops.controllers.accept import accept, coordinators
from pvc_gitops.controllers.apply_status import ApplyToldMemory
from pvc_gitops.controllers.beats import read_beats
from pvc_gitops.controllers.circumstances import Drifts, tell_drifts
from pvc_gitops.controllers.circumstances import circumstances as circumstances_of
from pvc_gitops.controllers.course import Look, allowed, rest, set_pace, with_publishing
from pvc_gitops.controllers.decisions import policy_of
from pvc_gitops.controllers.gathering import is_gathered
from pvc_gitops.controllers.ledger import LedgerMemory
from pvc_gitops.controllers.observe import Observed, lease_s, of_one_moment
from pvc_gitops.controllers.previews import PreviewsMemory
from pvc_gitops.controllers.publish import publish
from pvc_gitops.controllers.records import read, version_of
from pvc_gitops.controllers.retry import Retry, Turn, brake, counted, is_under_way, turn
from pvc_gitops.controllers.storage import StorageMemory
from pvc_gitops.controllers.watch import NodeWatch
from pvc_gitops.errors import RepoError, SpecError, StoreConflict, StoreError
from pvc_gitops.model import paths
from pvc_gitops.model.control import Pace, Withheld
from pvc_gitops.model.ids import NodeName, PlanId
from pvc_gitops.model.intents import IntentId, IntentKind, standing
from pvc_gitops.model.inventory import Inventory, NodeState
from pvc_gitops.model.plan import Plan
from pvc_gitops.model.records import Accepted, Formation, StepStatus
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.planner import windows
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.planner import is_outdated, plan
from pvc_gitops.planner.remaining import remaining_differs
from pvc_gitops.world.ports import Leadership, World

ROLE: Final = "planner"
BEATS_EVERY_S: Final = 2.0
FULL_EVERY_S: Final = 30.0  # what no watch tells: reports, the clock
WITHOUT_STORE_S: Final = 1.0
ALLOWED_MAX: Final = 5  # approved plans of one commit that what is left is compared with
WATCHED: Final = (
    paths.SEEN,
    paths.ASKED,
    paths.ACCEPTED,
    paths.TARGET,
    paths.OWNED,
    paths.GUESTS,
    paths.NETWORKS,
    paths.PLACEMENT,
    paths.CLAIMS,
    paths.INTENTS,
    paths.QUARANTINED,
    paths.PACE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerMemory:
    """What a planner remembers. An empty one is always right, only slower."""

    due_at_s: float = 0.0
    full_at_s: float = 0.0
    is_woken: bool = True
    is_watching: bool = False
    watched: frozenset[str] = frozenset()
    watch: NodeWatch = field(default_factory=NodeWatch)
    beats_at_s: float = 0.0
    epoch: int | None = None  # while leading
    storage: StorageMemory = field(default_factory=StorageMemory)
    records: object = None  # the applied records as of `changed_at_s`
    changed_at_s: float = 0.0
    plan: Plan | None = None  # in force, as read
    considered: Inventory | None = None  # what was last planned from, without its stamps
    circumstances: object = None  # what a plan under way stands on, when last planned
    told: dict[NodeName, NodeState] = field(default_factory=dict)  # in the journal
    retry: Retry | None = None
    ledger: LedgerMemory = field(default_factory=LedgerMemory)
    previews: PreviewsMemory = field(default_factory=PreviewsMemory)
    applied_told: ApplyToldMemory = field(default_factory=ApplyToldMemory)  # to the forge
    complaint: str = ""  # said once
    drifts: Drifts = frozenset()  # that the journal was told
    warned: frozenset[IntentId] = frozenset()  # of whose end was told beforehand
    quarantine_told: str = ""


def tick(world: World, memory: PlannerMemory) -> PlannerMemory:
    """Stand for election; as leader, do what is missing."""
    now_s = world.clock.monotonic_s()
    try:
        if not world.store.is_connected():
            return _later(memory, now_s)
        memory = _observe(world, memory, now_s)
        lead = world.store.lead(ROLE, world.me.node)
        if lead is None:
            return _due(replace(memory, epoch=None, full_at_s=now_s + FULL_EVERY_S, is_woken=False))
        if memory.epoch != lead.epoch:
            world.journal.event("leader", role=ROLE, epoch=lead.epoch)
            memory = PlannerMemory(
                is_watching=memory.is_watching,
                watched=memory.watched,
                watch=memory.watch,
                beats_at_s=memory.beats_at_s,
                epoch=lead.epoch,
            )
        if not memory.is_woken and now_s < memory.full_at_s:
            return _due(memory)
        return _due(_lead(world, replace(memory, is_woken=False), lead, now_s))
    except StoreConflict as error:
        # Somebody else leads, or a record changed while we looked: look again.
        world.journal.event("planner_conflict", path=error.target)
        return _later(_caught_up(world, replace(memory, considered=None)), now_s)
    except StoreError:
        return _later(replace(memory, considered=None), now_s)


def _caught_up(world: World, memory: PlannerMemory) -> PlannerMemory:
    with suppress(StoreError):
        world.store.sync()
    return memory


def _later(memory: PlannerMemory, now_s: float) -> PlannerMemory:
    due_s = now_s + WITHOUT_STORE_S
    return replace(memory, due_at_s=due_s, full_at_s=due_s, is_woken=True)


def _due(memory: PlannerMemory) -> PlannerMemory:
    return replace(memory, due_at_s=min(memory.full_at_s, memory.beats_at_s))


def _observe(world: World, memory: PlannerMemory, now_s: float) -> PlannerMemory:
    if not memory.is_watching:
        for path in WATCHED:
            world.store.watch(path)
        memory = replace(memory, is_watching=True)
    if now_s < memory.beats_at_s:
        return memory
    watch = memory.watch.observe(now_s, read_beats(world.store))
    is_news = watch.seen.keys() != memory.watch.seen.keys()
    return replace(
        memory,
        watch=watch,
        beats_at_s=now_s + BEATS_EVERY_S,
        is_woken=memory.is_woken or is_news or _has_turned(memory.watch, watch, now_s),
    )


def _has_turned(before: NodeWatch, after: NodeWatch, now_s: float) -> bool:
    """Has a counter that stood still moved, or has one stood still for long enough to matter?

    The lease of the cluster is not known here; any silence of seconds is a reason to look closely.
    """
    for name, seen in after.seen.items():
        old = before.seen.get(name)
        if old is None or (old.moved_at_s is None) != (seen.moved_at_s is None):
            return True
        if old.moved_at_s is None or seen.moved_at_s is None:
            continue
        silent_s = now_s - seen.moved_at_s
        was_silent_s = now_s - old.moved_at_s
        if silent_s > 2 * BEATS_EVERY_S or was_silent_s > 3 * BEATS_EVERY_S:
            return True
    return False


# --- leading ----------------------------------------------------------------------------------------


def _lead(world: World, memory: PlannerMemory, lead: Leadership, now_s: float) -> PlannerMemory:
    store = world.store
    store.sync()  # a leader decides on what is, not on what its server has heard of so far
    memory = replace(memory, full_at_s=now_s + FULL_EVERY_S)
    formation = read(store, paths.FORMAT, Formation)
    if formation is None:
        return replace(memory, full_at_s=now_s + WITHOUT_STORE_S)
    wishes = version_of(store.read(paths.INTENTS))
    memory = replace(memory, warned=intents.tick(world, lead, memory.warned))
    accept(world, formation, lead)
    accepted = read(store, paths.ACCEPTED, Accepted)
    aside, told = quarantine.tick(world, lead, accepted, memory.quarantine_told)
    observed = of_one_moment(world, memory.watch, memory.storage.facts, memory.plan)
    if observed is None or accepted is None:
        return memory
    memory = _due_with(replace(memory, quarantine_told=told), observed.inventory, world, now_s)
    memory = replace(
        memory,
        plan=observed.plan,
        told=_told(world, memory, observed.inventory),
        ledger=ledger.tick(
            world, lead, memory.ledger, _at_work(observed.inventory), coordinators(world)
        ),
    )
    memory = _freshen(world, memory, observed, now_s)
    asked_s = memory.storage.asked_at_s
    is_fresh = asked_s is not None and asked_s >= memory.changed_at_s
    if not is_fresh and not memory.storage.fault:
        return memory  # the end of the look wakes us
    if not is_gathered(memory.watch, observed, now_s):
        return replace(memory, full_at_s=now_s + WITHOUT_STORE_S)
    # An older look, be it another coordinator's report, may show disks that lie in the trash by now:
    # whatever stands on Ceph then waits, the rest goes on.
    fresh = replace(
        observed.inventory,
        storage=memory.storage.facts if is_fresh else None,
        accepted=accepted.commit if aside is None else aside.commit,
    )
    look = Look(
        observed=replace(observed, inventory=fresh),
        aside=aside,
        wishes=wishes,
        pace=read(store, paths.PACE, Pace) or Pace(),
        withheld=read(store, paths.WITHHELD, Withheld),
    )
    memory = _plan(world, memory, look, lead, now_s)
    applied = apply_status.tick(world, memory.applied_told, look.observed, look.withheld)
    return replace(memory, previews=_previewed(world, memory, look, lead), applied_told=applied)


def _previewed(world: World, memory: PlannerMemory, look: Look, lead: Leadership) -> PreviewsMemory:
    """Proposals are planned while nothing of the plan in force is under way: they then show what they
    would change, and nothing else."""
    observed = look.observed
    is_quiet = (
        observed.target is not None
        and (observed.target.commit == observed.inventory.accepted or look.withheld is not None)
        and not is_under_way(observed.plan, observed.results)
    )
    return previews.tick(world, lead, memory.previews, observed.inventory, is_quiet=is_quiet)


def _due_with(memory: PlannerMemory, inv: Inventory, world: World, now_s: float) -> PlannerMemory:
    """Come back at the latest when an intent is over, or a window opens or closes."""
    ends = (intents.next_end_s(inv.intents.values()), windows.next_moment_s(inv))
    known = [end_s for end_s in ends if end_s is not None]
    if not known:
        return memory
    wait_s = max(WITHOUT_STORE_S, float(min(known) - world.clock.now_s()))
    return replace(memory, full_at_s=min(memory.full_at_s, now_s + wait_s))


def _at_work(inv: Inventory) -> set[PlanId]:
    """The plan in force, and those of which a node still carries out a step."""
    plans = {claim.plan for claim in inv.claims.values() if claim.plan}
    return plans if inv.target is None else plans | {inv.target}


def _freshen(
    world: World, memory: PlannerMemory, observed: Observed, now_s: float
) -> PlannerMemory:
    """Look at Ceph again whenever the records changed: a plan made from an older look would make
    again what was just made."""
    records = (
        {of: record.version for of, record in observed.inventory.applied.items()},
        tuple(sorted(observed.inventory.claims)),
    )
    changed_at_s = memory.changed_at_s
    if records != memory.records:
        changed_at_s = now_s
    asked = memory.storage.asked_at_s
    oldest_s = now_s - FULL_EVERY_S if asked is not None else now_s
    after = storage.tick(world, memory.storage, wanted_since_s=max(changed_at_s, oldest_s))
    if after.fault and after.fault != memory.storage.fault:
        world.journal.event("storage_fault", fault=after.fault)
    return replace(memory, storage=after, records=records, changed_at_s=changed_at_s)


def _told(world: World, memory: PlannerMemory, inv: Inventory) -> dict[NodeName, NodeState]:
    """One line for every node that turned."""
    if not memory.watch.is_settled(world.clock.monotonic_s(), lease_s(dict(inv.applied))):
        return memory.told  # not looked for long enough to say anything
    now = {name: facts.state for name, facts in inv.nodes.items()}
    for name, state in now.items():
        before = memory.told.get(name)
        if before is not state:
            world.journal.event("node_state", node=name, before=before or "", state=state)
    return now


# --- planning ---------------------------------------------------------------------------------------


def _plan(  # noqa: PLR0911  a list of reasons not to publish
    world: World, memory: PlannerMemory, look: Look, lead: Leadership, now_s: float
) -> PlannerMemory:
    inv, target = look.observed.inventory, look.observed.target
    current, results = look.observed.plan, look.observed.results
    assert inv.accepted is not None
    asked, wall_s = inv.intents.values(), world.clock.now_s()
    words = standing(asked, IntentKind.RETRY, inv.accepted, wall_s)
    is_told = target and standing(asked, IntentKind.RETRY, target.commit, wall_s)
    is_downgrade = is_outdated(inv.planner_version)
    if is_downgrade and not is_told:
        return _complain(
            world, memory, f"planner {inv.planner_version} has published; this one is older"
        )
    circumstances = circumstances_of(inv)
    memory = _watch_results(world, memory, current)
    what, memory = _retries(world, memory, look, now_s, is_wanted=bool(words))
    is_retry = what.is_now
    same_wish = target is not None and target.commit == inv.accepted
    is_as_before = same_wish and circumstances == memory.circumstances
    if is_as_before and not is_retry and is_under_way(current, results):
        return memory  # it is being carried out, and nothing that it stands on has changed
    essence = _essence(inv)
    if essence == memory.considered and not is_retry:
        return memory
    try:
        spec = quarantine.planned_spec(world.repo, look.aside, inv.accepted)
    except (RepoError, SpecError) as error:
        return _complain(world, memory, f"the accepted commit cannot be read here: {error}")
    policy = policy_of(world, inv.accepted)
    new = plan(spec, inv, policy, None if target is None else target.plan)
    drifts = tell_drifts(world, memory.drifts, new.report)
    memory = replace(memory, considered=essence, circumstances=circumstances, drifts=drifts)
    wrong = problems(new, inv)
    if wrong:
        return _complain(world, memory, f"plan {new.id} does not verify: {wrong[0]}")
    done = frozenset(r.step for r in results.values() if r.status is StepStatus.DONE)
    is_news = current is None or remaining_differs(new, current, done)
    if not (is_news or is_retry or is_downgrade or not same_wish):
        rest(world, lead, look, new, words, is_given_up=what.is_given_up)
        return memory
    braked = None if words or not same_wish else brake(look.pace, new, wall_s)
    held = withhold.withheld(
        inv,
        new=new,
        allowed=allowed(world, look, new) if same_wish else (),
        brake=braked,
        is_manual=withhold.mode(inv, spec) == withhold.MANUAL,
        now_s=wall_s,
    )
    if held is not None:
        if braked is not None and braked != look.pace.brake:
            set_pace(world, lead, replace(look.pace, brake=braked))
        withhold.say(world, lead, look.withheld, held)
        return memory
    used = (*words, *withhold.approvals(inv, new.effect, wall_s))
    is_wanted = bool(words) or what.is_asked or not same_wish
    pace = counted(look.pace, new, wall_s, is_wanted=is_wanted, retry=memory.retry)
    if not same_wish:
        pace = replace(pace, allowed=(new.id,))
    elif len(used) > len(words):
        pace = replace(pace, allowed=(*pace.allowed, new.id)[-ALLOWED_MAX:])
    also, notes = with_publishing(world, look, pace, used, new.id)
    publish(world, new, target, inv, lead, policy=policy, also=also, notes=notes)
    return replace(memory, plan=new, considered=None, complaint="", is_woken=True)


def _retries(
    world: World, memory: PlannerMemory, look: Look, now_s: float, *, is_wanted: bool
) -> tuple[Turn, PlannerMemory]:
    """Whether to try again now, and what is remembered of it."""
    before = memory.retry
    asked = version_of(world.store.read(paths.ASKED))
    what = turn(
        look.observed.plan,
        look.observed.results,
        before,
        look.pace,
        asked=asked,
        is_wanted=is_wanted,
        now_s=now_s,
    )
    retry = what.retry
    memory = replace(memory, retry=retry)
    if retry is None or not what.failed:
        return what, memory
    wait_s = retry.at_s - now_s
    if what.is_now:
        world.journal.event("retry", steps=what.failed, times=retry.times, next_in_s=wait_s)
        return what, memory
    if (before is None or before.commit != retry.commit) and wait_s != float("inf"):
        world.journal.event("retry_planned", steps=what.failed, in_s=wait_s)
    full_at_s = min(memory.full_at_s, retry.at_s)
    return what, replace(memory, full_at_s=full_at_s)


def _essence(inv: Inventory) -> Inventory:
    """Without what changes all the time and changes no plan but its id."""
    nodes = {
        name: replace(facts, report_number=0, observed_at_s=0, faults=())
        for name, facts in inv.nodes.items()
    }
    facts = inv.storage
    if facts is not None:
        facts = replace(facts, observed_at_s=0, used_ratio=round(facts.used_ratio, 1))
    # How long steps took lately changes what a plan says of its duration, and nothing that it does.
    return replace(inv, nodes=nodes, storage=facts, estimates={})


def _watch_results(world: World, memory: PlannerMemory, current: Plan | None) -> PlannerMemory:
    if current is None:
        return memory
    path = paths.plan_results(current.id)
    if path in memory.watched:
        return memory
    world.store.watch(path)
    return replace(memory, watched=frozenset({path}))


def _complain(world: World, memory: PlannerMemory, why: str) -> PlannerMemory:
    if why != memory.complaint:
        world.journal.event("not_planned", why=why)
    return replace(memory, complaint=why)
