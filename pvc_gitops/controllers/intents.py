"""Operators' momentary wishes: made and ended over the socket, ended by the leader when their time is
over (DESIGN D11). An intent never changes git, and git never ends an intent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from pvc_gitops.controllers import ledger
from pvc_gitops.controllers.ledger import Note
from pvc_gitops.controllers.records import put, read, read_all
from pvc_gitops.controllers.source import spec_of
from pvc_gitops.model import paths
from pvc_gitops.model.codec import encode
from pvc_gitops.model.control import Quarantine
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address, CommitId, NodeName, VmName
from pvc_gitops.model.intents import CLUSTER, Intent, IntentId, IntentKind, is_answered
from pvc_gitops.model.ledger import EntryKind
from pvc_gitops.model.plan import MoveMethod
from pvc_gitops.model.records import Accepted, Applied, GuestPhase, PlacementRecord
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.spec.authority import may_operate
from pvc_gitops.world.ports import Create, Delete, Leadership, Op, Put, Store, World

ROOT: Final = "root"
HOUR_S: Final = 3600
WARN_BEFORE_S: Final = 30 * 60
REASON_MAX: Final = 500  # characters; a sentence or two
COUNT_MAX: Final = 1000  # intents at once: more is a program gone wild
TERM_MAX_S: Final = 366 * 24 * HOUR_S
# Their end does something to a guest, a node or the target, so it is told beforehand.
DOES_SOMETHING: Final[Mapping[IntentKind, str]] = {
    IntentKind.FREEZE: "the cluster then follows the branch again",
    IntentKind.HALT: "steps then begin again",
    IntentKind.MAINTENANCE: "alarms then sound again",
    IntentKind.HOLD: "nodes are then fenced again",
    IntentKind.PLACE: "the guest may then be moved",
    IntentKind.POWER: "the guest then gets the power that git says",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """How long an intent of a kind lasts. `default_s` None: until it is ended by word."""

    default_s: int | None = None
    max_s: int = TERM_MAX_S
    is_required: bool = False


TERMS: Final[Mapping[IntentKind, Term]] = {
    IntentKind.APPROVE: Term(default_s=7 * 24 * HOUR_S),
    IntentKind.RETRY: Term(default_s=HOUR_S),
    IntentKind.POWER: Term(default_s=24 * HOUR_S),
    IntentKind.MAINTENANCE: Term(is_required=True),
    IntentKind.HOLD: Term(is_required=True, max_s=4 * HOUR_S),
    IntentKind.RESTART: Term(default_s=HOUR_S),
    IntentKind.MIGRATE: Term(default_s=HOUR_S),
    IntentKind.RETURN: Term(default_s=24 * HOUR_S),
}
_SUBJECTS: Final[Mapping[IntentKind, tuple[Kind | None, ...]]] = {  # None: the whole cluster
    IntentKind.FREEZE: (None,),
    IntentKind.HALT: (None,),
    IntentKind.HOLD: (None,),
    IntentKind.MAINTENANCE: (None, Kind.NODE),
    IntentKind.DRAIN: (Kind.NODE,),
    IntentKind.RETURN: (Kind.NODE,),
    IntentKind.MIGRATE: (Kind.VM,),
    IntentKind.PLACE: (Kind.VM,),
    IntentKind.POWER: (Kind.VM,),
    IntentKind.RESTART: (Kind.VM,),
}
_POWERS: Final = ("start", "stop")
_WORDS: Final[Mapping[IntentKind, tuple[re.Pattern[str], str]]] = {  # subjects that are no objects
    IntentKind.APPROVE: (re.compile(r"[0-9a-f]{8,64}"), "effect of a plan"),
    IntentKind.RETRY: (re.compile(r"[0-9a-f]{40}|vm/[a-z0-9-]{1,63}"), "commit and no guest"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody asks for, before it is an intent."""

    kind: IntentKind
    subject: str
    by: str
    reason: str
    for_s: int | None
    data: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why a wish is not taken."""

    message: str
    hint: str = ""
    code: str = "refused"


Authority = Callable[[str, str], Refused | None]  # verb, address or "cluster" -> refusal


def authority(world: World, operator: str | None) -> Authority:
    """What the roles of the commit in force say of an operator; None is root, who may do all."""

    def allowed(verb: str, target: str) -> Refused | None:
        if operator is None:
            return None
        commit = in_force(world.store)
        if commit is None:
            return Refused(code="not-ready", message="no commit is accepted yet")
        refused = may_operate(spec_of(world.repo, commit), operator, verb, target)
        if refused is None:
            return None
        return Refused(code="not-allowed", message=refused.message, hint=refused.hint)

    return allowed


def in_force(store: Store) -> CommitId | None:
    """The commit that the cluster follows: the accepted one, or the one that it was rolled back to."""
    quarantine = read(store, paths.QUARANTINED, Quarantine)
    if quarantine is not None:
        return quarantine.commit
    accepted = read(store, paths.ACCEPTED, Accepted)
    return None if accepted is None else accepted.commit


def make(world: World, wish: Wish, allowed: Authority, also: Sequence[Op] = ()) -> Intent | Refused:
    """Write an intent down, with its ledger entry.

    Args:
        world: whose store it stands in.
        wish: what is asked for.
        allowed: what the author's roles say.
        also: further operations of the same transaction.

    Raises:
        StoreError, StoreConflict: nothing was written.
    """
    store, now_s = world.store, world.clock.now_s()
    refused = _refusal(store, wish) or allowed(*_deed(wish.kind, wish.subject, wish.data))
    if refused is not None:
        return refused
    intent, ops, note = drafted(store, _with_what_is(store, wish), now_s)
    store.commit((*ops, *also, *ledger.appending(store, [note], now_s)))
    world.journal.event(
        "intent", id=intent.id, by=intent.by, reason=intent.reason, expires_at_s=intent.expires_at_s
    )
    return intent


def _with_what_is(store: Store, wish: Wish) -> Wish:
    """A restart is over with the next start after it was asked for, a move when the guest has left."""
    if wish.kind not in (IntentKind.RESTART, IntentKind.MIGRATE):
        return wish
    placement = _placement(store, wish.subject)
    if wish.kind is IntentKind.MIGRATE:
        source = "" if placement is None else placement.owner
        asked = {key: wish.data.get(key, "") for key in ("node", "method")}
        return replace(wish, data={**asked, "from": source})
    return replace(wish, data={"starts": str(0 if placement is None else placement.starts)})


def _placement(store: Store, subject: str) -> PlacementRecord | None:
    name = VmName(subject.partition("/")[2])
    return read(store, paths.placement(name), PlacementRecord)


def drafted(store: Store, wish: Wish, now_s: int) -> tuple[Intent, tuple[Op, ...], Note]:
    """An intent with the operations that write it, for a transaction of the caller's.

    Numbers come from the parent's record, so that no id is ever given twice.
    """
    parent = store.read(paths.INTENTS)
    assert parent is not None  # formation made it
    number = int(parent.value.get("last", 0)) + 1
    term = TERMS.get(wish.kind, Term())
    for_s = term.default_s if wish.for_s is None else wish.for_s
    _, is_object, name = wish.subject.rpartition("/")
    middle = f"{name}-" if is_object else ""
    intent = Intent(
        id=IntentId(f"{wish.kind}-{middle}{number}"),
        kind=wish.kind,
        subject=wish.subject,
        by=wish.by,
        reason=wish.reason,
        made_at_s=now_s,
        expires_at_s=None if for_s is None else now_s + for_s,
        data=dict(wish.data),
    )
    ops = (
        Put(path=paths.INTENTS, value={"last": number}, version=parent.version),
        Create(path=paths.intent(intent.id), value=encode(intent)),
    )
    because = f": {wish.reason}" if wish.reason else ""
    note = Note(
        kind=EntryKind.INTENT,
        text=f"{intent.id}: {wish.kind} {wish.subject}{because}",
        by=wish.by,
        addresses=_addresses(intent),
        data={"id": intent.id, "expires": str(intent.expires_at_s or "")},
    )
    return intent, ops, note


def end(
    world: World,
    intent_id: IntentId,
    by: str,
    reason: str,
    allowed: Authority,
    *,
    stays: bool = False,
) -> Intent | Refused:
    """End one by word. `stays`: of a drain; whom it moved away does not come back. Raises StoreError,
    StoreConflict."""
    intent = read(world.store, paths.intent(intent_id), Intent)
    if intent is None:
        return Refused(
            code="no-intent",
            message=f"there is no intent {intent_id}",
            hint="pvc intent list shows those in force",
        )
    refused = allowed(*_deed(intent.kind, intent.subject, intent.data))
    if refused is not None:
        return refused
    because = f"ended by {by}" + (f": {reason}" if reason else "")
    ops, note = ending(intent, because, by)
    back, notes = ((), ()) if stays else _returning(world.store, intent, by, world.clock.now_s())
    now_s = world.clock.now_s()
    ops = (*ops, *back, *ledger.appending(world.store, [note, *notes], now_s))
    world.store.commit(ops)
    world.journal.event("intent_ended", id=intent.id, why=because)
    return intent


def _returning(
    store: Store, intent: Intent, by: str, now_s: int
) -> tuple[tuple[Op, ...], tuple[Note, ...]]:
    """Whom an emptying moved away comes back when it ends."""
    kind, _, _ = intent.subject.partition("/")
    if intent.kind not in (IntentKind.DRAIN, IntentKind.MAINTENANCE) or kind != Kind.NODE:
        return (), ()
    wish = Wish(
        kind=IntentKind.RETURN,
        subject=intent.subject,
        by=by,
        reason="",
        for_s=None,
        data={"drain": intent.id},
    )
    _, ops, note = drafted(store, wish, now_s)
    return ops, (note,)


def ending(intent: Intent, why: str, by: str) -> tuple[tuple[Op, ...], Note]:
    """What ends an intent, for a transaction of the caller's."""
    note = Note(
        kind=EntryKind.INTENT_ENDED,
        text=f"{intent.id}: {why}",
        by=by,
        addresses=_addresses(intent),
        data={"id": intent.id},
    )
    return (Delete(path=paths.intent(intent.id), version=intent.version),), note


