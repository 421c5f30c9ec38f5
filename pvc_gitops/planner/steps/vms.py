"""Guests: their disks, their record, and their power."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from pvc_gitops.model.document import Document, FieldPath, Kind
from pvc_gitops.model.fields import Disposition
from pvc_gitops.model.ids import Address, NodeName, VmName, address
from pvc_gitops.model.inventory import Deviation, GuestState
from pvc_gitops.model.plan import (
    Action,
    Cause,
    FieldChange,
    ItemKind,
    Operation,
    PlacementChoice,
)
from pvc_gitops.model.records import Applied, DiskRef, Phase, Wanted
from pvc_gitops.model.spec import RunState, VirtualMachine
from pvc_gitops.model.values import dataclass
from pvc_gitops.planner.admission import Denied
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.diff import RESTARTING, Difference, Held, field_changes, shown
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.leases import Allocator
from pvc_gitops.planner.records import references
from pvc_gitops.planner.steps import restarts
from pvc_gitops.planner.steps.common import created, is_same, keep, report_lost, settle, updated
from pvc_gitops.planner.steps.data import may_be_made, own_disks
from pvc_gitops.planner.steps.disks import (
    disk_address,
    has_stale,
    make_disks,
    trash_stale,
    trashed,
    youngest_life,
)
from pvc_gitops.planner.steps.vm_record import guest_record, power_held, takes_anothers
from pvc_gitops.scheduler.capacity import guest_mib

_NO_PLACE: Final = Cause(code="no-place", text="it was applied and has no place", place=None)
_LEFT_OVER: Final = Cause(code="left-over", text="data of a removed disk is left", place=None)
_LOST: Final = Cause(code="in-trash", text="its data lies in the trash", place=None)
# Written out once: an enumeration's member takes its time to become text.
_NETWORKS: Final = f"{Kind.NETWORK}/"
_ENSURE: Final = Operation.NETWORK_ENSURE.value
_PUT: Final = Operation.NETWORK_PUT.value
# Fields by which a guest can ask its node, or the others when its node dies, for more.
_DEMANDS: Final[tuple[FieldPath, ...]] = (
    ("memory",),
    ("run_state",),
    ("cpu", "vcpus"),
    ("nics",),
    ("ha", "restart"),
    ("ha", "relocate"),
    ("placement", "nodes"),
    ("placement", "strict"),
    ("placement", "groups"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """A guest that has a record, and what this commit makes of it."""

    doc: Document
    applied: Applied
    found: Difference
    node: NodeName
    needs: tuple[Address, ...]  # what its spec refers to


# --- what is new -----------------------------------------------------------------------------------


def new_record(
    context: Context, draft: Draft, allocator: Allocator, doc: Document
) -> Applied | None:
    """The record of a guest that has none, or that is declared again while it is being removed.
    None: something it needs is missing, and the report says what."""
    applied = context.applied(doc.address) or context.kept.get(doc.address)
    disks = [disk_address(doc.name, name) for name in sorted(doc.spec["disks"])]
    life = youngest_life(context, doc.address, disks) if applied is None else applied.incarnation
    needs = references(Kind.VM, doc.spec)
    missing = draft.missing(needs)
    if missing:
        draft.waiting(
            doc.address,
            "needs",
            f"waits for {', '.join(missing)}, which this plan does not make",
            "see what the report says of it",
            doc.place(()),
        )
        return None
    record = guest_record(
        context, draft, allocator, doc, applied, spec=doc.spec, life=life, needs=needs
    )
    if takes_anothers(context, draft, doc, record) or _is_name_borne(context, draft, doc):
        return None
    return record if may_be_made(context, draft, doc, record) else None


def create(
    context: Context, draft: Draft, doc: Document, record: Applied, choice: PlacementChoice
) -> None:
    """Disks, then the record; the node's agent starts the guest."""
    applied, pre = context.applied(doc.address), context.digest(doc.address)
    draft.placement.append(choice)
    draft.places[choice.vm] = choice.node
    made, operations = make_disks(context, draft, record, choice.node, pre=pre)
    _put(context, draft, record, choice.node, pre=pre, needs=made, is_deferred=False)
    if applied is not None and applied.phase is Phase.PRESENT:
        created(draft, doc, record, Action.UPDATE, _NO_PLACE)
        return
    is_back = applied is not None or Operation.DISK_RESTORE in operations
    created(draft, doc, record, Action.RESTORE if is_back else Action.CREATE)


