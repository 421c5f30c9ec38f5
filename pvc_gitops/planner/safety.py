"""Why something may not be deleted now (D5, D6). One function a question, each returns the refusal
or None; nothing else lives here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pvc_gitops.model.document import DOCUMENT_KINDS, Kind
from pvc_gitops.model.ids import Address, VmName
from pvc_gitops.model.intents import IntentKind
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.plan import Action, Change, ItemKind, Operation, Permit, Step
from pvc_gitops.model.records import Applied, Phase
from pvc_gitops.model.transitions import Word
from pvc_gitops.model.values import dataclass
from pvc_gitops.planner.context import Context

# A node that never joined, or left without guests, hides nothing.
_SILENT_BUT_EMPTY = frozenset({NodeState.ABSENT, NodeState.LEFT})
_BUDGET_OF = {
    Kind.VM: "vms",
    Kind.VOLUME: "volumes",
    Kind.NETWORK: "networks",
    Kind.NODE: "nodes",
    Kind.POOL: "pools",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why not, and the exact text that would allow it."""

    kind: ItemKind
    code: str
    text: str
    remedy: str
    permits: tuple[Permit, ...] = ()


def file_of(applied: Applied) -> str:
    """Where such an object is declared."""
    _, folder = DOCUMENT_KINDS[applied.kind]
    return f"{folder}/{applied.name}.yaml"


def reason_unsafe_to_forget(context: Context, applied: Applied) -> Refusal | None:
    """Nothing is destroyed, so only its node's word is needed, and that nobody of ours is on it."""
    users = [
        of
        for of, record in sorted(context.inventory.applied.items())
        if applied.address in context.needs(record)
    ]
    if users:
        named = ", ".join(users[:3])
        return Refusal(
            kind=ItemKind.BLOCKED,
            code="still-used",
            text=f"to be forgotten, but {named} still needs it",
            remedy=f"forget or remove {named} first",
        )
    owner = context.owner(VmName(applied.name)) if applied.kind is Kind.VM else None
    if owner is not None and owner not in context.online:
        return Refusal(
            kind=ItemKind.WAITING,
            code="not-observed",
            text=f"to be forgotten; waits until {owner} is seen again",
            remedy="pvc status",
        )
    return None


def reason_unsafe_to_delete(context: Context, applied: Applied) -> Refusal | None:
    """The first reason of the object itself. What is being removed already was allowed to be."""
    if applied.phase is Phase.REMOVING:
        return _reason_unobserved(context, applied)
    return (
        _reason_held(context, applied)
        or _reason_unaccepted(context)
        or _reason_protected(applied)
        or _reason_not_retired(applied)
        or _reason_unobserved(context, applied)
        or _reason_not_empty(context, applied)
        or _reason_cloned(context, applied)
        or _reason_renamed(context, applied)
    )


def reason_still_used(applied: Applied, users: Collection[Address]) -> Refusal | None:
    if not users:
        return None
    named = ", ".join(sorted(users)[:3])
    return Refusal(
        kind=ItemKind.BLOCKED,
        code="still-used",
        text=f"its file is gone, but {named} still needs it",
        remedy=f"git restore {file_of(applied)}, or see why {named} stays",
    )


def reason_trash_to_come(applied: Applied, steps: Iterable[Step]) -> Refusal | None:
    """As for what lies in the trash already: it does not say of what it is a clone."""
    if applied.kind is not Kind.IMAGE:
        return None
    if not any(step.operation is Operation.DISK_TRASH for step in steps):
        return None
    text = "kept: data that this plan moves to the trash may be a clone of it"
    return Refusal(kind=ItemKind.ORPHAN, code="has-clones", text=text, remedy="")


def over_budget(context: Context, doomed: Iterable[Applied]) -> Mapping[Address, Refusal]:
    """All deletions of a kind of which one plan, or one day, may not hold so many. What is said to be
    removed is meant, and does not count."""
    by_kind: dict[Kind, list[Applied]] = {}
    for applied in doomed:
        is_meant = context.said(Word.REMOVED, applied.address) is not None
        if applied.phase is Phase.PRESENT and applied.kind in _BUDGET_OF and not is_meant:
            by_kind.setdefault(applied.kind, []).append(applied)
    refused: dict[Address, Refusal] = {}
    for kind, objects in by_kind.items():
        word = _BUDGET_OF[kind]
        budget = getattr(context.cluster.max_destroy, word)
        spent = context.inventory.spent.destroyed.get(word, 0)
        if len(objects) + spent <= budget:
            continue
        before = f" after {spent} in the last 24 h" if spent else " at once"
        names = ", ".join(sorted(applied.address for applied in objects))
        refused |= {
            applied.address: Refusal(
                kind=ItemKind.BLOCKED,
                code="destroy-budget",
                text=f"{len(objects)} {word} to destroy{before}; apply.max_destroy allows {budget}",
                remedy=f"add to transitions.yaml: `removed: [{names}]` (pvc allow --last), or "
                "delete fewer in one commit",
                permits=(Permit(word=Word.REMOVED, address=applied.address),),
            )
            for applied in objects
        }
    return refused


def over_disrupted(context: Context, changes: Mapping[Address, Change]) -> Mapping[Address, str]:
    """Guests that a draft disrupts beyond the budgets, with the refusal's text: all of a word of which
    one plan, or one day, may not hold so many. What is said to be disrupted is meant."""
    by_word: dict[str, list[Address]] = {}
    for of, change in sorted(changes.items()):
        word = disruption(change)
        is_meant = context.said(Word.DISRUPTED, of) is not None
        is_asked = bool(context.standing(IntentKind.RESTART, of))  # by a person, not by a commit
        if word is not None and not is_meant and not is_asked:
            by_word.setdefault(word, []).append(of)
    refused: dict[Address, str] = {}
    for word, guests in by_word.items():
        budget = getattr(context.cluster.max_disrupt, word)
        spent = context.inventory.spent.disrupted.get(word, 0)
        if len(guests) + spent > budget:
            before = f" after {spent} in the last 24 h" if spent else " at once"
            text = f"{len(guests)} {word}{before}; apply.max_disrupt allows {budget}"
            refused |= dict.fromkeys(guests, text)
    return refused


