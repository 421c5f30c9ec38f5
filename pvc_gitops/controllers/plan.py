"""pvc-planner: one tick. Accept commits, plan, verify, publish by compare-and-set.

Candidates that do not lead only watch the heartbeats, so that a new leader knows since when each
stands still. A leader that is deposed in the middle loses nothing: every write checks its candidacy
and its epoch, and a plan that no target names is inert.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import field, replace
from typing import Final

from pvc_gitops.controllers import blobs, ledger, slices, source, storage
from pvc_gitops.controllers.beats import read_beats
from pvc_gitops.controllers.ledger import LedgerMemory, Note
from pvc_gitops.controllers.observe import Observed, lease_s, of_one_moment
from pvc_gitops.controllers.records import put, read, read_all, version_of
from pvc_gitops.controllers.storage import StorageMemory
from pvc_gitops.controllers.watch import NodeWatch
from pvc_gitops.errors import RepoError, SpecError, StoreConflict, StoreError
from pvc_gitops.model import paths
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import CommitId, Generation, NodeName, PlanId
from pvc_gitops.model.inventory import Inventory, NodeState
from pvc_gitops.model.ledger import EntryKind
from pvc_gitops.model.plan import Plan
from pvc_gitops.model.records import (
    Accepted,
    Applied,
    Claim,
    Formation,
    SourceSeen,
    StepResult,
    StepStatus,
    Target,
)
from pvc_gitops.model.spec import Node, NodeRole
from pvc_gitops.model.values import dataclass
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.planner import PLANNER_VERSION, POLICY, plan
from pvc_gitops.planner.remaining import remaining_differs
from pvc_gitops.world.ports import Delete, Leadership, Op, World

ROLE: Final = "planner"
BEATS_EVERY_S: Final = 2.0
FULL_EVERY_S: Final = 30.0  # what no watch tells: reports, the clock
WITHOUT_STORE_S: Final = 1.0
GATHERING_S: Final = 60.0  # a machine that boots slower than its companions by more is a fault
ADDRESSES_TOLD: Final = 200  # of a plan, in the ledger; its steps tell all of them
PLANS_KEPT: Final = 20  # D3; `pvc history` reads older ones from the ledger
# A failed step is tried again by a new plan after this long, doubling: what failed is usually a
# server or a disk that somebody is already looking at.
RETRY_FIRST_S: Final = 30.0
RETRY_MAX_S: Final = 600.0
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
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a commit's failed steps were tried again, and when the next time is."""

    commit: CommitId
    times: int
    at_s: float
    asked: int | None  # version of the question that was last answered by trying again


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
    states: dict[NodeName, NodeState] = field(default_factory=dict)  # when last planned
    told: dict[NodeName, NodeState] = field(default_factory=dict)  # in the journal
    retry: Retry | None = None
    ledger: LedgerMemory = field(default_factory=LedgerMemory)
    complaint: str = ""  # said once


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
    accept(world, formation, lead)
    observed = of_one_moment(world, memory.watch, memory.storage.facts, memory.plan)
    if observed is None or observed.inventory.accepted is None:
        return memory
    memory = replace(
        memory,
        plan=observed.plan,
        told=_told(world, memory, observed.inventory),
        ledger=ledger.tick(
            world, lead, memory.ledger, _at_work(observed.inventory), _coordinators(world)
        ),
    )
    memory = _freshen(world, memory, observed, now_s)
    applied = dict(observed.inventory.applied)
    asked_s = memory.storage.asked_at_s
    is_fresh = asked_s is not None and asked_s >= memory.changed_at_s
    if not is_fresh and not memory.storage.fault:
        return memory  # the end of the look wakes us
    if not memory.watch.is_settled(now_s, lease_s(applied)):
        return replace(memory, full_at_s=now_s + WITHOUT_STORE_S)
    if observed.target is None and _is_gathering(memory.watch, observed.inventory, now_s):
        return replace(memory, full_at_s=now_s + WITHOUT_STORE_S)
    # An older look, be it another coordinator's report, may show disks that lie in the trash by now:
    # whatever stands on Ceph then waits, the rest goes on.
    fresh = replace(observed.inventory, storage=memory.storage.facts if is_fresh else None)
    return _plan(world, memory, replace(observed, inventory=fresh), lead, now_s)


def _at_work(inv: Inventory) -> set[PlanId]:
    """The plan in force, and those of which a node still carries out a step."""
    plans = {claim.plan for claim in inv.claims.values()}
    return plans if inv.target is None else plans | {inv.target}


def _is_gathering(watch: NodeWatch, inv: Inventory, now_s: float) -> bool:
    """Before the first plan of a cluster: are there declared nodes that may still be starting?

    Guests that are placed on the first two of three nodes stay there, against what their groups say.
    """
    if watch.since_s is not None and now_s - watch.since_s > GATHERING_S:
        return False
    declared = {
        NodeName(record.name)
        for record in inv.applied.values()
        if record.kind is Kind.NODE and not Node.from_spec(record.name, record.spec).is_retired
    }
    online = {name for name, facts in inv.nodes.items() if facts.state is NodeState.ONLINE}
    return not declared <= online


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


