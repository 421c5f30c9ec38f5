"""The ledger's writing: what happened joins the chain in the very transaction in which it happened,
or, for the steps of plans, when the leader finds their results.

    store.commit((*lead.checks, put(paths.ACCEPTED, …), *ledger.appending(store, notes, now_s)))

Two writers at once conflict on the head, and one of them looks again: no entry is lost or doubled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from statistics import median
from typing import Final

from pvc_gitops.controllers import slices
from pvc_gitops.controllers.records import put, read, read_all
from pvc_gitops.model import paths
from pvc_gitops.model.ids import Address, CommitId, PlanId
from pvc_gitops.model.inventory import Spent
from pvc_gitops.model.ledger import Cost, Entry, EntryKind, LedgerHead
from pvc_gitops.model.plan import Operation, Step
from pvc_gitops.model.records import Formation, StepResult, StepStatus
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import Delete, Leadership, Op, Store, World

HOUR_S: Final = 3600
DAY_H: Final = 24  # the span of the budgets (D5)
DURATIONS_KEPT: Final = 9  # a median of nine forgets one outlier and yesterday's hardware
STEPS_AT_ONCE: Final = 50  # entries of one transaction: far below its limit in bytes
TEXT_MAX: Final = 2000  # characters of one field: a result may quote a whole log
KEPT_MAX: Final = 1000  # entries in the store; older ones are in the nodes' archives
PRESSING: Final = 3  # times as many: then nobody is waited for
TRIM_AT_ONCE: Final = 100
_DESTROYS: Final[Mapping[str, str]] = {
    "vm": "vms",
    "volume": "volumes",
    "network": "networks",
    "node": "nodes",
    "pool": "pools",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What happened, before it has a number. `cost` is a word of the budgets or ""."""

    kind: EntryKind
    text: str
    by: str
    addresses: tuple[Address, ...] = ()
    commit: CommitId | None = None
    plan: PlanId | None = None
    step: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    at_s: int | None = None  # None: now
    cost: str = ""
    operation: str = ""  # whose duration is learnt
    took_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerMemory:
    """Which ended steps of which plans are written down; None before a leader has looked."""

    steps: Mapping[PlanId, frozenset[str]] | None = None
    is_watching: bool = False


def appending(store: Store, notes: Sequence[Note], now_s: int) -> tuple[Op, ...]:
    """The operations that add entries, to be put last into the transaction of what they tell."""
    if not notes:
        return ()
    head = read(store, paths.LEDGER_HEAD, LedgerHead)
    before = None if head is None else head.version
    end = head or LedgerHead(number=0, digest="", oldest=1, costs=(), took_s={})
    ops: list[Op] = []
    for note in notes:
        entry = _entry(note, end, now_s)
        ops.append(put(paths.ledger_entry(entry.number), entry, None))
        end = replace(
            end,
            number=entry.number,
            digest=entry.digest,
            costs=_with_cost(end.costs, note, now_s),
            took_s=_with_duration(end.took_s, note),
        )
    return (*ops, put(paths.LEDGER_HEAD, end, before))


def tick(
    world: World,
    lead: Leadership,
    memory: LedgerMemory,
    plans: Iterable[PlanId],
    coordinators: Collection[str],
) -> LedgerMemory:
    """As leader: write down the founding, and the steps that ended.

    Args:
        world: whose store holds the ledger.
        lead: proof of leading the planner's role.
        memory: what was written down so far.
        plans: the plan in force, and those of which a step is claimed.
        coordinators: who keeps an archive.

    Raises:
        StoreError, StoreConflict: nothing was written, or up to a whole batch of entries.
    """
    store, now_s = world.store, world.clock.now_s()
    if read(store, paths.LEDGER_HEAD, LedgerHead) is None:
        founding = _founding(store)
        store.commit((*lead.checks, *appending(store, [founding], now_s)))
    known = dict(memory.steps if memory.steps is not None else _written(store))
    wanted = set(plans)
    for plan in sorted(known.keys() | wanted):
        done = known.get(plan, frozenset())
        results = slices.read_results(store, plan)
        ended = [r for r in results.values() if _has_ended(r) and r.step not in done]
        if ended:
            _write_steps(world, lead, plan, ended)
            known[plan] = done | {result.step for result in ended}
    # A plan of which no step is claimed any more, and that is not in force, has told all it will.
    kept = {plan: known.get(plan, frozenset()) for plan in sorted(wanted)}
    _trim(store, lead, coordinators)
    return replace(memory, steps=kept)


def spent(head: LedgerHead | None, now_s: int) -> Spent:
    """The costs of the last 24 h, in whole hours: the hour in which they began counts whole."""
    sums: dict[str, dict[str, int]] = {"destroyed": {}, "disrupted": {}}
    for cost in () if head is None else head.costs:
        if cost.hour > now_s // HOUR_S - DAY_H:
            kind, _, word = cost.word.partition(".")
            sums[kind][word] = sums[kind].get(word, 0) + cost.count
    return Spent(destroyed=sums["destroyed"], disrupted=sums["disrupted"])


def estimates(head: LedgerHead | None) -> Mapping[str, float]:
    """How long operations take here: the median of their last few durations, in seconds."""
    took = {} if head is None else head.took_s
    return {operation: float(median(durations)) for operation, durations in sorted(took.items())}


def cost_of(step: Step) -> str:
    """In words of the budgets, what a step costs that was done; "" for most."""
    if step.operation in (Operation.RECORD_DROP, Operation.RECORD_KEEP) and not step.inputs.get(
        "is_free"
    ):
        word = _DESTROYS.get(step.address.partition("/")[0])
        return "" if word is None else f"destroyed.{word}"
    if step.operation is Operation.VM_STOP and step.downtime_s > 0:
        return "disrupted.reboots"
    return ""


