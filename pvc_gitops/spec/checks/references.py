"""Names of other objects: each must exist, and no chain of them may lead back to its start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

from pvc_gitops.model.document import DOCUMENT_KINDS, Document, FieldPath, Kind, Value
from pvc_gitops.spec.checks.repository import Repository
from pvc_gitops.spec.fields import references
from pvc_gitops.spec.findings import NAMES_SHOWN_MAX, Finding, meant

KIND_WORDS: Final = {Kind.VM: "guest", Kind.GROUP: "placement group", Kind.WINDOW: "window"}


def reference_findings(repository: Repository) -> Iterator[Finding]:
    """Dangling references and circles."""
    addresses = {*repository.documents, *repository.failed}
    names_of = cache(repository.names)
    for document in repository.documents.values():
        # Nearly all references hold: which one does not is asked only where some do not.
        if not addresses.issuperset(repository.referred[document.address]):
            yield from _dangling_of(repository, document, names_of)
    yield from _circles(repository, Kind.VM, ("ha", "depends_on"), "waits for")
    yield from _circles(repository, Kind.VOLUME, ("source", "volume"), "is copied from")


def _dangling_of(
    repository: Repository, document: Document, names_of: Callable[[Kind], frozenset[str]]
) -> Iterator[Finding]:
    for pattern, kind in references(document.kind):
        known = names_of(kind)
        for path, name in values_at(document.spec, pattern):
            if name not in known:
                yield _dangling(repository, document, path, kind, name)


def values_at(value: Value, pattern: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    """Every text that stands at a path pattern, with its path."""
    if not pattern:
        yield (), value
        return
    head, rest = pattern[0], pattern[1:]
    if head != "*":
        if head in value:
            for path, text in values_at(value[head], rest):
                yield (head, *path), text
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        for path, text in values_at(item, rest):
            yield (str(key), *path), text


def _dangling(
    repository: Repository, document: Document, path: FieldPath, kind: Kind, name: str
) -> Finding:
    folder = DOCUMENT_KINDS[kind][1]
    names = [doc.name for doc in repository.of_kind(kind)]
    guess = meant(name, names)
    if guess is not None:
        hint = f"did you mean {guess}? ({folder}/{guess}.yaml)"
    elif names:
        more = ", …" if len(names) > NAMES_SHOWN_MAX else ""
        hint = f"{folder}/ has {', '.join(names[:NAMES_SHOWN_MAX])}{more}"
    else:
        hint = f"declare it in {folder}/{name}.yaml"
    word = KIND_WORDS.get(kind, kind.value)
    return Finding(
        document=document,
        path=path,
        code="dangling-reference",
        message=f'no {word} "{name}"',
        hint=hint,
    )


def _circles(repository: Repository, kind: Kind, path: FieldPath, verb: str) -> Iterator[Finding]:
    """One finding for each document on a circle, found by taking away what leads nowhere (Kahn)."""
    waits: dict[str, set[str]] = {}
    for document in repository.of_kind(kind):
        wanted: Value = document.spec
        for key in path:
            wanted = wanted.get(key, {})
        names = [wanted] if isinstance(wanted, str) else list(wanted)
        waits[document.name] = {name for name in names if repository.find(kind, name)}
    needed_by: dict[str, list[str]] = {name: [] for name in waits}
    for name, wanted_names in waits.items():
        for wanted_name in wanted_names:
            needed_by[wanted_name].append(name)
    left = {name: len(wanted_names) for name, wanted_names in waits.items()}
    free = [name for name, count in left.items() if count == 0]
    while free:
        name = free.pop()
        for waiting in needed_by[name]:
            left[waiting] -= 1
            if left[waiting] == 0:
                free.append(waiting)
    stuck = sorted(name for name, count in left.items() if count > 0)
    if stuck:
        first = repository.find(kind, stuck[0])
        assert first is not None  # it came from this repository
        yield Finding(
            document=first,
            path=path,
            code="circle",
            message=f"{first.name} {verb} itself, through {', '.join(stuck[:NAMES_SHOWN_MAX])}",
            hint="take one of them out of the circle",
        )
