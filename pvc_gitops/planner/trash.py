"""What lies in the trash: purged when its time has come and not before, told a day ahead (D6).

Only what is ours goes: what a record of something removed names, and what bears a name that we give.
What is declared again, or named by a record that stands, is never purged however old it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address, address
from pvc_gitops.model.inventory import Inventory, TrashFacts
from pvc_gitops.model.plan import Action, Cause, Change, ItemKind, Operation
from pvc_gitops.model.records import Applied, Phase
from pvc_gitops.planner.context import Context, object_of
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.steps.data import own_disks

TOLD_AHEAD_S: Final = 24 * 3600
_OURS: Final = frozenset({Kind.VM.value, Kind.VOLUME.value})
_PURGED: Final = "purged"


def plan_trash(context: Context, draft: Draft) -> None:
    """Purge what is due, tell what will be, and drop records of which nothing is left."""
    storage = context.inventory.storage
    if storage is None:
        return
    left = dict(context.kept)
    for pool, entry in _entries(context):
        of = _whose(context, pool, entry)
        if of is not None and _goes_to_another(draft, of, entry):
            continue
        if of is None or _is_wanted(context, draft, of, pool, entry):
            left.pop(of or Address(""), None)
        elif entry.until_s > context.inventory.now_s:
            left.pop(of, None)
            if entry.until_s - context.inventory.now_s <= TOLD_AHEAD_S:
                draft.item(ItemKind.NOTE, of, "purge-soon", _soon(pool, entry))
        elif not _purge(context, draft, of, pool, entry):
            left.pop(of, None)
    for of, record in sorted(left.items()):
        if of not in context.spec.documents and of not in draft.after:
            _drop(context, draft, record)


def due_soon(inventory: Inventory) -> tuple[tuple[Address, str], ...]:
    """What will be purged within a day, or waits to be, by what is observed alone: for whoever shows a
    cluster. What a record that stands names is not."""
    if inventory.storage is None:
        return ()
    named: dict[tuple[str, str], Applied] = {}
    for record in inventory.applied.values():
        named |= {(ref.pool, ref.image): record for ref in record.disks.values()}
    found: list[tuple[Address, str]] = []
    for pool, entries in sorted(inventory.storage.trash.items()):
        for entry in entries:
            owner = named.get((pool, entry.name))
            of = _by_name(entry.name) if owner is None else owner.address
            is_trashed = owner is None or owner.phase is Phase.TRASHED
            if of is not None and is_trashed and entry.until_s - inventory.now_s <= TOLD_AHEAD_S:
                found.append((of, _soon(pool, entry)))
    return tuple(found)


def _entries(context: Context) -> Iterator[tuple[str, TrashFacts]]:
    assert context.inventory.storage is not None
    for pool, entries in sorted(context.inventory.storage.trash.items()):
        for entry in sorted(entries, key=lambda each: (each.until_s, each.id)):
            yield pool, entry


def _whose(context: Context, pool: str, entry: TrashFacts) -> Address | None:
    """The object that an entry was a part of; None for what is not ours."""
    of = context.named.get((pool, entry.name))
    if of is not None:
        return of
    return _by_name(entry.name)


def _by_name(image: str) -> Address | None:
    kind, _, rest = image.partition(".")
    return address(kind, rest.split(".")[0]) if kind in _OURS and rest else None


def _is_wanted(context: Context, draft: Draft, of: Address, pool: str, entry: TrashFacts) -> bool:
    """Whether somebody may come to ask for it: a record that stands, or that this plan writes."""
    key = (pool, entry.name)
    records = [context.applied(of), draft.after.get(of)]
    if any(r is not None and key in _refs(r) for r in records):
        return True
    if any(s.inputs.get("trash_id") == entry.id for s in draft.steps.values()):
        return True
    return of in context.spec.documents and context.applied(of) is None


def _goes_to_another(draft: Draft, of: Address, entry: TrashFacts) -> bool:
    """Whether it comes back as something else in this plan."""
    steps = draft.steps.values()
    return any(s.inputs.get("trash_id") == entry.id and object_of(s.address) != of for s in steps)


def _refs(record: Applied) -> set[tuple[str, str]]:
    return {(ref.pool, ref.image) for ref in own_disks(record).values()}


def _purge(context: Context, draft: Draft, of: Address, pool: str, entry: TrashFacts) -> bool:
    """Whether it is in this plan. What something else happens to is left to the next one."""
    node, change = context.coordinator(of), draft.changes.get(of)
    busy = change is not None and any(cause.code != _PURGED for cause in change.because)
    if node is None or busy or context.foreign_claim(of) is not None or of in context.held:
        return False
    draft.step(
        Operation.DISK_PURGE,
        of,
        node,
        pre=context.digest(of),
        inputs={"pool": pool, "image": entry.name, "trash_id": entry.id},
        qualifier=entry.id,
    )
    _tell(context, draft, of, f"{pool}/{entry.name}: kept until {_time(entry.until_s)}")
    return True


def _drop(context: Context, draft: Draft, record: Applied) -> None:
    of = record.address
    node = context.coordinator(of)
    if node is None or context.foreign_claim(of) is not None:
        return
    mine = {ref.image for ref in own_disks(record).values()}
    purges = [
        s.id for s in draft.steps.values() if "trash_id" in s.inputs and s.inputs["image"] in mine
    ]
    free = {"is_free": True}
    draft.step(Operation.RECORD_DROP, of, node, needs=purges, pre=record.digest, inputs=free)
    if of not in draft.changes:
        _tell(context, draft, of, "nothing of its data is left in the trash", Action.FORGET)


def _tell(
    context: Context, draft: Draft, of: Address, text: str, action: Action = Action.DELETE
) -> None:
    record, known = context.applied(of), draft.changes.get(of)
    cause = Cause(code=_PURGED, text=text, place=None)
    draft.changes[of] = Change(
        address=of,
        actions=(action,) if record is None else (Action.UPDATE,),
        fields=(),
        before=None if record is None else record.spec,
        after=None if record is None else record.spec,
        disposition=None,
        downtime_s=0.0,
        because=(cause,) if known is None else (*known.because, cause),
    )


def _soon(pool: str, entry: TrashFacts) -> str:
    return f"{pool}/{entry.name} in the trash is purged at {_time(entry.until_s)}"


def _time(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%MZ")
