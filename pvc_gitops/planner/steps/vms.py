"""Guests: their disks, their record, and their power."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from pvc_gitops.model.document import Document, FieldPath, Kind
from pvc_gitops.model.fields import Disposition
from pvc_gitops.model.ids import Address, NodeName, VmName, address
from pvc_gitops.model.inventory import GuestState
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
from pvc_gitops.planner.operations import COSTS
from pvc_gitops.planner.records import record_of, references
from pvc_gitops.planner.steps.common import created, is_same, keep, report_lost, settle, updated
from pvc_gitops.planner.steps.disks import disk_address, making, rbd_name, trashed, youngest_life
from pvc_gitops.scheduler.capacity import guest_mib

_NO_PLACE: Final = Cause(code="no-place", text="it was applied and has no place", place=None)
_LEFT_OVER: Final = Cause(code="left-over", text="data of a removed disk is left", place=None)
_LOST: Final = Cause(code="in-trash", text="its data lies in the trash", place=None)
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
RESTART_S: Final = COSTS[Operation.VM_STOP].estimate_s + COSTS[Operation.VM_PUT].estimate_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """A guest that has a record, and what this commit makes of it."""

    doc: Document
    applied: Applied
    found: Difference
    node: NodeName


# --- what is new -----------------------------------------------------------------------------------


def new_record(
    context: Context, draft: Draft, allocator: Allocator, doc: Document
) -> Applied | None:
    """The record of a guest that has none, or that is declared again while it is being removed.
    None: something it needs is missing, and the report says what."""
    applied = context.applied(doc.address)
    disks = [disk_address(doc.name, name) for name in sorted(doc.spec["disks"])]
    prefix = f"{Kind.VM}.{doc.name}."
    life = youngest_life(context, prefix, disks) if applied is None else applied.incarnation
    missing = draft.missing(references(Kind.VM, doc.spec))
    if missing:
        draft.waiting(
            doc.address,
            "needs",
            f"waits for {', '.join(missing)}, which this plan does not make",
            "see what the report says of it",
            doc.place(()),
        )
        return None
    record = _record(context, draft, allocator, doc, applied, spec=doc.spec, life=life)
    return None if _takes_anothers(context, draft, doc, record) else record


def create(
    context: Context, draft: Draft, doc: Document, record: Applied, choice: PlacementChoice
) -> None:
    """Disks, then the record; the node's agent starts the guest."""
    applied = context.applied(doc.address)
    pre = "" if applied is None else applied.digest
    draft.placement.append(choice)
    draft.places[choice.vm] = choice.node
    made, operations = _make_disks(context, draft, record, choice.node, pre=pre)
    _put(context, draft, record, choice.node, pre=pre, needs=made, is_deferred=False)
    if applied is not None and applied.phase is Phase.PRESENT:
        created(draft, doc, record, Action.UPDATE, _NO_PLACE)
        return
    is_back = applied is not None or Operation.DISK_RESTORE in operations
    created(draft, doc, record, Action.RESTORE if is_back else Action.CREATE)


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
    missing = draft.missing(references(Kind.VM, found.spec))
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
    return Existing(doc=doc, applied=applied, found=found, node=node)


def update(context: Context, draft: Draft, allocator: Allocator, guest: Existing) -> None:
    """The fewest steps from the applied record to the wanted one."""
    doc, applied, found, node = guest.doc, guest.applied, guest.found, guest.node
    life = applied.incarnation
    record = _record(context, draft, allocator, doc, applied, spec=found.spec, life=life)
    if _takes_anothers(context, draft, doc, record):
        keep(draft, applied)
        return
    under_way = context.is_under_way(f"{Operation.VM_PUT} {doc.address}")
    lost = lost_disks(context, applied, record)
    if any(trashed(context, ref) is None for ref in lost):
        report_lost(draft, doc, next(r for r in lost if trashed(context, r) is None))
        keep(draft, applied)
        return
    if is_same(applied, record) and not under_way and not lost:
        keep(draft, applied)
        if _has_pending_restart(context, applied):
            _report_restart(draft, doc, "it runs with what it had before its last change")
        elif node in context.online and _trash_stale(
            context, draft, applied, node, pre=applied.digest, needs=[]
        ):
            updated(draft, doc, applied, applied, found, because=(_LEFT_OVER,))
        return
    if node not in context.online:
        draft.waiting(doc.address, "node-not-online", f"changes when {node} is back", "pvc status")
        keep(draft, applied)
        return
    pre, of = applied.digest, doc.address
    made, _ = _make_disks(context, draft, record, node, pre=pre, old=applied)
    needs_restart = any(change.disposition in RESTARTING for change in found.changes)
    stays_up = is_running(context, applied) and record.wanted is Wanted.RUNNING
    # Whether a manual guest runs is its operator's word: git does not restart it either.
    is_allowed = doc.spec["reboot_for_changes"] != "never" and doc.spec["run_state"] == "running"
    is_deferred = needs_restart and stays_up and not is_allowed
    restarts = needs_restart and stays_up and not is_deferred
    needs = list(made)
    if restarts or context.is_under_way(f"{Operation.VM_STOP} {of}"):
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
                downtime_s=RESTART_S if restarts else 0.0,
            )
        )
    more_mib = load_mib(context.vm(doc.name, record.spec))
    more_mib -= load_mib(context.vm(doc.name, applied.spec))
    if more_mib > 0:
        needs += draft.retiring.get(node, [])
    put = _put(context, draft, record, node, pre=pre, needs=needs, is_deferred=is_deferred)
    if more_mib < 0:
        draft.retiring.setdefault(node, []).append(put)
    if is_deferred:
        _report_restart(draft, doc, "it keeps what it has until it is stopped and started")
    else:
        _trash_stale(context, draft, record, node, pre=record.digest, needs=[put])
    updated(
        draft,
        doc,
        applied,
        record,
        found,
        because=(_LOST,) if lost else _more_causes(applied, record, found),
        downtime_s=RESTART_S if restarts else 0.0,
    )


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
    trashed = _trash_stale(context, draft, nothing_kept, node, pre=digest, needs=[first])
    return draft.step(Operation.RECORD_DROP, of, node, needs=[first, *trashed], pre=digest)


