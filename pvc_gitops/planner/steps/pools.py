"""Ceph pools."""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.document import Document, Kind, Value
from pvc_gitops.model.plan import Cause, Operation
from pvc_gitops.model.spec import Pool
from pvc_gitops.planner import drift
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.records import record_of
from pvc_gitops.planner.steps.common import created, is_hindered, is_same, keep, settle, updated

# Ceph's own default (osd_pool_default_pg_num); its autoscaler raises it as data comes.
_PGS_AUTO: Final = 32
_CHANGED: Final = Cause(code="drift", text="somebody changed its copies", place=None)


def plan_pool(context: Context, draft: Draft, doc: Document) -> None:
    """Create it, or change its copies."""
    applied = context.applied(doc.address)
    storage = context.inventory.storage
    is_lost = applied is not None and storage is not None and doc.name not in storage.pools
    is_drifted = (
        applied is not None and context.heals(Kind.POOL) and drift.is_pool_changed(context, applied)
    )
    if (
        applied is not None
        and applied.spec == doc.spec
        and applied.tags == doc.tags
        and not is_lost
        and not is_drifted
    ):
        keep(draft, applied)
        return
    if is_hindered(context, draft, doc.address, storage=True):
        keep(draft, applied)
        return
    cluster_id, commit = context.inventory.cluster_id, context.spec.commit
    node = context.coordinator(doc.address)
    assert node is not None
    if applied is None or is_lost:
        record = record_of(doc, commit=commit, cluster_id=cluster_id)
        draft.step(
            Operation.POOL_CREATE,
            doc.address,
            node,
            pre="" if applied is None else applied.digest,
            record=record,
            inputs=_inputs(Pool.from_spec(doc.name, record.spec), is_new=True),
        )
        created(draft, doc, record)
        return
    found = settle(context, draft, doc, applied)
    record = record_of(
        doc,
        commit=commit,
        cluster_id=cluster_id,
        spec=found.spec,
        like=applied,
    )
    before = _inputs(Pool.from_spec(doc.name, applied.spec), is_new=False)
    after = _inputs(Pool.from_spec(doc.name, record.spec), is_new=False)
    touches_ceph = before != after or is_drifted
    opening = context.opening()
    if touches_ceph and not opening.is_open:
        # Other copies move all of its data.
        draft.waiting(doc.address, "window", f"its copies wait for {opening.text}")
        keep(draft, applied)
        return
    if is_same(applied, record) and not is_drifted:
        keep(draft, applied)
        return
    draft.step(
        Operation.POOL_UPDATE if touches_ceph else Operation.RECORD_PUT,
        doc.address,
        node,
        pre=applied.digest,
        record=record,
        inputs=after if touches_ceph else {},
    )
    because = () if found.changes else (_CHANGED,)
    updated(draft, doc, applied, record, found, because=because)


def _inputs(pool: Pool, *, is_new: bool) -> dict[str, Value]:
    inputs: dict[str, Value] = {
        "pool": pool.name,
        "copies": pool.copies,
        "min_copies": pool.min_copies,
    }
    if is_new:
        inputs["pgs"] = _PGS_AUTO if pool.pgs is None else pool.pgs
    return inputs