def accept(world: World, formation: Formation, lead: Leadership) -> None:
    """Take up the commit that a majority of coordinators hold and verified (D7)."""
    store = world.store
    accepted = read(store, paths.ACCEPTED, Accepted)
    base = formation.commit if accepted is None else accepted.commit
    coordinators = _coordinators(world)
    seen = {
        name: record
        for name, record in read_all(store, paths.SEEN, SourceSeen).items()
        if name in coordinators
    }
    head = majority_head([record.head for record in seen.values()], len(coordinators))
    if head is None or (accepted is not None and head == accepted.commit):
        return
    try:
        if not world.repo.has(head) or not (
            head == base or (world.repo.has(base) and world.repo.is_ancestor(base, head))
        ):
            return
        info = world.repo.info(head)
    except RepoError:
        return
    record = Accepted(
        commit=head, subject=info.subject, author=info.author, accepted_at_s=world.clock.now_s()
    )
    before = None if accepted is None else accepted.version
    note = Note(
        kind=EntryKind.ACCEPTED,
        text=f"{head[:7]} {info.subject}",
        by=info.author,
        commit=head,
        data={"after": "" if accepted is None else accepted.commit},
    )
    told = ledger.appending(store, [note], record.accepted_at_s)
    store.commit((*lead.checks, put(paths.ACCEPTED, record, before), *told))
    world.journal.event("accepted", commit=head, subject=info.subject)


def majority_head(heads: Sequence[CommitId | None], coordinators: int) -> CommitId | None:
    """The commit that more than half of the coordinators hold; there is at most one."""
    for head in sorted({head for head in heads if head is not None}):
        if 2 * heads.count(head) > coordinators:
            return head
    return None


def _coordinators(world: World) -> frozenset[str]:
    found = set()
    for record in read_all(world.store, paths.OWNED, Applied).values():
        if record.address.startswith("node/"):
            node = Node.from_spec(record.name, record.spec)
            if node.role is NodeRole.COORDINATOR and not node.is_retired:
                found.add(record.name)
    return frozenset(found)


# --- planning ---------------------------------------------------------------------------------------


def _plan(  # noqa: PLR0911  a list of reasons not to publish
    world: World, memory: PlannerMemory, observed: Observed, lead: Leadership, now_s: float
) -> PlannerMemory:
    inv, target, current = observed.inventory, observed.target, observed.plan
    results = observed.results
    assert inv.accepted is not None
    if inv.planner_version is not None and _version(inv.planner_version) > _version(
        PLANNER_VERSION
    ):
        return _complain(
            world, memory, f"planner {inv.planner_version} has published; this one is older"
        )
    states = {name: facts.state for name, facts in inv.nodes.items()}
    memory = _watch_results(world, memory, current)
    is_retry, memory = _is_time_to_retry(world, memory, current, results, now_s)
    same_wish = target is not None and target.commit == inv.accepted
    if same_wish and states == memory.states and not is_retry and is_under_way(current, results):
        return memory  # it is being carried out, and nothing that it stands on has changed
    essence = _essence(inv)
    if essence == memory.considered and not is_retry:
        return memory
    try:
        spec = source.spec_of(world.repo, inv.accepted)
    except (RepoError, SpecError) as error:
        return _complain(world, memory, f"the accepted commit cannot be read here: {error}")
    new = plan(spec, inv, POLICY, None if target is None else target.plan)
    memory = replace(memory, considered=essence, states=states)
    wrong = problems(new, inv)
    if wrong:
        return _complain(world, memory, f"plan {new.id} does not verify: {wrong[0]}")
    done = frozenset(r.step for r in results.values() if r.status is StepStatus.DONE)
    is_news = current is None or remaining_differs(new, current, done)
    moves_on = target is None or target.commit != inv.accepted
    if not (is_news or is_retry or moves_on):
        return memory
    publish(world, new, target, inv, lead)
    return replace(memory, plan=new, considered=None, complaint="", is_woken=True)


def is_under_way(current: Plan | None, results: dict[str, StepResult]) -> bool:
    """Is there a step that runs or can still begin?"""
    if current is None:
        return False
    statuses = slices.statuses(current, results).values()
    return StepStatus.RUNNING in statuses or StepStatus.PENDING in statuses


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


def _is_time_to_retry(
    world: World,
    memory: PlannerMemory,
    current: Plan | None,
    results: dict[str, StepResult],
    now_s: float,
) -> tuple[bool, PlannerMemory]:
    failed = [r for r in results.values() if r.status is StepStatus.FAILED]
    if current is None or current.commit is None or not failed or is_under_way(current, results):
        return False, memory
    asked = version_of(world.store.read(paths.ASKED))
    retry = memory.retry
    if retry is None or retry.commit != current.commit:
        # What cannot succeed without somebody's doing waits for somebody to ask.
        can_help_itself = any(r.is_retryable for r in failed)
        wait_s = RETRY_FIRST_S if can_help_itself else math.inf
        retry = Retry(commit=current.commit, times=0, at_s=now_s + wait_s, asked=asked)
        if can_help_itself:
            world.journal.event("retry_planned", steps=len(failed), in_s=wait_s)
    elif now_s >= retry.at_s or asked != retry.asked:
        wait_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** (retry.times + 1))
        retry = Retry(
            commit=current.commit, times=retry.times + 1, at_s=now_s + wait_s, asked=asked
        )
        world.journal.event("retry", steps=len(failed), times=retry.times, next_in_s=wait_s)
        return True, replace(memory, retry=retry)
    memory = replace(memory, retry=retry, full_at_s=min(memory.full_at_s, retry.at_s))
    return False, memory


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


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


# --- publishing -------------------------------------------------------------------------------------


def publish(
    world: World, new: Plan, target: Target | None, inv: Inventory, lead: Leadership
) -> None:
    """Write the plan, then make it the target. Raises StoreConflict where another leader did."""
    store = world.store
    assert inv.accepted is not None
    generation = Generation(1 if target is None else target.generation + 1)
    ops = [
        op
        for op in slices.creates(new, formation=inv.formation, generation=generation)
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
    told = ledger.appending(store, [_published(new, generation)], aim.published_at_s)
    store.commit((*lead.checks, put(paths.TARGET, aim, before), *told))
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
