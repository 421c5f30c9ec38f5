"""A repository's files to one `ClusterSpec`, or to every problem in them.

All or nothing (D7): one problem anywhere and nothing is adopted. No I/O: bytes come in. The good
path touches each byte once; the words for what is wrong are found by `explain` afterwards.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pvc_gitops.errors import SpecError
from pvc_gitops.model.document import DOCUMENT_KINDS, Document, Kind
from pvc_gitops.model.ids import Address, CommitId, address
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.tree import Entry, EntryType, admit
from pvc_gitops.spec.canonical import complete
from pvc_gitops.spec.check import Invalid, check_of
from pvc_gitops.spec.documents import Refused, parse
from pvc_gitops.spec.fields import fields
from pvc_gitops.spec.places import LazyPlaces
from pvc_gitops.spec.scalars import Resolver

EXPLAINED_MAX: Final = (
    200  # beyond, refused documents are only named: words cost time, and no one sees them
)
PROBLEMS_MAX: Final = 50  # shown of one repository; nobody fixes more before looking again
KIND_OF_FOLDER: Final[Mapping[str, Kind]] = MappingProxyType(
    {folder: kind for kind, (_, folder) in DOCUMENT_KINDS.items()}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What could be read. `failed` holds the addresses of documents that were refused, so that a
    reference to one of them is not reported as well."""

    documents: Mapping[Address, Document]
    failed: frozenset[Address]
    problems: tuple[Problem, ...]


def load(files: Mapping[str, bytes], *, commit: CommitId | None) -> ClusterSpec:
    """The spec that these files declare.

    Args:
        files: everything in the tree that is read (`model.tree.admit`), path to bytes.
        commit: where they come from; None outside of git.

    Raises:
        SpecError: with all problems, in order of file and line, capped at PROBLEMS_MAX.
    """
    loaded = examine(files)
    if loaded.problems:
        raise SpecError(capped(loaded.problems))
    return spec_of(loaded, commit=commit)


def spec_of(loaded: Loaded, *, commit: CommitId | None) -> ClusterSpec:
    """The spec of what was read without problems."""
    assert not loaded.problems
    return ClusterSpec(commit=commit, documents=loaded.documents, fields=fields())


def problems(files: Mapping[str, bytes]) -> tuple[Problem, ...]:
    """Everything that keeps these files from being adopted; never raises."""
    return capped(examine(files).problems)


def examine(files: Mapping[str, bytes]) -> Loaded:
    """What could be read, and every problem; never raises. For commands that also want the former."""
    from pvc_gitops.spec.checks import cross_check

    with _collector_off():
        loaded = _read(files)
        found = [*loaded.problems, *cross_check(loaded, files)]
    return Loaded(
        documents=loaded.documents, failed=loaded.failed, problems=tuple(sorted(set(found)))
    )


def _read(files: Mapping[str, bytes]) -> Loaded:
    entries = (
        Entry(path=path, type=EntryType.FILE, size_bytes=len(data)) for path, data in files.items()
    )
    paths, refusals = admit(entries)
    found = list(refusals)
    documents: dict[Address, Document] = {}
    failed: set[Address] = set()
    resolver = Resolver()
    for path in paths:
        folder, _, stem = path[: -len(".yaml")].rpartition("/")
        kind = Kind.CLUSTER if path == "cluster.yaml" else KIND_OF_FOLDER.get(folder or "/")
        if kind is None:
            found.extend(_unsupported(path))
            continue
        document = _document(kind, path, stem, files[path], resolver)
        if document is not None:
            documents[document.address] = document
        else:
            found.extend(_why(kind, path, files, is_enough=len(found) >= EXPLAINED_MAX))
            failed.add(address(kind.value, stem))
    return Loaded(
        documents=MappingProxyType({key: documents[key] for key in sorted(documents)}),
        failed=frozenset(failed),
        problems=tuple(found),
    )


def _why(
    kind: Kind, path: str, files: Mapping[str, bytes], *, is_enough: bool
) -> tuple[Problem, ...]:
    if is_enough:
        return (_problem(path, "not-explained", "is refused; the other problems come first"),)
    from pvc_gitops.spec.explain import explain

    return explain(kind, path, files[path], files)


def _problem(path: str, code: str, message: str, hint: str = "") -> Problem:
    return Problem(file=path, line=0, column=0, address="", code=code, message=message, hint=hint)


def _document(kind: Kind, path: str, stem: str, data: bytes, resolver: Resolver) -> Document | None:
    try:
        value = check_of(kind)(parse(data, resolver))
        spec = complete(kind, value["spec"])
    except (Refused, Invalid):
        return None
    metadata = value["metadata"]
    if metadata["name"] != stem and kind is not Kind.CLUSTER:
        return None
    return Document(
        kind=kind,
        name=metadata["name"],
        address=address(kind.value, metadata["name"]),
        spec=spec,
        file=path,
        tags=tuple(metadata["tags"]),
        description=metadata["description"],
        places=LazyPlaces(kind, data),
    )


# Folders and files that this release admits and knows not how to read. Passing over them in
# silence would drop guests or rules that somebody declared.
_FUTURE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "profiles": "profiles are not resolved yet",
        "sets": "sets of guests are not resolved yet",
        "templates": "templates are not resolved yet",
        "policies": "policies are not carried out yet",
        "transitions.yaml": "transitions are not read yet",
    }
)


def _unsupported(path: str) -> Iterator[Problem]:
    words = _FUTURE.get(path.split("/", 1)[0])
    if words is not None:
        yield Problem(
            file=path,
            line=1,
            column=1,
            address="",
            code="not-supported-yet",
            message=f"{words} by this release",
            hint="take it out, or keep it under docs/ until a release that reads it",
        )


def capped(found: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """The first PROBLEMS_MAX, and how many there are beyond."""
    if len(found) <= PROBLEMS_MAX:
        return found
    count = len(found) - PROBLEMS_MAX
    rest = _problem(
        "",
        "more-problems",
        f"{count} more problems are not shown",
        "fix these first, then look again",
    )
    return (*found[:PROBLEMS_MAX], rest)


@contextmanager
def _collector_off() -> Iterator[None]:
    """Loading makes many small values and no cycles; the cycle collector would walk them all again
    and again (a third of the time for 5,000 documents)."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
