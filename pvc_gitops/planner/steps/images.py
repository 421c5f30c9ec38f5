"""Disk images: imported once by checksum, then only cloned."""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.plan import Action, Cause, Operation
from pvc_gitops.model.records import Applied, DiskRef
from pvc_gitops.model.spec import Image
from pvc_gitops.model.values import replace
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.diff import Difference
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.records import record_of
from pvc_gitops.planner.steps.common import (
    created,
    is_blocked_by_needs,
    is_hindered,
    is_same,
    keep,
    note,
    settle,
    updated,
)

SNAPSHOT: Final = "base"  # what disks are cloned from
_CHECKSUM_DIGITS: Final = 12
_GONE: Final = Cause(
    code="gone", text="it was imported, and is not in its pool any more", place=None
)


def plan_image(context: Context, draft: Draft, doc: Document) -> None:
    """Import it; other content is another life, beside the old one that has clones."""
    applied = context.applied(doc.address)
    is_lost = applied is not None and context.is_lost(applied.disks["data"])
    is_lost = is_lost and context.heals(Kind.IMAGE)  # else the drift is reported
    if (
        applied is not None
        and applied.spec == doc.spec
        and applied.tags == doc.tags
        and not is_lost
    ):
        keep(draft, applied)
        return
    if is_hindered(context, draft, doc.address, storage=True):
        keep(draft, applied)
        return
    if applied is None:
        record = _record(context, doc, None, None)
        if not is_blocked_by_needs(draft, doc, record):
            _import(context, draft, record, pre="")
            created(draft, doc, record)
        return
    found = settle(context, draft, doc, applied)
    record = _record(context, doc, applied, found)
    if is_lost and record.disks == applied.disks:
        _import(context, draft, record, pre=applied.digest)
        created(draft, doc, record, because=_GONE)
    elif is_same(applied, record):
        keep(draft, applied)
    elif record.disks == applied.disks:
        node = context.coordinator(doc.address)
        assert node is not None
        draft.step(Operation.RECORD_PUT, doc.address, node, pre=applied.digest, record=record)
        updated(draft, doc, applied, record, found)
    elif is_blocked_by_needs(draft, doc, record):
        keep(draft, applied)
    else:
        _import(context, draft, record, pre=applied.digest)
        updated(draft, doc, applied, record, found, actions=(Action.DELETE, Action.CREATE))
        old = applied.disks["data"]
        note(
            draft,
            doc.address,
            "old-image-kept",
            f"{old.pool}/{old.image} stays: disks made from it go on using it",
        )


def _record(
    context: Context, doc: Document, applied: Applied | None, found: Difference | None
) -> Applied:
    record = record_of(
        doc,
        commit=context.spec.commit,
        cluster_id=context.inventory.cluster_id,
        spec=None if found is None else found.spec,
        like=applied,
    )
    image = Image.from_spec(doc.name, record.spec)
    digits = image.checksum.partition(":")[2][:_CHECKSUM_DIGITS]
    # Its size is not known before it was downloaded.
    data = DiskRef(pool=image.pool, image=f"image.{doc.name}.{digits}", size_mib=0)
    if applied is None or applied.disks.get("data") == data:
        return replace(record, disks={"data": data})
    same = ("checksum", "format", "pool")
    if all(applied.spec[key] == record.spec[key] for key in same):
        return replace(record, disks=applied.disks)  # renamed: what was imported keeps its name
    return replace(
        record_of(
            doc,
            commit=context.spec.commit,
            cluster_id=context.inventory.cluster_id,
            spec=record.spec,
            incarnation=applied.incarnation + 1,
        ),
        disks={"data": data},
    )


def _import(context: Context, draft: Draft, record: Applied, *, pre: str) -> None:
    image, data = Image.from_spec(record.name, record.spec), record.disks["data"]
    node = context.coordinator(record.address)
    assert node is not None
    draft.step(
        Operation.IMAGE_IMPORT,
        record.address,
        node,
        needs=draft.lasts(record.needs),
        pre=pre,
        record=record,
        inputs={
            "url": image.url,
            "checksum": image.checksum,
            "format": image.format,
            "pool": image.pool,
            "image": data.image,
            "snapshot": SNAPSHOT,
        },
    )
