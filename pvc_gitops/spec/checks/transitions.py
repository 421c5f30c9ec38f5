"""One-shot words that cannot be meant: about nothing, about two things at once, or against each other.

What is done already cannot be told from a repository; `pvc plan` says it, and `pvc fmt` takes it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pvc_gitops.model.document import DOCUMENT_KINDS, Document, Kind
from pvc_gitops.model.ids import Address
from pvc_gitops.model.transitions import Transition, Word
from pvc_gitops.spec.checks.repository import Repository
from pvc_gitops.spec.findings import Finding, meant
from pvc_gitops.spec.transitions import transitions_of

# What each word can be said of. A pool's name stands in the path of all its data, a node's in what
# proves its death; both go and come as different ones.
_SAID_OF: Final[Mapping[Word, frozenset[Kind]]] = {
    Word.MOVED: frozenset({Kind.VM, Kind.VOLUME, Kind.NETWORK, Kind.IMAGE, Kind.GROUP}),
    Word.REMOVED: frozenset(
        {Kind.VM, Kind.VOLUME, Kind.NETWORK, Kind.IMAGE, Kind.GROUP, Kind.NODE, Kind.POOL}
    ),
    Word.FORGOTTEN: frozenset({Kind.VM, Kind.VOLUME, Kind.IMAGE, Kind.POOL}),
    Word.RESTORED: frozenset({Kind.VM, Kind.VOLUME}),
    Word.ADOPTED: frozenset({Kind.VM, Kind.VOLUME, Kind.NETWORK}),
    Word.DISRUPTED: frozenset({Kind.VM}),
}
# Words about an object that must be declared, for there to be anything to do to it.
_OF_DECLARED: Final = frozenset({Word.MOVED, Word.RESTORED, Word.ADOPTED, Word.DISRUPTED})
_ENDINGS: Final = frozenset({Word.REMOVED, Word.FORGOTTEN})


def transition_findings(repository: Repository) -> Iterator[Finding]:
    """Each entry alone, then all of them against each other."""
    document = repository.words
    if document is None:
        return
    entries = transitions_of(document).items
    places: dict[Word, int] = {}
    ends: dict[Address, Transition] = {}
    beginnings: dict[Address, Transition] = {}
    for entry in entries:
        number = places.get(entry.word, 0)
        places[entry.word] = number + 1
        at = _At(document, entry, number)
        yield from _alone(repository, at)
        ending = entry.source if entry.word is Word.MOVED else entry.address
        if entry.word in _ENDINGS | {Word.MOVED} and ending is not None:
            yield from _twice(at, ends.setdefault(ending, entry), "goes")
        if entry.word in (Word.MOVED, Word.RESTORED, Word.ADOPTED):
            yield from _twice(at, beginnings.setdefault(entry.address, entry), "comes")


class _At:
    """An entry, and where it stands."""

    def __init__(self, document: Document, entry: Transition, number: int) -> None:
        self.document, self.entry, self.number = document, entry, number

    def finding(self, code: str, message: str, hint: str, part: str = "") -> Finding:
        path = (self.entry.word.value, str(self.number), *([part] if part else []))
        return Finding(document=self.document, path=path, code=code, message=message, hint=hint)


def _alone(repository: Repository, at: _At) -> Iterator[Finding]:
    entry = at.entry
    kind, _, name = entry.address.partition("/")
    part = "to" if entry.word is Word.MOVED else ""
    said_of = _SAID_OF[entry.word]
    if Kind(kind) not in said_of:
        words = ", ".join(sorted(said_of))
        yield at.finding(
            "word-not-for-kind", f"{entry.word} is not said of a {kind}", f"only of: {words}", part
        )
        return
    if entry.word is Word.MOVED and entry.source is not None:
        if entry.source.partition("/")[0] != kind:
            yield at.finding("moved-to-another-kind", f"{entry.source} cannot become a {kind}",
                             "both have the same kind", "to")  # fmt: skip
        elif entry.source == entry.address:
            yield at.finding("moved-nowhere", f"{entry.source} is moved to itself",
                             "take the entry out", "to")  # fmt: skip
    if entry.word in _OF_DECLARED and not repository.exists(Kind(kind), name):
        names = sorted(repository.names(Kind(kind)))
        guess = meant(name, names)
        folder = DOCUMENT_KINDS[Kind(kind)][1]
        hint = f"did you mean {kind}/{guess}?" if guess else f"declare it in {folder}/{name}.yaml"
        yield at.finding(
            "unknown-address",
            f"{entry.address} is {entry.word} and not declared",
            f"{hint}; or take the entry out, if it is done",
            part,
        )


def _twice(at: _At, first: Transition, what: str) -> Iterator[Finding]:
    if first is at.entry:
        return
    of = at.entry.address if what == "comes" else (at.entry.source or at.entry.address)
    yield at.finding(
        "contradictory-words",
        f"{of} {what} by {first.word} ({first.place}) and by {at.entry.word}",
        "keep one of them",
    )
