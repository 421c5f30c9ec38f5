"""`transitions.yaml` as values: from a checked document to entries with their places, and back.

How an entry is written stands here alone: the loader reads it, and whoever proposes one writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pvc_gitops.model.document import Document, Spec
from pvc_gitops.model.ids import Address
from pvc_gitops.model.transitions import Transition, Transitions, Word

PATH: Final = "transitions.yaml"
_AS: Final = " as "


def transitions_of(document: Document | None) -> Transitions:
    """All entries, in the order of the words, then of the file."""
    return Transitions() if document is None else Transitions(tuple(_entries(document)))


def _entries(document: Document) -> Iterator[Transition]:
    spec: Spec = document.spec
    for word in Word:
        for number, written in enumerate(spec.get(word) or ()):
            if isinstance(written, str):
                source, _, target = written.rpartition(_AS)
            else:
                source, target = written["from"], written["to"]
            yield Transition(
                word=word,
                address=Address(target),
                source=Address(source) if source else None,
                place=document.place((word, str(number))),
            )