# --- entries ---------------------------------------------------------------------------------------


def _entry(note: Note, before: LedgerHead, now_s: int) -> Entry:
    return Entry(
        number=before.number + 1,
        previous=before.digest,
        at_s=now_s if note.at_s is None else note.at_s,
        kind=note.kind,
        text=_cut(note.text),
        by=note.by,
        addresses=note.addresses,
        commit=note.commit,
        plan=note.plan,
        step=note.step,
        data={key: _cut(value) for key, value in sorted(note.data.items()) if value},
    )


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"


def _with_cost(costs: tuple[Cost, ...], note: Note, now_s: int) -> tuple[Cost, ...]:
    hour = now_s // HOUR_S
    young = [cost for cost in costs if cost.hour > hour - DAY_H]
    if not note.cost:
        return tuple(young)
    same = next((c for c in young if c.hour == hour and c.word == note.cost), None)
    if same is None:
        return (*young, Cost(hour=hour, word=note.cost, count=1))
    return tuple(replace(c, count=c.count + 1) if c is same else c for c in young)


def _with_duration(
    took_s: Mapping[str, tuple[int, ...]], note: Note
) -> Mapping[str, tuple[int, ...]]:
    if not note.operation:
        return took_s
    known = took_s.get(note.operation, ())
    return {**took_s, note.operation: (*known, note.took_s)[-DURATIONS_KEPT:]}


def _founding(store: Store) -> Note:
    formation = read(store, paths.FORMAT, Formation)
    assert formation is not None  # who leads has read it
    return Note(
        kind=EntryKind.FOUNDED,
        text=f"founded from {formation.commit[:7]}",
        by="formation",
        commit=formation.commit,
        at_s=formation.founded_at_s,
        data={"cluster": formation.cluster_id, "formation": str(formation.formation)},
    )


# --- steps -----------------------------------------------------------------------------------------


def _has_ended(result: StepResult) -> bool:
    return result.status in (StepStatus.DONE, StepStatus.FAILED)


def _written(store: Store) -> dict[PlanId, frozenset[str]]:
    """What a leader before us wrote down."""
    found: dict[PlanId, set[str]] = {}
    for entry in read_all(store, paths.LEDGER_ENTRIES, Entry).values():
        if entry.kind is EntryKind.STEP and entry.plan is not None and entry.step is not None:
            found.setdefault(entry.plan, set()).add(entry.step)
    return {plan: frozenset(steps) for plan, steps in found.items()}


def _write_steps(world: World, lead: Leadership, plan: PlanId, ended: Sequence[StepResult]) -> None:
    store = world.store
    whole = slices.read_plan(store, plan)
    steps = {} if whole is None else {step.id: step for step in whole.steps}
    commit = None if whole is None else whole.commit
    in_order = sorted(ended, key=lambda result: (result.ended_at_s or 0, result.step))
    for at in range(0, len(in_order), STEPS_AT_ONCE):
        notes = [
            _step_note(result, steps.get(result.step), plan, commit)
            for result in in_order[at : at + STEPS_AT_ONCE]
        ]
        store.commit((*lead.checks, *appending(store, notes, world.clock.now_s())))


def _step_note(
    result: StepResult, step: Step | None, plan: PlanId, commit: CommitId | None
) -> Note:
    is_done = result.status is StepStatus.DONE
    took_s = max(0, (result.ended_at_s or result.started_at_s) - result.started_at_s)
    return Note(
        kind=EntryKind.STEP,
        text=f"{result.step}: done in {took_s} s"
        if is_done
        else f"{result.step}: failed: {result.error}",
        by=result.node,
        addresses=() if step is None else (step.address,),
        commit=commit,
        plan=plan,
        step=result.step,
        data={
            "status": result.status.value,
            "error": result.error,
            "undo": "" if step is None else step.undo,
            "record": "" if step is None or step.record is None else step.record.digest,
            **{f"seen {key}": value for key, value in result.evidence.items()},
        },
        at_s=result.ended_at_s,
        cost=cost_of(step) if step is not None and is_done else "",
        operation=step.operation.value if step is not None and is_done else "",
        took_s=took_s,
    )


# --- bounds ----------------------------------------------------------------------------------------


def _trim(store: Store, lead: Leadership, coordinators: Collection[str]) -> None:
    """Drop what all archives have, when there is too much of it."""
    head = read(store, paths.LEDGER_HEAD, LedgerHead)
    if not coordinators or head is None or head.number - head.oldest < KEPT_MAX:
        return
    said = store.read_children(paths.LEDGER_ARCHIVED)
    archived = sorted(
        int(said[name].value["number"]) if name in said else 0 for name in coordinators
    )
    # A coordinator that is away for long keeps nobody from working: then a majority's is enough.
    is_pressing = head.number - head.oldest >= KEPT_MAX * PRESSING
    safe = archived[(len(archived) - 1) // 2] if is_pressing else archived[0]
    last = min(safe, head.oldest + TRIM_AT_ONCE - 1, head.number - KEPT_MAX // 2)
    doomed: list[Op] = []
    for number in range(head.oldest, last + 1):
        stamped = store.read(paths.ledger_entry(number))
        if stamped is not None:
            doomed.append(Delete(path=paths.ledger_entry(number), version=stamped.version))
    if last < head.oldest:
        return
    kept = replace(head, oldest=last + 1)
    store.commit((*lead.checks, *doomed, put(paths.LEDGER_HEAD, kept, head.version)))
