"""Whether data may be made where an object is declared: never blank under the name of what is somewhere
else, in the trash, or expected back (D6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.ids import Address, address
from pvc_gitops.model.plan import ItemKind
from pvc_gitops.model.records import Applied, DiskRef
from pvc_gitops.model.transitions import Word
from pvc_gitops.planner.context import Context, own_prefix
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.steps.disks import lives_of, trashed

_RESTORE: Final = "restore"


def own_disks(record: Applied) -> Mapping[str, DiskRef]:
    """Where its own data lies; a volume that a guest uses is the volume's."""
    if record.kind is not Kind.VM:
        return record.disks if record.kind is Kind.VOLUME else {}
    spec = record.spec["disks"]
    return {n: r for n, r in record.disks.items() if spec[n].get("volume") is None}


def may_be_made(context: Context, draft: Draft, doc: Document, record: Applied) -> bool:
    """For an object that does not exist. Says why not."""
    kept, own = context.kept.get(doc.address), own_disks(record)
    is_back = False
    for name, ref in sorted(own.items()):
        owner = context.named.get((ref.pool, ref.image), doc.address)
        if owner != doc.address:
            draft.blocked(
                doc.address,
                "data-taken",
                f"the data of its {_disk(doc, name)} is {owner} by now",
                f"forget or remove {owner} first, or declare this under another name",
                doc.place(()),
            )
            return False
        if trashed(context, ref) or context.image(ref.pool, ref.image) is not None:
            is_back = True
            continue
        elsewhere = _elsewhere(context, doc, name, ref)
        if elsewhere:
            draft.blocked(
                doc.address,
                "data-elsewhere",
                f"data of its {_disk(doc, name)} is {elsewhere}; it would begin empty beside it",
                "declare it in the pool where its data is, or under another name",
                doc.place(()),
            )
            return False
    if own and not is_back:
        if not _may_begin_blank(context, draft, doc):
            return False
        if kept is not None:
            draft.item(
                ItemKind.WARNING,
                doc.address,
                "purged",
                "is created new and empty: its old data was purged",
                place=doc.place(()),
            )
    return True


def _disk(doc: Document, name: str) -> str:
    return f"disk {name}" if doc.kind is Kind.VM else "volume"


def _elsewhere(context: Context, doc: Document, name: str, ref: DiskRef) -> str:
    """Where other data of the same disk lies that no record names, or "". Data of another cluster that
    was once formed here counts as long as nobody says that this one is new."""
    prefix = own_prefix(doc.address)
    found = [(pool, image, "in") for pool, image in context.images_of(prefix)]
    found += [(pool, e.name, "in the trash of") for pool, e in context.trash_of(prefix)]
    if not found:
        return ""
    of = address(Kind.VM, doc.name, "disk", name) if doc.kind is Kind.VM else doc.address
    begin, ours = own_prefix(of), lives_of(context, of)
    for pool, image, where in found:
        is_this = (pool, image) == (ref.pool, ref.image)
        is_known = context.is_anothers(pool, image, than=doc.address)
        is_of_it = image.startswith(begin) and "." not in image.removeprefix(begin)
        if is_this or is_known or not is_of_it:
            continue
        if image in ours or not _is_said_new(context):
            return f"{where} pool/{pool}"
    return ""


def _is_said_new(context: Context) -> bool:
    (doc,) = context.spec.of_kind(Kind.CLUSTER)
    return context.cluster.formation == "new" and ("formation",) in doc.places


def _may_begin_blank(context: Context, draft: Draft, doc: Document) -> bool:
    said = context.said(Word.RESTORED, doc.address)
    if said is not None:
        draft.blocked(
            doc.address,
            "nothing-to-restore",
            "its data lies neither in the trash nor in a pool",
            "bring it back from a backup, or take `restored` out: it begins empty then",
            said.place,
        )
        return False
    if context.cluster.formation == _RESTORE:
        draft.waiting(
            doc.address,
            "formation-restore",
            "waits for its data: the cluster is formed anew, with `formation: restore`",
            "restore it, or commit `formation: new` in cluster.yaml for what begins empty",
            doc.place(()),
        )
        return False
    if context.inventory.formation > 1 and not _has_data(context) and not _is_said_new(context):
        draft.blocked(
            doc.address,
            "formation-unsaid",
            "the cluster was formed anew and knows nothing of its data; it would begin empty",
            "commit `formation: restore` in cluster.yaml to bring data back first, or "
            "`formation: new`",
            doc.place(()),
        )
        return False
    return True


def _has_data(context: Context) -> bool:
    records: Mapping[Address, Applied] = context.inventory.applied
    return any(record.kind in (Kind.VM, Kind.VOLUME) for record in records.values())
