"""One-shot words: which still hold, and the record of those that are done.

A word is done when what it was said for has happened; from then on it is passed over, whatever comes
later under the same address. What is done stands in one record of its own, written after the steps
that the words were said for, so that a step that fails leaves its word in force.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pvc_gitops.model.document import Kind, Place, Spec
from pvc_gitops.model.ids import Address, address
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import ItemKind, Operation
from pvc_gitops.model.records import Applied, Phase
from pvc_gitops.model.transitions import Transition, Word
from pvc_gitops.planner.context import WORDS, Context, written
from pvc_gitops.planner.draft import Draft

_HOLDS_BACK: Final = frozenset({ItemKind.BLOCKED, ItemKind.WAITING})


def plan_words(context: Context, draft: Draft) -> None:
    """Put the record of what is done once all steps that it tells of are done."""
    before = context.inventory.applied.get(WORDS)
    entries = context.spec.transitions.items
    done = [each for each in entries if context.is_done(each) or _is_met(context, draft, each)]
    for each in entries:
        if context.is_done(each):
            draft.item(
                ItemKind.NOTE,
                each.address,
                "word-done",
                f"`{each.word}` is done; pvc fmt takes it out of {each.place.file}",
                place=each.place,
            )
    words = sorted({written(each) for each in done})
    known = [] if before is None else list(before.spec["done"])
    node = context.coordinator(WORDS)
    if words == known or node is None or context.foreign_claim(WORDS) is not None:
        return
    pre = "" if before is None else before.digest
    needs = draft.lasts(_told_of(done, known))
    if not words:
        draft.step(Operation.RECORD_DROP, WORDS, node, needs=needs, pre=pre)
        return
    record = _record(context, {"done": words})
    draft.step(Operation.RECORD_PUT, WORDS, node, needs=needs, pre=pre, record=record)


def is_kept(inventory: Inventory, word: Word, of: Address, source: Address | None) -> bool:
    """Whether a cluster has kept a word."""
    record = inventory.applied.get(WORDS)
    nowhere = Place(file="", line=0, column=0)
    entry = Transition(word=word, address=of, source=source, place=nowhere)
    return record is not None and written(entry) in record.spec["done"]


def _told_of(done: Iterable[Transition], known: Iterable[str]) -> list[Address]:
    return [each.address for each in done if written(each) not in known]


def _is_met(context: Context, draft: Draft, entry: Transition) -> bool:
    """Whether nothing is left to do for it after this plan."""
    of = entry.address
    match entry.word:
        case Word.REMOVED | Word.FORGOTTEN:
            return of not in draft.after and of not in context.spec.documents
        case Word.MOVED:
            assert entry.source is not None
            return of in draft.after and entry.source not in draft.after
        case Word.RESTORED | Word.ADOPTED:
            return of in draft.after
        case Word.DISRUPTED:
            held = any(i.address == of and i.kind in _HOLDS_BACK for i in draft.report)
            return of in draft.after and not held


def _record(context: Context, spec: Spec) -> Applied:
    return Applied(
        address=address(Kind.TRANSITIONS, Kind.TRANSITIONS),
        kind=Kind.TRANSITIONS,
        name=Kind.TRANSITIONS.value,
        spec=spec,
        tags=(),
        incarnation=1,
        uuid="",
        phase=Phase.PRESENT,
        needs=(),
        commit=context.spec.commit,
        plan=None,
        wanted=None,
        nics={},
        disks={},
    )