def _is_name_borne(context: Context, draft: Draft, doc: Document) -> bool:
    """Whether one that was renamed still bears its name in libvirt. Says so."""
    bearer = context.bearers.get(doc.name)
    if bearer is None:
        return False
    name, node = bearer
    text = f"waits until vm/{name}, still {doc.name} in libvirt on {node}, has restarted"
    draft.waiting(doc.address, "name-in-libvirt", text, f"pvc vm restart {name}", doc.place(()))
    return True


# --- what changes ----------------------------------------------------------------------------------


def examine(
    context: Context, draft: Draft, doc: Document, applied: Applied, *, denied: Denied | None
) -> Existing | None:
    """What differs, with what may not happen now held back; None where nothing may be done.
    `denied`: why it may not ask for more."""
    node = context.owner(VmName(doc.name))
    assert node is not None
    withheld = list(_withheld(context, doc, applied, denied))
    found = settle(context, draft, doc, applied, withhold=withheld)
    if found.is_replacement:
        paths = ", ".join(c.path for c in found.changes if c.disposition is Disposition.REPLACE)
        draft.blocked(
            doc.address,
            "replace",
            f"{paths} would need a new guest in place of this one, with new disks",
            "declare a guest or disk under another name",
            doc.place(tuple(found.changes[0].path.split("."))),
        )
        keep(draft, applied)
        return None
    needs = references(Kind.VM, found.spec)
    missing = draft.missing(needs)
    if missing:
        draft.waiting(
            doc.address,
            "needs",
            f"its change waits for {', '.join(missing)}, which this plan does not make",
            "see what the report says of it",
            doc.place(()),
        )
        keep(draft, applied)
        return None
    return Existing(doc=doc, applied=applied, found=found, node=node, needs=needs)


