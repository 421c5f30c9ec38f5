"""What all kinds do alike: report held fields, write the change, ask whether anything is new."""

from __future__ import annotations

from collections.abc import Iterable

from pvc_gitops.model.document import Document
from pvc_gitops.model.fields import Disposition
from pvc_gitops.model.ids import Address
from pvc_gitops.model.plan import Action, Cause, Change, ItemKind, ReportItem
from pvc_gitops.model.records import Applied, DiskRef
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.diff import Difference, Held, causes, difference
from pvc_gitops.planner.draft import Draft


def settle(
    context: Context, draft: Draft, doc: Document, applied: Applied, withhold: Iterable[Held] = ()
) -> Difference:
    """The difference that comes into force now; the rest goes into the report."""
    found = difference(
        doc, applied, context.spec.fields, withhold=withhold, aliases=context.aliases
    )
    for hold in found.held:
        draft.report.append(
            ReportItem(
                kind=hold.kind,
                address=doc.address,
                code=hold.code,
                text=hold.text,
                remedy=hold.remedy,
                place=doc.place(tuple(hold.change.path.split("."))),
            )
        )
    return found


def created(
    draft: Draft,
    doc: Document,
    record: Applied,
    action: Action = Action.CREATE,
    because: Cause | None = None,
) -> None:
    """The object is new, or back; `because` where that is not the reason."""
    code, text = "declared", "declared, and not there yet"
    if action is Action.RESTORE:
        code, text = "declared-again", "declared again; its data lies in the trash"
    draft.after[doc.address] = record
    draft.changes[doc.address] = Change(
        address=doc.address,
        actions=(action,),
        fields=(),
        before=None,
        after=record.spec,
        disposition=None,
        downtime_s=0.0,
        because=(because or Cause(code=code, text=text, place=doc.place(())),),
    )


def updated(
    draft: Draft,
    doc: Document,
    applied: Applied,
    record: Applied,
    found: Difference,
    *,
    actions: tuple[Action, ...] = (Action.UPDATE,),
    because: tuple[Cause, ...] = (),
    downtime_s: float = 0.0,
    disposition: Disposition | None = None,
) -> None:
    draft.after[doc.address] = record
    draft.changes[doc.address] = Change(
        address=doc.address,
        actions=actions,
        fields=found.changes,
        before=applied.spec,
        after=record.spec,
        disposition=found.disposition if disposition is None else disposition,
        downtime_s=downtime_s,
        because=causes(doc, found.changes) + because,
    )


def is_same(applied: Applied, record: Applied) -> bool:
    """Whether the record in force says what the new one would (commit and plan aside)."""
    return (
        applied.spec == record.spec
        and applied.phase is record.phase
        and applied.wanted is record.wanted
        and applied.tags == record.tags
        and applied.needs == record.needs
        and applied.incarnation == record.incarnation
        and applied.nics == record.nics
        and applied.disks == record.disks
    )


def is_blocked_by_needs(draft: Draft, doc: Document, record: Applied) -> bool:
    """Whether something it refers to will not be there. Says so."""
    missing = draft.missing(record.needs)
    if missing:
        draft.waiting(
            doc.address,
            "needs",
            f"waits for {', '.join(missing)}, which this plan does not make",
            "see what the report says of it",
            doc.place(()),
        )
    return bool(missing)


def keep(draft: Draft, applied: Applied | None) -> None:
    """The object stays as it is."""
    if applied is not None:
        draft.after[applied.address] = applied


def is_hindered(context: Context, draft: Draft, of: Address, *, storage: bool = False) -> bool:
    """Whether nothing can be decided about it now: a step of another plan is at it, one of the plan in
    force still removes what is declared again, or what it lies on is not observed. Says so."""
    held = context.held.get(of)
    if held is not None:
        doc = context.spec.documents.get(of)
        draft.item(
            held.kind,
            of,
            held.code,
            held.text,
            remedy=held.remedy,
            place=None if doc is None else doc.place(()),
            permits=held.permits,
        )
        return True
    claim = context.foreign_claim(of)
    if claim is None and of in context.spec.documents:
        claim = context.undoing(of)
    if claim is not None:
        draft.waiting(of, "claimed", f"waits for {claim}, which is still at it", "pvc status")
        return True
    if storage and context.inventory.storage is None:
        draft.waiting(of, "not-observed", "no coordinator has reported Ceph yet", "pvc status")
        return True
    if context.coordinator(of) is None:
        draft.waiting(of, "no-coordinator", "no coordinator is online", "pvc status")
        return True
    return False


def report_lost(draft: Draft, doc: Document, ref: DiskRef) -> None:
    """Never made empty under the name of what is gone (D6)."""
    draft.blocked(
        doc.address,
        "data-lost",
        f"{ref.pool}/{ref.image} is neither in its pool nor in the trash",
        "bring it back from a backup under that name; or remove the object and declare it anew",
        doc.place(()),
    )


def note(draft: Draft, of: Address, code: str, text: str) -> None:
    draft.item(ItemKind.NOTE, of, code, text)