# --- parts -----------------------------------------------------------------------------------------


def _record(
    context: Context,
    draft: Draft,
    allocator: Allocator,
    doc: Document,
    applied: Applied | None,
    *,
    spec: Mapping[str, object],
    life: int,
) -> Applied:
    vm = context.vm(doc.name, spec)
    # A lease once given is kept: by the record, or by the plan in force that is about to write it.
    kept = dict(context.inventory.leases.get(VmName(doc.name), {}))
    before = {name: nic.network for name, nic in vm.nics.items() if name in kept}
    if applied is not None:
        kept |= applied.nics
        before |= {name: nic["network"] for name, nic in applied.spec["nics"].items()}
    nics, exhausted = allocator.leases(doc.address, vm.nics, kept, before)
    for name in exhausted:
        draft.blocked(
            doc.address,
            "no-address",
            f"no address is left for {name} in the dhcp range of {vm.nics[name].network}",
            f"widen ipv4.dhcp in networks/{vm.nics[name].network}.yaml",
            doc.place(("nics", name)),
        )
    disks: dict[str, DiskRef] = {}
    for name, disk in sorted(vm.disks.items()):
        if disk.volume is not None:
            disks[name] = draft.after[address(Kind.VOLUME, disk.volume)].disks["data"]
        elif (
            applied is not None and name in applied.disks and applied.disks[name].pool == disk.pool
        ):
            disks[name] = replace(applied.disks[name], size_mib=disk.size_mib or 0)
        else:
            of = disk_address(doc.name, name)
            rbd = rbd_name(context.inventory.cluster_id, of, life)
            disks[name] = DiskRef(pool=disk.pool or "", image=rbd, size_mib=disk.size_mib or 0)
    base = record_of(
        doc,
        commit=context.spec.commit,
        cluster_id=context.inventory.cluster_id,
        spec=spec,
        incarnation=life,
    )
    return replace(base, wanted=_wanted(vm, applied), nics=nics, disks=disks)


def _takes_anothers(context: Context, draft: Draft, doc: Document, record: Applied) -> bool:
    """Whether a declared MAC or address is another guest's now. Says so. One whose file is gone gives
    it back by itself."""
    for name, lease in sorted(record.nics.items()):
        network = record.spec["nics"][name]["network"]
        held = context.holder(network, lease, other_than=doc.address)
        if held is None:
            continue
        of, what = held
        if of in context.spec.documents:
            draft.blocked(
                doc.address,
                "address-taken",
                f"{what} of its nic {name} is {of}'s",
                f"declare another one, or first give {of} another one in a commit of its own",
                doc.place(("nics", name)),
            )
        else:
            text = f"waits until {of}, which has {what}, is gone"
            draft.waiting(
                doc.address, "address-held", text, "pvc status", doc.place(("nics", name))
            )
        return True
    return False


def _wanted(vm: VirtualMachine, applied: Applied | None) -> Wanted:
    match vm.run_state:
        case RunState.RUNNING:
            return Wanted.RUNNING
        case RunState.STOPPED | RunState.DISABLED:
            return Wanted.STOPPED
        case RunState.MANUAL:  # git does not say; a new guest waits for somebody to start it
            return Wanted.STOPPED if applied is None or applied.wanted is None else applied.wanted