def disruption(change: Change) -> str | None:
    """What a change is in words of `apply.max_disrupt`."""
    if not change.address.startswith(f"{Kind.VM}/") or Action.RESTORE in change.actions:
        return None
    if change.actions == (Action.DELETE, Action.CREATE):
        return "replaces"
    return "reboots" if change.downtime_s and Action.DELETE not in change.actions else None


def _reason_unaccepted(context: Context) -> Refusal | None:
    if context.inventory.accepted is not None:
        return None
    return Refusal(
        kind=ItemKind.BLOCKED,
        code="no-accepted-commit",
        text="no commit was accepted yet, and absence alone is no evidence",
        remedy="push the repository that declares it, then the one that does not",
    )


def _reason_protected(applied: Applied) -> Refusal | None:
    if not applied.spec.get("protect"):
        return None
    file = file_of(applied)
    return Refusal(
        kind=ItemKind.BLOCKED,
        code="protected",
        text="protected; its file is gone",
        remedy=f"commit `protect: false` in {file} first, or keep the file (git restore {file})",
    )


def _reason_renamed(context: Context, applied: Applied) -> Refusal | None:
    """What goes and what comes in its place without a word: is it the same one?"""
    of = applied.address
    heir = context.renamed.get(of)
    if heir is None:
        return None
    moved = f"moved: [{{from: {of}, to: {heir}}}]"
    return Refusal(
        kind=ItemKind.BLOCKED,
        code="renamed",
        text=f"its file is gone, and {heir} comes that looks like it: renamed, or removed?",
        remedy=f"add to transitions.yaml: `{moved}` to rename it (pvc allow --last), or "
        f"`removed: [{of}]` if new data is meant",
        permits=(Permit(word=Word.MOVED, address=heir, source=of),),
    )


def _reason_held(context: Context, applied: Applied) -> Refusal | None:
    """It is to be moved, and cannot be now: above all it is not deleted meanwhile."""
    held = context.held.get(applied.address)
    if held is None:
        return None
    return Refusal(kind=held.kind, code=held.code, text=held.text, remedy=held.remedy)


def _reason_not_retired(applied: Applied) -> Refusal | None:
    if applied.kind is not Kind.NODE or applied.spec.get("state") == "retired":
        return None
    file = file_of(applied)
    return Refusal(
        kind=ItemKind.BLOCKED,
        code="node-not-retired",
        text="a node leaves by being retired first",
        remedy=f"git restore {file} and commit `state: retired` in it; remove it afterwards",
    )


def _reason_unobserved(context: Context, applied: Applied) -> Refusal | None:
    """Deletions rest on what is seen now, never on what is not heard of."""
    unseen: list[str] = []
    if applied.kind is Kind.VM:
        owner = context.owner(VmName(applied.name))
        if owner is not None and owner not in context.online:
            unseen = [owner]
    elif applied.kind is Kind.NETWORK:
        unseen = [
            name
            for name, facts in sorted(context.inventory.nodes.items())
            if name not in context.online and facts.state not in _SILENT_BUT_EMPTY
        ]
    elif applied.kind is Kind.NODE:
        unseen = [
            vm for vm, p in sorted(context.inventory.placements.items()) if p.owner == applied.name
        ]
        if unseen:
            return Refusal(
                kind=ItemKind.BLOCKED,
                code="node-has-guests",
                text=f"it still owns {', '.join(unseen[:3])}",
                remedy=f"git restore {file_of(applied)}; move its guests, then remove it",
            )
    if applied.kind in (Kind.VM, Kind.VOLUME, Kind.IMAGE, Kind.POOL) and (
        context.inventory.storage is None
    ):
        unseen.append("storage")
    if not unseen:
        return None
    return Refusal(
        kind=ItemKind.WAITING,
        code="not-observed",
        text=f"to be removed; waits until {', '.join(unseen)} is seen again",
        remedy="pvc status",
    )


def _reason_not_empty(context: Context, applied: Applied) -> Refusal | None:
    storage = context.inventory.storage
    if applied.kind is not Kind.POOL or storage is None:
        return None
    images = sum(key.startswith(f"{applied.name}/") for key in storage.images)
    trash = len(storage.trash.get(applied.name, ()))  # type: ignore[call-overload]
    if not images and not trash:
        return None
    return Refusal(
        kind=ItemKind.BLOCKED,
        code="pool-not-empty",
        text=f"it holds {images} images and {trash} in the trash",
        remedy=f"git restore {file_of(applied)}; remove it when the trash is purged",
    )


def _reason_cloned(context: Context, applied: Applied) -> Refusal | None:
    """An image goes when nothing is a clone of it. What lies in the trash does not say of what it is
    a clone, so any guest's or volume's data there may be."""
    storage = context.inventory.storage
    if applied.kind is not Kind.IMAGE or storage is None or "data" not in applied.disks:
        return None
    data = applied.disks["data"]
    parent = f"{data.pool}/{data.image}@"
    clones = [
        key
        for key, image in sorted(storage.images.items())
        if (image.parent or "").startswith(parent)
    ]
    if clones:
        text = f"kept: {clones[0]} is a clone of it"
    elif any(storage.trash.values()):
        text = "kept: data in the trash may be a clone of it"
    else:
        return None
    return Refusal(kind=ItemKind.ORPHAN, code="has-clones", text=text, remedy="")
