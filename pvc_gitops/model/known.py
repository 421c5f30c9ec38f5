"""Views of documents, and what is said of them, are made once: documents are values, and the same one is
viewed every second.

What is kept is found by the very object that it was made from, not by its content: comparing that would
cost as much as making it again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Final, TypeVar

from pvc_gitops.model.document import Spec

T = TypeVar("T")

KNOWN_MAX: Final = 10_000  # of each kind: more than a cluster has; then begun anew


def made_once(make: Callable[[type[T], str, Spec], T]) -> Callable[[type[T], str, Spec], T]:
    """For `from_spec(cls, name, spec)`: the same object for the same specification and name."""
    known: dict[tuple[int, str], tuple[Spec, T]] = {}

    @wraps(make)
    def from_spec(cls: type[T], name: str, spec: Spec) -> T:
        found = known.get((id(spec), name))
        if found is not None and found[0] is spec:
            return found[1]
        made = make(cls, name, spec)
        if len(known) >= KNOWN_MAX:
            known.clear()
        known[id(spec), name] = spec, made  # kept with it: nothing else gets its id
        return made

    return from_spec


def said_once(make: Callable[[Spec], T]) -> Callable[[Spec], T]:
    """For what is said of a specification alone: guests that share one are asked about once."""
    known: dict[int, tuple[Spec, T]] = {}

    @wraps(make)
    def of(spec: Spec) -> T:
        found = known.get(id(spec))
        if found is not None and found[0] is spec:
            return found[1]
        if len(known) >= KNOWN_MAX:
            known.clear()
        made = make(spec)
        known[id(spec)] = spec, made
        return made

    return of