def tick(world: World, lead: Leadership, warned: frozenset[IntentId]) -> frozenset[IntentId]:
    """As leader: remove what is over, and warn of what soon will be. Returns whom it warned of."""
    store, now_s = world.store, world.clock.now_s()
    intents = read_all(store, paths.INTENTS, Intent).values()
    for intent in intents:
        _judge_anew(world, lead, intent)
        why = _why_over(store, intent, now_s)
        if why:
            ops, note = ending(intent, why, "planner")
            back, notes = _returning(store, intent, "planner", now_s)
            entries = ledger.appending(store, [note, *notes], now_s)
            store.commit((*lead.checks, *ops, *back, *entries))
            world.journal.event("intent_ended", id=intent.id, why=why)
    soon = {intent.id for intent in ending_soon(intents, now_s)}
    for name in sorted(soon - warned):
        world.journal.event("intent_ends_soon", id=name)
    return frozenset(soon)


def _why_over(store: Store, intent: Intent, now_s: int) -> str:
    if intent.is_over(now_s):
        return "its time is over"
    if is_of_guest(intent):
        return "it is tried again"
    if intent.kind is not IntentKind.RESTART:
        return ""
    placement = _placement(store, intent.subject)
    done = placement is not None and is_answered(intent, placement)
    return "it was started anew" if done else ""