def update(context: Context, draft: Draft, allocator: Allocator, guest: Existing) -> None:
    """The fewest steps from the applied record to the wanted one."""
    doc, applied, found, node = guest.doc, guest.applied, guest.found, guest.node
    life = applied.incarnation
    record = guest_record(
        context, draft, allocator, doc, applied, spec=found.spec, life=life, needs=guest.needs
    )
    if takes_anothers(context, draft, doc, record):
        keep(draft, applied)
        return
    under_way = context.is_under_way(f"{Operation.VM_PUT} {doc.address}")
    lost = lost_disks(context, applied, record)
    if any(trashed(context, ref) is None for ref in lost):
        report_lost(draft, doc, next(r for r in lost if trashed(context, r) is None))
        keep(draft, applied)
        return
    restart = _restart(context, guest, record)
    if is_same(applied, record) and not under_way and not lost and not restart.is_now:
        keep(draft, applied)
        _report_waiting(context, draft, guest, restart, applied.pending_since_s)
        if (
            node in context.online
            and has_stale(context, applied)
            and not _is_plugging(context, applied)
        ):
            trash_stale(context, draft, applied, node, pre=applied.digest, needs=[])
            updated(draft, doc, applied, applied, found, because=(_LEFT_OVER,))
        return
    if node not in context.online:
        draft.waiting(doc.address, "node-not-online", f"changes when {node} is back", "pvc status")
        keep(draft, applied)
        return
    since_s = None
    if restart.is_deferred:
        known_s = applied.pending_since_s if restart.waiting else None
        since_s = context.inventory.now_s if known_s is None else known_s
    record = replace(record, pending_since_s=since_s)
    downtime_s = restart_s(draft) if restart.is_now else 0.0
    pre, of = applied.digest, doc.address
    made, _ = make_disks(context, draft, record, node, pre=pre, old=applied)
    needs = list(made)
    if restart.is_now or context.is_under_way(f"{Operation.VM_STOP} {of}"):
        stopped = replace(applied, wanted=Wanted.STOPPED)
        needs.append(
            draft.step(
                Operation.VM_STOP,
                of,
                node,
                needs=made,
                pre=pre,
                record=stopped,
                inputs={"stop_timeout_s": _stop_timeout_s(context, doc)},
                extra_s=_stop_timeout_s(context, doc),
                downtime_s=downtime_s,
            )
        )
    more_mib = load_mib(context.vm(doc.name, record.spec))
    more_mib -= load_mib(context.vm(doc.name, applied.spec))
    if more_mib > 0:
        needs += draft.retiring.get(node, [])
    put = _put(context, draft, record, node, pre=pre, needs=needs, is_deferred=restart.is_deferred)
    if more_mib < 0:
        draft.retiring.setdefault(node, []).append(put)
    _report_waiting(context, draft, guest, restart, since_s)
    trash_stale(context, draft, record, node, pre=record.digest, needs=[put])
    because = (_LOST,) if lost else _more_causes(context, applied, record, found)
    if restart.is_now and not found.changes:
        because = (_restarted(restart),)
    updated(draft, doc, applied, record, found, because=because, downtime_s=downtime_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Restart:
    """What a running guest needs a restart for, and whether it gets one in this plan."""

    waiting: tuple[Deviation, ...]  # from before this plan
    given: restarts.Permission
    is_now: bool
    is_deferred: bool


def _restart(context: Context, guest: Existing, record: Applied) -> _Restart:
    applied = guest.applied
    stays_up = is_running(context, applied) and record.wanted is Wanted.RUNNING
    waiting = restarts.pending(context, applied) if stays_up else ()
    needs_one = any(change.disposition in RESTARTING for change in guest.found.changes)
    given = restarts.permission(context, guest.doc)
    wants_one = stays_up and (needs_one or bool(waiting))
    return _Restart(
        waiting=waiting,
        given=given,
        is_now=given.is_given and (wants_one or (stays_up and bool(given.by))),
        is_deferred=wants_one and not given.is_given,
    )


def _restarted(restart: _Restart) -> Cause:
    """Why a guest is restarted whose document says nothing new."""
    told = restarts.what((), restart.waiting)
    text = f"restart, {restart.given.text}" if restart.given.by else f"restart for {told}"
    return Cause(code="restart", text=text, place=None)


def _report_waiting(
    context: Context, draft: Draft, guest: Existing, restart: _Restart, since_s: int | None
) -> None:
    if restart.is_deferred:
        told = restarts.what(guest.found.changes, restart.waiting)
        restarts.report(context, draft, guest.doc, told=told, given=restart.given, since_s=since_s)


def _is_plugging(context: Context, applied: Applied) -> bool:
    """Is its node still plugging devices in or out, so that a disk that is not on record may be open?"""
    facts = context.guest(VmName(applied.name))
    if facts is None or facts.digest == applied.digest:
        return False
    return not facts.deviations or any(not each.needs_restart for each in facts.deviations)


def restart_s(draft: Draft) -> float:
    """How long a guest is down that is stopped and started."""
    return draft.estimate_s(Operation.VM_STOP) + draft.estimate_s(Operation.VM_PUT)


def lost_disks(context: Context, applied: Applied, record: Applied) -> list[DiskRef]:
    """Its own disks that the record in force and the next one name, and that are not in their pool."""
    of = ((name, ref) for name, ref in sorted(applied.disks.items()) if name in record.disks)
    return [
        ref
        for name, ref in of
        if record.disks[name].image == ref.image
        and record.spec["disks"][name].get("volume") is None
        and context.is_lost(ref)
    ]


def growth_mib(context: Context, doc: Document, applied: Applied) -> int:
    """How much more memory its node must have for it; a disabled guest counts nothing."""
    if applied.spec is doc.spec:
        return 0
    before, after = (context.vm(doc.name, spec) for spec in (applied.spec, doc.spec))
    return load_mib(after) - load_mib(before)


def load_mib(vm: VirtualMachine) -> int:
    return 0 if vm.run_state is RunState.DISABLED else guest_mib(vm)


def is_running(context: Context, applied: Applied) -> bool:
    """Whether its domain may exist. What its silent owner does is not known: it may."""
    name = VmName(applied.name)
    owner = context.owner(name)
    if owner is None:
        return False
    if owner not in context.online:
        return applied.wanted is Wanted.RUNNING
    facts = context.guest(name)
    return facts is not None and facts.state is not GuestState.CRASHED


# --- what goes -------------------------------------------------------------------------------------


def retire(context: Context, draft: Draft, applied: Applied) -> str:
    """Stop it, its disks to the trash, drop its record; the id of the last step."""
    of, digest, name = applied.address, applied.digest, VmName(applied.name)
    node = context.owner(name) or context.coordinator(of)
    assert node is not None
    first = None
    if (
        applied.phase is not Phase.REMOVING
        or is_running(context, applied)
        or context.is_under_way(f"{Operation.VM_RETIRE} {of}")
    ):
        removing = replace(applied, phase=Phase.REMOVING, wanted=Wanted.STOPPED)
        timeout_s = context.vm(applied.name, applied.spec).stop_timeout_s
        first = draft.step(
            Operation.VM_RETIRE,
            of,
            node,
            pre=digest,
            record=removing,
            inputs={"stop_timeout_s": timeout_s},
            extra_s=timeout_s,
        )
        draft.retiring.setdefault(node, []).append(first)
    nothing_kept = replace(applied, disks={})
    trashed = trash_stale(context, draft, nothing_kept, node, pre=digest, needs=[first])
    needs = [first, *trashed]
    if not own_disks(applied):
        return draft.step(Operation.RECORD_DROP, of, node, needs=needs, pre=digest)
    record = replace(applied, phase=Phase.TRASHED, wanted=Wanted.STOPPED)
    return draft.step(Operation.RECORD_KEEP, of, node, needs=needs, pre=digest, record=record)


# --- parts -----------------------------------------------------------------------------------------


def _put(
    context: Context,
    draft: Draft,
    record: Applied,
    node: NodeName,
    *,
    pre: str,
    needs: Iterable[str],
    is_deferred: bool,
) -> str:
    """The record, after all that the guest refers to is usable on its node."""
    everything = list(needs)
    for of in record.needs:
        if of.startswith(_NETWORKS):
            ensured = f"{_ENSURE} {of} {node}"
            if ensured in draft.steps:
                everything.append(ensured)
            elif (put := f"{_PUT} {of}") in draft.steps:
                everything.append(put)
        else:
            everything += draft.lasts([of])
    everything += draft.lasts([address(Kind.NODE, node)])
    if context.applied(record.address) is None:
        everything += draft.retiring.get(node, [])  # whose memory it may need
    return draft.step(
        Operation.VM_PUT,
        record.address,
        node,
        needs=everything,
        pre=pre,
        record=record,
        inputs={"is_deferred": is_deferred},
    )


def _withheld(
    context: Context, doc: Document, applied: Applied, denied: Denied | None
) -> Iterable[Held]:
    changes = field_changes(doc, applied, context.spec.fields, context.aliases)
    for change in changes:
        path: FieldPath = tuple(change.path.split("."))
        if _removes_disk(change, path) and applied.spec["protect"] and doc.spec["protect"]:
            yield Held(
                change=change,
                kind=ItemKind.BLOCKED,
                code="protected",
                text=f"disk {path[1]} is gone from the file of a protected guest",
                remedy="set `protect: false` as well, or keep the disk",
            )
        elif denied is not None and any(path[: len(each)] == each for each in _DEMANDS):
            before = shown(change.before)
            yield Held(
                change=change,
                kind=ItemKind.BLOCKED,
                code=denied.code,
                text=f"{change.path} {before} -> {shown(change.after)}: {denied.text}",
                remedy=f"{denied.remedy}, or keep `{change.path}: {before}`",
            )


def _removes_disk(change: FieldChange, path: FieldPath) -> bool:
    return (
        path[0] == "disks"
        and len(path) == 2  # noqa: PLR2004  the disk itself, not a field of it
        and change.after is None
        and change.before.get("volume") is None
    )


def _more_causes(  # noqa: PLR0911  one return a reason
    context: Context, applied: Applied, record: Applied, found: Difference
) -> tuple[Cause, ...]:
    """Why a record changes although its document does not."""
    if found.changes:
        return ()
    if applied.phase is not record.phase:
        return (Cause(code="declared-again", text="declared again", place=None),)
    held = power_held(context, record.address)
    if applied.wanted is not record.wanted and held is not None:
        text = f"{record.wanted}, as {held.by} wants it for now"
        return (Cause(code="intent", text=text, place=None),)
    if applied.wanted is not record.wanted:
        text = f"was left {applied.wanted}; git wants it {record.wanted}"
        return (Cause(code="power", text=text, place=None),)
    if applied.nics != record.nics:
        return (Cause(code="addresses", text="its network's addresses changed", place=None),)
    if applied.needs != record.needs:
        return (Cause(code="renamed", text="what it refers to has another name", place=None),)
    if applied.disks != record.disks:
        return (Cause(code="volume", text="its volume changed", place=None),)
    return (Cause(code="under-way", text="the plan in force is at it", place=None),)


def _stop_timeout_s(context: Context, doc: Document) -> float:
    return context.vm(doc.name, doc.spec).stop_timeout_s
