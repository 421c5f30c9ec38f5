"""Objects that are nothing but a record: cluster, node, group, window, secret, operator, role."""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.plan import Operation
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.records import record_of, sealed
from pvc_gitops.planner.steps.common import created, is_hindered, is_same, keep, settle, updated

KINDS: Final = (
    Kind.SECRET,
    Kind.CLUSTER,
    Kind.NODE,
    Kind.GROUP,
    Kind.WINDOW,
    Kind.FORGE,
    Kind.OPERATOR,
    Kind.ROLE,
)


def plan_record(context: Context, draft: Draft, doc: Document) -> None:
    """Put the record where it is missing or says something else."""
    if doc.kind is Kind.SECRET:
        doc = sealed(doc)
    applied = context.applied(doc.address)
    if applied is not None and applied.spec == doc.spec and applied.tags == doc.tags:
        keep(draft, applied)
        return
    if is_hindered(context, draft, doc.address):
        keep(draft, applied)
        return
    inventory, commit = context.inventory, context.spec.commit
    node = context.coordinator(doc.address)
    assert node is not None
    if applied is None:
        record = record_of(doc, commit=commit, cluster_id=inventory.cluster_id)
        needs = draft.lasts(record.needs)
        draft.step(Operation.RECORD_PUT, doc.address, node, needs=needs, pre="", record=record)
        created(draft, doc, record)
        return
    found = settle(context, draft, doc, applied)
    record = record_of(
        doc,
        commit=commit,
        cluster_id=inventory.cluster_id,
        spec=found.spec,
        like=applied,
    )
    if is_same(applied, record):
        keep(draft, applied)
        return
    needs = draft.lasts(record.needs)
    draft.step(
        Operation.RECORD_PUT, doc.address, node, needs=needs, pre=applied.digest, record=record
    )
    updated(draft, doc, applied, record, found)
