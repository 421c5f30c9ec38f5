"""Disks with a life of their own."""

from __future__ import annotations

from dataclasses import replace

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.ids import Address, NodeName, address
from pvc_gitops.model.plan import Action, Operation
from pvc_gitops.model.records import Applied, DiskRef
from pvc_gitops.model.spec import Volume
from pvc_gitops.model.transitions import Word
from pvc_gitops.model.units import size_text
from pvc_gitops.planner.adoption import adopted_volume
from pvc_gitops.planner.context import Context, object_of
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
from pvc_gitops.planner.steps.data import may_be_made
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
        like=applied,
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
    adopted = context.said(Word.ADOPTED, doc.address)
    if adopted is not None:
        adopted_volume(context, draft, doc, adopted)
        return
    kept = context.kept.get(doc.address)
    source = restored_from(context, doc.address)
    if source is not None:
        record = _taken_over(context, draft, doc, source)
    else:
        life = youngest_life(context, doc.address, [doc.address]) if kept is None else 0
        record = _new_record(context, doc, life, kept)
    if record is None or is_blocked_by_needs(draft, doc, record):
        return
    if source is None and not may_be_made(context, draft, doc, record):
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
        pre=context.digest(doc.address),
        record=record,
        inputs=inputs,
    )
    is_back = operation is Operation.DISK_RESTORE
    created(draft, doc, record, Action.RESTORE if is_back else Action.CREATE)


def _taken_over(context: Context, draft: Draft, doc: Document, source: Address) -> Applied | None:
    """The record of a volume whose data is what somebody who is gone left in the trash."""
    ref, entry = trashed_disk(context, source), context.said(Word.RESTORED, doc.address)
    assert entry is not None
    volume = Volume.from_spec(doc.name, doc.spec)
    wrong = ""
    if ref is None or trashed(context, ref) is None:
        wrong = f"{source} does not lie in the trash"
    elif volume.pool != ref.pool:
        wrong = f"{source} lies in the trash of pool/{ref.pool}"
    elif volume.size_mib < ref.size_mib:
        wrong = f"{source} has {size_text(ref.size_mib)}, and volumes do not shrink"
    if wrong or ref is None:
        draft.blocked(
            doc.address,
            "nothing-to-restore",
            wrong,
            f"correct {doc.file}, or take the entry out: it begins empty then",
            entry.place,
        )
        return None
    record = _new_record(context, doc, youngest_life(context, doc.address, [doc.address]), None)
    return replace(record, disks={"data": replace(ref, size_mib=volume.size_mib)})


def restored_from(context: Context, of: Address) -> Address | None:
    """The part or volume whose data a declared volume takes out of the trash, by word."""
    entry = context.said(Word.RESTORED, of)
    return None if entry is None else entry.source


def trashed_disk(context: Context, part: Address) -> DiskRef | None:
    """Where the data of what is gone lies: `vm/mail/disk/root` or `volume/archive`."""
    kept = context.kept.get(object_of(part))
    if kept is None:
        return None
    return kept.disks.get(part.split("/")[-1] if kept.kind is Kind.VM else "data")


def _new_record(context: Context, doc: Document, life: int, kept: Applied | None) -> Applied:
    cluster_id = context.inventory.cluster_id
    record = record_of(
        doc, commit=context.spec.commit, cluster_id=cluster_id, incarnation=life, like=kept
    )
    volume = Volume.from_spec(doc.name, doc.spec)
    if kept is not None and kept.disks["data"].pool == volume.pool:
        data = replace(kept.disks["data"], size_mib=volume.size_mib)
        return replace(record, disks={"data": data})
    name = rbd_name(cluster_id, doc.address, record.incarnation)
    data = DiskRef(pool=volume.pool, image=name, size_mib=volume.size_mib)
    return replace(record, disks={"data": data})
