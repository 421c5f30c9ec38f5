"""A repository's files to one `ClusterSpec`, or to every problem in them.

All or nothing (D7): one problem anywhere and nothing is adopted. No I/O: bytes come in. The good
path touches each byte once; the words for what is wrong are found by `explain` afterwards.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from types import MappingProxyType
from typing import Final

from pvc_gitops.errors import SpecError
from pvc_gitops.model.codec import canonical_json
from pvc_gitops.model.document import DOCUMENT_KINDS, Document, Kind, Spec
from pvc_gitops.model.ids import Address, CommitId, address
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.tree import Entry, EntryType, admit
from pvc_gitops.model.trust import NO_TRUST, Trust
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.spec import transitions
from pvc_gitops.spec.fields import fields
from pvc_gitops.spec.known import Known, Row, Shared
from pvc_gitops.spec.places import LazyPlaces
from pvc_gitops.spec.scalars import Resolver

EXPLAINED_MAX: Final = (
    200  # beyond, refused documents are only named: words cost time, and no one sees them
)
PROBLEMS_MAX: Final = 50  # shown of one repository; nobody fixes more before looking again
KIND_OF_FOLDER: Final[Mapping[str, Kind]] = MappingProxyType(
    {folder: kind for kind, (_, folder) in DOCUMENT_KINDS.items() if folder}
)
TOP_KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {"cluster.yaml": Kind.CLUSTER, transitions.PATH: Kind.TRANSITIONS}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What could be read. `failed` holds the addresses of documents that were refused, so that a
    reference to one of them is not reported as well. `digests` are those of `ClusterSpec`; `referred`:
    the addresses that each document names."""

    documents: Mapping[Address, Document]
    failed: frozenset[Address]
    problems: tuple[Problem, ...]
    digests: tuple[tuple[Spec, str], ...] = ()
    referred: Mapping[Address, tuple[str, ...]] = field(default_factory=dict)
    words: Document | None = None  # transitions.yaml: it declares nothing, so it is no object
    trust: Trust = NO_TRUST


def load(
    files: Mapping[str, bytes], *, commit: CommitId | None, known: Known | None = None
) -> ClusterSpec:
    """The spec that these files declare.

    Args:
        files: everything in the tree that is read (`model.tree.admit`), path to bytes.
        commit: where they come from; None outside of git.
        known: what earlier loads have read, by this very code; it changes the time and nothing else.

    Raises:
        SpecError: with all problems, in order of file and line, capped at PROBLEMS_MAX.
    """
    loaded = examine(files, known)
    if loaded.problems:
        raise SpecError(capped(loaded.problems))
    return spec_of(loaded, commit=commit)


def spec_of(loaded: Loaded, *, commit: CommitId | None) -> ClusterSpec:
    """The spec of what was read without problems."""
    assert not loaded.problems
    return ClusterSpec(
        commit=commit,
        documents=loaded.documents,
        fields=fields(),
        digests=loaded.digests,
        transitions=transitions.transitions_of(loaded.words),
        trust=loaded.trust,
    )


def problems(files: Mapping[str, bytes]) -> tuple[Problem, ...]:
    """Everything that keeps these files from being adopted; never raises."""
    return capped(examine(files).problems)


def examine(files: Mapping[str, bytes], known: Known | None = None) -> Loaded:
    """What could be read, and every problem; never raises. For commands that also want the former."""
    from pvc_gitops.spec.checks import cross_check

    with _collector_off():
        loaded = _read(files, Known() if known is None else known)
        found = [*loaded.problems, *cross_check(loaded, files)]
        trust, wrong = _trust(loaded, files)
    return replace(loaded, trust=trust, problems=tuple(sorted({*found, *wrong})))


def _trust(loaded: Loaded, files: Mapping[str, bytes]) -> tuple[Trust, tuple[Problem, ...]]:
    """Most repositories have no signers, and nothing to read here."""
    cluster = next((doc for doc in loaded.documents.values() if doc.kind is Kind.CLUSTER), None)
    is_signed = cluster is not None and cluster.spec["source"]["signers"] != "none"
    if not is_signed and not any(path.startswith("trust/") for path in files):
        return NO_TRUST, ()
    from pvc_gitops.spec import trust

    read = trust.read(files, loaded.documents)
    unable = trust.nobody_can_sign(loaded.documents, read.trust, files)
    return read.trust, (*read.problems, *unable)


def _read(files: Mapping[str, bytes], known: Known) -> Loaded:
    entries = (
        Entry(path=path, type=EntryType.FILE, size_bytes=len(data)) for path, data in files.items()
    )
    paths, refusals = admit(entries)
    found = list(refusals)
    documents: dict[Address, Document] = {}
    failed: set[Address] = set()
    digests: list[tuple[Spec, str]] = []
    referred: dict[Address, tuple[str, ...]] = {}
    resolver = Resolver()
    for path in paths:
        folder, _, stem = path[: -len(".yaml")].rpartition("/")
        kind = TOP_KINDS.get(path) or KIND_OF_FOLDER.get(folder)
        if kind is None:
            found.extend(_unsupported(path))
            continue
        data = files[path]
        row = known.find(path, data)
        if row is None:
            row = _row(kind, stem, data, resolver, known)
            if row is not None:
                known.note(path, row)
        if row is not None:
            document = _document(kind, path, data, row)
            documents[document.address] = document
            digests.append((document.spec, row[5]))
            referred[document.address] = row[6]
        else:
            found.extend(_why(kind, path, files, is_enough=len(found) >= EXPLAINED_MAX))
            failed.add(address(kind.value, stem))
    words = documents.pop(address(Kind.TRANSITIONS, Kind.TRANSITIONS), None)
    return Loaded(
        documents=MappingProxyType({key: documents[key] for key in sorted(documents)}),
        failed=frozenset(failed),
        problems=tuple(found),
        digests=tuple(digests),
        referred=referred,
        words=words,
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


def _row(kind: Kind, stem: str, data: bytes, resolver: Resolver, known: Known) -> Row | None:
    # The parser takes longer to import than a hundred known documents to look up.
    from pvc_gitops.spec.reading import read_document

    value = read_document(kind, data, resolver)
    if value is None:
        return None
    metadata = value["metadata"]
    if metadata["name"] != stem and kind is not Kind.CLUSTER:
        return None
    spec, digest, referred = known.shared(kind, value["spec"], _shared)
    return (
        hashlib.sha256(data).digest(),
        metadata["name"],
        spec,
        tuple(metadata["tags"]),
        metadata["description"],
        digest,
        referred,
    )


def _shared(kind: Kind, spec: Spec) -> Shared:
    from pvc_gitops.spec.reading import referred_by

    return spec, hashlib.sha256(canonical_json(spec)).hexdigest(), referred_by(kind, spec)


def _document(kind: Kind, path: str, data: bytes, row: Row) -> Document:
    _, name, spec, tags, description, *_ = row
    return Document(
        kind=kind,
        name=name,
        address=address(kind.value, name),
        spec=spec,
        file=path,
        tags=tags,
        description=description,
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