def is_of_guest(intent: Intent) -> bool:
    """Is it about a guest that is not started any more by itself?"""
    return intent.kind is IntentKind.RETRY and intent.subject.startswith(f"{Kind.VM}/")


def _judge_anew(world: World, lead: Leadership, intent: Intent) -> None:
    """Forget what a guest came to before: its owner, and all others, try as if for the first time."""
    before = _placement(world.store, intent.subject) if is_of_guest(intent) else None
    if before is None or not (before.rests or before.state is GuestPhase.FAILED):
        return
    after = replace(
        before,
        state=GuestPhase.WAITING,
        why=f"{intent.by} asks again",
        since_s=world.clock.now_s(),
        restarts=0,
        tried=(),
        rests=False,
    )
    name = VmName(intent.subject.partition("/")[2])
    world.store.commit((*lead.checks, put(paths.placement(name), after, before.version)))
    world.journal.event("vm_state", vm=name, before=before.state, state=after.state, why=after.why)


def ending_soon(intents: Iterable[Intent], now_s: int) -> tuple[Intent, ...]:
    """Those whose end will do something within the next half hour."""
    return tuple(
        intent
        for intent in intents
        if intent.kind in DOES_SOMETHING
        and intent.expires_at_s is not None
        and now_s < intent.expires_at_s <= now_s + WARN_BEFORE_S
    )


def next_end_s(intents: Iterable[Intent]) -> int | None:
    """When the next one is over, on the wall clock."""
    ends = [i.expires_at_s for i in intents if i.expires_at_s is not None]
    return min(ends, default=None)


def _deed(kind: IntentKind, subject: str, data: Mapping[str, str]) -> tuple[str, str]:
    """The word of authority that an intent needs, and what it is about."""
    if kind is IntentKind.RETURN:
        return IntentKind.DRAIN.value, subject
    verb = data.get("power", "stop") if kind is IntentKind.POWER else kind.value
    if kind is IntentKind.RETRY and subject.startswith(f"{Kind.VM}/"):
        verb = "start"
    return verb, subject if "/" in subject else CLUSTER


# --- what is refused -------------------------------------------------------------------------------


def _refusal(store: Store, wish: Wish) -> Refused | None:
    return refused_words(wish) or _refused_subject(store, wish) or _refused_count(store)


