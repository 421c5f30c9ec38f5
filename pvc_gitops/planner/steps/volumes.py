"""Disks with a life of their own."""

from __future__ import annotations

from dataclasses import replace

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.ids import NodeName, address
from pvc_gitops.model.plan import Action, Operation
from pvc_gitops.model.records import Applied, DiskRef
from pvc_gitops.model.spec import Volume
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.records import record_of
from pvc_gitops.planner.steps.common import (
    created,
    is_blocked_by_needs,
    is_hindered,
    is_same,
    keep,
    report_lost,
    settle,
    updated,
)
from pvc_gitops.planner.steps.disks import making, rbd_name, trashed, youngest_life


def plan_volume(context: Context, draft: Draft, doc: Document) -> None:
    """Make it, bring it back from the trash, grow it, or note what else changed."""
    applied = context.applied(doc.address)
    is_lost = applied is not None and context.is_lost(applied.disks["data"])
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
    node = context.coordinator(doc.address)
    assert node is not None
    if applied is None:
        _create(context, draft, doc, node)
        return
    if is_lost:
        _bring_back(context, draft, doc, applied, node)
        return
    found = settle(context, draft, doc, applied)
    if found.is_replacement:
        draft.blocked(
            doc.address,
            "replace",
            "the change needs a new volume, and would leave the data behind",
            "declare a volume under another name, and copy",
            doc.place(()),
        )
        keep(draft, applied)
        return
    record = record_of(
        doc,
        commit=context.spec.commit,
        cluster_id=context.inventory.cluster_id,
        spec=found.spec,
        incarnation=applied.incarnation,
    )
    old, size_mib = applied.disks["data"], Volume.from_spec(doc.name, found.spec).size_mib
    record = replace(record, disks={"data": replace(old, size_mib=size_mib)})
    if is_same(applied, record):
        keep(draft, applied)
        return
    grows = size_mib > old.size_mib
    inputs = {"pool": old.pool, "image": old.image, "size_mib": size_mib} if grows else {}
    draft.step(
        Operation.DISK_GROW if grows else Operation.RECORD_PUT,
        doc.address,
        node,
        pre=applied.digest,
        record=record,
        inputs=inputs,
    )
    updated(draft, doc, applied, record, found)


def _bring_back(
    context: Context, draft: Draft, doc: Document, applied: Applied, node: NodeName
) -> None:
    """Its removal was reverted half way: the record stands, the data lies in the trash. What else the
    commit changes follows in the next plan."""
    keep(draft, applied)
    data = applied.disks["data"]
    if trashed(context, data) is None:
        report_lost(draft, doc, data)
        return
    operation, inputs = making(context, draft, data, image=None)
    draft.step(operation, doc.address, node, pre=applied.digest, record=applied, inputs=inputs)
    created(draft, doc, applied, Action.RESTORE)


def _create(context: Context, draft: Draft, doc: Document, node: NodeName) -> None:
    prefix = f"{Kind.VOLUME}.{doc.name}."
    record = _new_record(context, doc, youngest_life(context, prefix, [doc.address]))
    if is_blocked_by_needs(draft, doc, record):
        return
    image = Volume.from_spec(doc.name, doc.spec).source_image
    operation, inputs = making(
        context,
        draft,
        record.disks["data"],
        image=None if image is None else address(Kind.IMAGE, image),
    )
    draft.step(
        operation,
        doc.address,
        node,
        needs=draft.lasts(record.needs),
        pre="",
        record=record,
        inputs=inputs,
    )
    is_back = operation is Operation.DISK_RESTORE
    created(draft, doc, record, Action.RESTORE if is_back else Action.CREATE)


def _new_record(context: Context, doc: Document, life: int) -> Applied:
    cluster_id = context.inventory.cluster_id
    record = record_of(doc, commit=context.spec.commit, cluster_id=cluster_id, incarnation=life)
    volume = Volume.from_spec(doc.name, doc.spec)
    name = rbd_name(cluster_id, doc.address, life)
    data = DiskRef(pool=volume.pool, image=name, size_mib=volume.size_mib)
    return replace(record, disks={"data": data})
