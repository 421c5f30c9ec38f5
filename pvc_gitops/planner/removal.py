"""What git no longer names: what goes, what stays and why, and the steps, in reverse of making.

Guests go first, since nothing needs a guest and what comes may need their memory. All else goes after
everything that used it, by the needs that were stored when it was applied (D5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address, VmName
from pvc_gitops.model.plan import Action, Cause, Change, Operation
from pvc_gitops.model.records import Applied, Phase
from pvc_gitops.model.transitions import Word
from pvc_gitops.planner import safety
from pvc_gitops.planner.context import WORDS, Context
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.steps import networks, vms
from pvc_gitops.planner.steps.common import is_hindered, keep
from pvc_gitops.planner.steps.images import SNAPSHOT

# Users before what they use.
_ORDER: Final = (
    Kind.VOLUME,
    Kind.IMAGE,
    Kind.POOL,
    Kind.NETWORK,
    Kind.GROUP,
    Kind.WINDOW,
    Kind.FORGE,
    Kind.NODE,
    Kind.OPERATOR,
    Kind.ROLE,
    Kind.CLUSTER,
    Kind.SECRET,
)


def doomed(context: Context, draft: Draft) -> Mapping[Address, Applied]:
    """The objects that go, as far as they themselves allow it. The others are kept, and reported."""
    allowed: dict[Address, Applied] = {}
    for of, applied in sorted(context.inventory.applied.items()):
        if of in context.spec.documents or of == WORDS:
            continue
        if of not in context.held and is_hindered(context, draft, of):
            keep(draft, applied)
            continue
        if context.said(Word.FORGOTTEN, of) is not None:
            _forget(context, draft, applied)
            continue
        refusal = safety.reason_unsafe_to_delete(context, applied)
        if refusal is None:
            allowed[of] = applied
        else:
            _refuse(draft, applied, refusal)
    for of, refusal in safety.over_budget(context, allowed.values()).items():
        _refuse(draft, allowed.pop(of), refusal)
    return allowed


def _forget(context: Context, draft: Draft, applied: Applied) -> None:
    """It goes on as it is and is no longer ours: a running guest without our mark, data where it is.
    Its node gives it no address, no restart and no place any more; it ends with its node's lease."""
    of, name = applied.address, VmName(applied.name)
    refusal = safety.reason_unsafe_to_forget(context, applied)
    if refusal is not None:
        _refuse(draft, applied, refusal)
        return
    owner = context.owner(name) if applied.kind is Kind.VM else None
    node = owner or context.coordinator(of)
    assert node is not None
    if owner is not None:
        inputs: dict[str, object] = {"uuid": applied.uuid}
        draft.step(Operation.VM_FORGET, of, node, pre=applied.digest, inputs=inputs)
    else:
        free = {"is_free": True}
        draft.step(Operation.RECORD_DROP, of, node, pre=applied.digest, inputs=free)
    entry = context.said(Word.FORGOTTEN, of)
    place = None if entry is None else entry.place
    because = Cause(code="forgotten", text="no longer ours; it goes on as it is", place=place)
    _removed(draft, applied, because, Action.FORGET)


def remove_guests(context: Context, draft: Draft, going: Mapping[Address, Applied]) -> None:
    for _, applied in sorted(going.items()):
        if applied.kind is Kind.VM:
            vms.retire(context, draft, applied)
            _removed(draft, applied)


def remove_others(context: Context, draft: Draft, going: Mapping[Address, Applied]) -> None:
    """In an order in which what stays after all keeps what it needs."""
    for kind in _ORDER:
        for _, applied in sorted(going.items()):
            if applied.kind is not kind:
                continue
            users = [
                of for of, record in draft.after.items() if applied.address in context.needs(record)
            ]
            refusal = safety.reason_still_used(applied, users) or safety.reason_trash_to_come(
                applied, draft.steps.values()
            )
            if refusal is not None:
                _refuse(draft, applied, refusal)
            elif kind is Kind.NETWORK:
                networks.retire(context, draft, applied)
                _removed(draft, applied)
            else:
                _remove(context, draft, applied)
                _removed(draft, applied)


def _remove(context: Context, draft: Draft, applied: Applied) -> None:
    """Its data, if it has any, then its record."""
    of, pre = applied.address, applied.digest
    node = context.coordinator(of)
    assert node is not None
    records = context.inventory.applied.items()
    users = [a for a, record in records if of in context.needs(record)]
    needs: list[str | None] = [*draft.lasts(users)]
    data = applied.disks.get("data")
    is_there = data is not None and context.image(data.pool, data.image) is not None
    if applied.kind is Kind.POOL:
        inputs: dict[str, object] = {"pool": applied.name}
        needs = [draft.step(Operation.POOL_DELETE, of, node, needs=needs, pre=pre, inputs=inputs)]
    elif data is not None and is_there:
        is_image = applied.kind is Kind.IMAGE
        last = {"snapshot": SNAPSHOT} if is_image else {"keep_s": int(context.cluster.trash_keep_s)}
        needs = [
            draft.step(
                Operation.IMAGE_DELETE if is_image else Operation.DISK_TRASH,
                of,
                node,
                needs=needs,
                pre=pre,
                inputs={"pool": data.pool, "image": data.image} | last,
            )
        ]
    if applied.kind is Kind.VOLUME:
        record = replace(applied, phase=Phase.TRASHED)
        draft.step(Operation.RECORD_KEEP, of, node, needs=needs, pre=pre, record=record)
    else:
        draft.step(Operation.RECORD_DROP, of, node, needs=needs, pre=pre)


def _removed(
    draft: Draft,
    applied: Applied,
    because: Cause | None = None,
    action: Action = Action.DELETE,
) -> None:
    draft.changes[applied.address] = Change(
        address=applied.address,
        actions=(action,),
        fields=(),
        before=applied.spec,
        after=None,
        disposition=None,
        downtime_s=0.0,
        because=(
            because or Cause(code="removed", text=f"{safety.file_of(applied)} removed", place=None),
        ),
    )


def _refuse(draft: Draft, applied: Applied, refusal: safety.Refusal) -> None:
    keep(draft, applied)
    draft.item(
        refusal.kind,
        applied.address,
        refusal.code,
        refusal.text,
        remedy=refusal.remedy,
        permits=refusal.permits,
    )