def refused_words(wish: Wish) -> Refused | None:
    """What is wrong with a wish whatever the cluster is."""
    term = TERMS.get(wish.kind, Term())
    pattern, what = _WORDS.get(wish.kind, (None, ""))
    if pattern is not None and pattern.fullmatch(wish.subject) is None:
        return Refused(message=f"{wish.subject!r} is no {what}")
    if len(wish.reason) > REASON_MAX or not wish.reason.isprintable():
        return Refused(message=f"a reason is one line of at most {REASON_MAX} characters")
    if wish.for_s is None:
        if term.is_required:
            return Refused(
                message=f"{wish.kind} needs an end", hint="say for how long: --for 2h, for example"
            )
        return None
    # Maintenance of the cluster is a hold, too.
    is_hold = wish.kind is IntentKind.MAINTENANCE and wish.subject == CLUSTER
    max_s = TERMS[IntentKind.HOLD].max_s if is_hold else term.max_s
    if not 0 < wish.for_s <= max_s:
        limit = f"{max_s // HOUR_S} h"
        return Refused(message=f"{wish.kind} lasts more than nothing and at most {limit}")
    return None


def _refused_subject(store: Store, wish: Wish) -> Refused | None:
    if wish.kind in _WORDS:
        return None
    kind, _, name = wish.subject.partition("/")
    kinds = _SUBJECTS[wish.kind]
    if wish.subject == CLUSTER and None in kinds:
        return None
    expected = " or ".join(CLUSTER if each is None else f"{each}/NAME" for each in kinds)
    if kind not in kinds or not name:
        return Refused(message=f"{wish.kind} is about {expected}, not {wish.subject!r}")
    if read(store, paths.applied(Address(wish.subject)), Applied) is None:
        return Refused(
            code="unknown-address",
            message=f"the cluster has no {wish.subject}",
            hint="pvc status shows what it has",
        )
    return _refused_data(store, wish)


def _refused_data(store: Store, wish: Wish) -> Refused | None:
    if wish.kind is IntentKind.POWER and wish.data.get("power") not in _POWERS:
        return Refused(message=f"power is {' or '.join(_POWERS)}, not {wish.data.get('power')!r}")
    if wish.kind is IntentKind.DRAIN:
        return _refused_drain(store)
    if wish.kind is IntentKind.RETURN and not wish.data.get("drain"):
        return Refused(message="which drain moved them away?", hint="pvc node undrain NODE")
    if wish.kind is IntentKind.MIGRATE:
        return _refused_move(store, wish)
    if wish.kind is IntentKind.PLACE:
        node = NodeName(wish.data.get("node", ""))
        if not node or read(store, paths.applied(Address(f"node/{node}")), Applied) is None:
            return Refused(message=f"the cluster has no node {node!r}")
    return None


def _refused_drain(store: Store) -> Refused | None:
    """One at a time: two that do not know of each other would take the room from each other."""
    for intent in read_all(store, paths.INTENTS, Intent).values():
        if intent.kind is IntentKind.DRAIN:
            why = f': "{intent.reason}"' if intent.reason else ""
            return Refused(
                message=f"{intent.subject} is drained already, by {intent.by}{why}",
                hint=f"pvc node undrain {intent.subject.partition('/')[2]}",
            )
    return None


def _refused_move(store: Store, wish: Wish) -> Refused | None:
    to, placement = wish.data.get("node", ""), _placement(store, wish.subject)
    if placement is None:
        return Refused(message=f"{wish.subject} is nowhere: it has no owner yet")
    if to and read(store, paths.applied(Address(f"node/{to}")), Applied) is None:
        return Refused(message=f"the cluster has no node {to!r}")
    if wish.data.get("method", "") not in ("", *MoveMethod):
        return Refused(message=f"a guest is moved {' or '.join(MoveMethod)}")
    if to == placement.owner and placement.incoming is None:
        return Refused(message=f"{wish.subject} is on {to} already")
    for intent in read_all(store, paths.INTENTS, Intent).values():
        if intent.kind is IntentKind.MIGRATE and intent.subject == wish.subject:
            return Refused(
                message=f"{intent.by} moves it already", hint=f"pvc intent end {intent.id}"
            )
    return None


def _refused_count(store: Store) -> Refused | None:
    if len(store.read_children(paths.INTENTS)) < COUNT_MAX:
        return None
    return Refused(
        message=f"{COUNT_MAX} intents are in force already",
        hint="pvc intent list, then pvc intent end ID",
    )


def _addresses(intent: Intent) -> tuple[Address, ...]:
    return (Address(intent.subject),) if "/" in intent.subject else ()