def _make_disks(
    context: Context,
    draft: Draft,
    record: Applied,
    node: NodeName,
    *,
    pre: str,
    old: Applied | None = None,
) -> tuple[list[str], set[Operation]]:
    """Steps for the guest's own disks that are not there or too small."""
    made: list[str] = []
    operations: set[Operation] = set()
    spec = record.spec["disks"]
    for name, ref in sorted(record.disks.items()):
        if spec[name].get("volume") is not None:
            continue
        of = disk_address(record.name, name)
        before = None if old is None else old.disks.get(name)
        needs: list[str] = []
        if before is not None and before.image == ref.image and not context.is_lost(before):
            if before.size_mib == ref.size_mib or _is_made(context, of, ref):
                continue
            operation = Operation.DISK_GROW
            inputs = {"pool": ref.pool, "image": ref.image, "size_mib": ref.size_mib}
        elif _is_made(context, of, ref):
            continue
        else:
            image = spec[name].get("image")
            of_image = None if image is None else address(Kind.IMAGE, image)
            operation, inputs = making(context, draft, ref, image=of_image)
            sources = [address(Kind.POOL, ref.pool), *([of_image] if of_image else [])]
            needs = draft.lasts(sources)
        made.append(draft.step(operation, of, node, needs=needs, pre=pre, inputs=inputs))
        operations.add(operation)
    return made, operations


def _is_made(context: Context, of: Address, ref: DiskRef) -> bool:
    """Whether the data is there in its size, although the record does not say so: of a guest whose
    making, growth or removal was interrupted, since removal takes the data first and the record last."""
    found = context.image(ref.pool, ref.image)
    making_it = (Operation.DISK_CREATE, Operation.DISK_RESTORE, Operation.DISK_GROW)
    if any(context.is_under_way(f"{operation} {of}") for operation in making_it):
        return False
    return found is not None and found.size_mib >= ref.size_mib


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
        if of.startswith(f"{Kind.NETWORK}/"):
            ensured, put = (
                f"{Operation.NETWORK_ENSURE} {of} {node}",
                f"{Operation.NETWORK_PUT} {of}",
            )
            everything += [step for step in (ensured, put) if step in draft.steps][:1]
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


def _trash_stale(
    context: Context,
    draft: Draft,
    record: Applied,
    node: NodeName,
    *,
    pre: str,
    needs: list[str | None],
) -> list[str]:
    """Data of this guest that its record does not name goes to the trash, by what is seen in the
    pools: so a plan made in the middle of an apply still holds what is left."""
    named = {(ref.pool, ref.image) for ref in record.disks.values()}
    stale = [
        found
        for found in context.images_of(f"{Kind.VM}.{record.name}.")
        if found not in named and context.applied(address(Kind.POOL, found[0])) is not None
    ]
    keep_s = int(context.cluster.trash_keep_s)
    return [
        draft.step(
            Operation.DISK_TRASH,
            disk_address(record.name, image.split(".")[2]),
            node,
            needs=needs,
            pre=pre,
            inputs={"pool": pool, "image": image, "keep_s": keep_s},
            qualifier=image.split(".")[-1],
        )
        for pool, image in stale
    ]


def _has_pending_restart(context: Context, record: Applied) -> bool:
    """Its domain was started from another record than the one in force."""
    facts, applied = context.guest(VmName(record.name)), context.applied(record.address)
    return facts is not None and applied is not None and facts.digest != applied.digest


def _withheld(
    context: Context, doc: Document, applied: Applied, denied: Denied | None
) -> Iterable[Held]:
    changes = field_changes(doc, applied, context.spec.fields)
    running = is_running(context, applied)
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
        elif (
            change.disposition in RESTARTING
            and running
            and doc.spec["reboot_for_changes"] == "window"
        ):
            yield Held(
                change=change,
                kind=ItemKind.WAITING,
                code="window",
                text=f"{change.path} {shown(change.before)} -> {shown(change.after)}: "
                "restarts it, waits for its window",
                remedy="`reboot_for_changes: now` does it at once",
            )


def _removes_disk(change: FieldChange, path: FieldPath) -> bool:
    return (
        path[0] == "disks"
        and len(path) == 2  # noqa: PLR2004  the disk itself, not a field of it
        and change.after is None
        and change.before.get("volume") is None
    )


def _more_causes(applied: Applied, record: Applied, found: Difference) -> tuple[Cause, ...]:
    """Why a record changes although its document does not."""
    if found.changes:
        return ()
    if applied.phase is not record.phase:
        return (Cause(code="declared-again", text="declared again", place=None),)
    if applied.wanted is not record.wanted:
        text = f"was left {applied.wanted}; git wants it {record.wanted}"
        return (Cause(code="power", text=text, place=None),)
    if applied.nics != record.nics:
        return (Cause(code="addresses", text="its network's addresses changed", place=None),)
    if applied.disks != record.disks:
        return (Cause(code="volume", text="its volume changed", place=None),)
    return (Cause(code="under-way", text="the plan in force is at it", place=None),)


def _report_restart(draft: Draft, doc: Document, text: str) -> None:
    draft.waiting(
        doc.address,
        "restart-pending",
        f"restart pending: {text}",
        f"pvc vm restart {doc.name}",
        doc.place(("reboot_for_changes",)),
    )


def _stop_timeout_s(context: Context, doc: Document) -> float:
    return context.vm(doc.name, doc.spec).stop_timeout_s
