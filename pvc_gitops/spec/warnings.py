"""What is lawful and yet deserves a word: it keeps no commit from being adopted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pvc_gitops.model.document import Document, FieldPath, Kind
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.spec.findings import Finding, located

FOUNDING: Final = "secrets/founding.yaml"
WARNINGS_MAX: Final = 20  # beyond that nobody reads them

# Fields that documents may hold and that this release does not act upon yet, where they say more
# than their default. A declared rule that nobody keeps must not look kept. A line goes when the
# code that reads its field arrives.
_UNREAD: Final[Mapping[Kind, tuple[tuple[FieldPath, str], ...]]] = {
    Kind.CLUSTER: ((("routing", "peers"), "no routes are announced to peers"),),
    Kind.NODE: (
        (("sriov",), "no virtual functions are made"),
        (("install",), "there is no installer"),
    ),
    Kind.NETWORK: (
        (("ipv6",), "guests get no IPv6"),
        (("firewall",), "no packet is filtered"),
        (("ntp",), "DHCP tells no time servers"),
        (("tftp",), "nothing is served by TFTP"),
        (("reservations",), "addresses are kept free and not handed out"),
    ),
    Kind.VM: (
        (("media",), "no CD drive is attached"),
        (("memory_max",), "memory does not grow at run time"),
        (("console", "vnc"), "there is no graphical console"),
    ),
}

# The same for fields of which only some words are acted upon: these are, and what the others do.
_UNREAD_WORDS: Final[Mapping[Kind, tuple[tuple[FieldPath, frozenset[str], str], ...]]] = {
    Kind.NETWORK: ((("type",), frozenset({"managed"}), "only managed networks are made"),),
    Kind.VM: (
        (("firmware",), frozenset({"bios"}), "the guest is not started"),
        (("guest",), frozenset({"linux", "other"}), "it gets the clock and hints of Linux"),
        (("migration", "method"), frozenset({"live"}), "guests are not moved"),
    ),
}


def warnings(spec: ClusterSpec, files: Mapping[str, bytes]) -> tuple[Problem, ...]:
    """Warnings about a valid repository, in order of file and line."""
    found = [*_fields(spec), *_few_coordinators(spec), *_advisory(spec)]
    rows = sorted([*_founding(files), *located(found[:WARNINGS_MAX], files)])
    if len(found) > WARNINGS_MAX:
        rows.append(_more(len(found) - WARNINGS_MAX))
    return tuple(rows)


def _more(count: int) -> Problem:
    return Problem(
        file="",
        line=0,
        column=0,
        address="",
        code="more-warnings",
        message=f"{count} more warnings are not shown",
    )


def _founding(files: Mapping[str, bytes]) -> Iterator[Problem]:
    if FOUNDING not in files:
        yield Problem(
            file=FOUNDING,
            line=0,
            column=0,
            address="secret/founding",
            code="no-founding-secrets",
            message="is missing: this repository validates and plans, and cannot found a cluster",
            hint="pvc init writes it for a new cluster",
        )


def _few_coordinators(spec: ClusterSpec) -> Iterator[Finding]:
    coordinators = [
        node
        for node in spec.of_kind(Kind.NODE)
        if node.spec["role"] == "coordinator" and node.spec["state"] == "active"
    ]
    if len(coordinators) == 1:
        yield Finding(
            document=coordinators[0],
            path=("role",),
            code="single-coordinator",
            message="one coordinator is enough for a lab only: when it dies, nothing is decided",
            hint="3 nodes with role: coordinator survive the loss of one",
        )


def _advisory(spec: ClusterSpec) -> Iterator[Finding]:
    """Without signatures nobody knows whose a commit is."""
    (cluster,) = spec.of_kind(Kind.CLUSTER)
    mode = cluster.spec["source"]["signers"]
    roles = [role for role in spec.of_kind(Kind.ROLE) if role.spec["commit"]]
    if not roles or mode == "every":
        return
    binds = (
        "nothing that is committed"
        if mode == "none"
        else "only commits that are signed by whom they bind"
    )
    yield Finding(
        document=roles[0],
        path=("commit",),
        code="advisory-roles",
        message=f"with signers: {mode} roles bind {binds}; what operators do for the moment they do bind",
        hint="source.signers: every in cluster.yaml enforces them; till then the forge's rules have to",
        at_key=True,
    )


def _fields(spec: ClusterSpec) -> Iterator[Finding]:
    for document in spec.documents.values():
        for path, effect in _UNREAD.get(document.kind, ()):
            if _says_more(document, path):
                yield _not_in_force(document, path, ".".join(path), effect)
        for path, read, effect in _UNREAD_WORDS.get(document.kind, ()):
            word = _value(document, path)
            if word not in read:
                yield _not_in_force(document, path, f"{'.'.join(path)}: {word}", effect)


def _not_in_force(document: Document, path: FieldPath, what: str, effect: str) -> Finding:
    return Finding(
        document=document,
        path=path,
        code="not-in-force-yet",
        message=f"{what} is not in force in this release: {effect}",
        at_key=True,
    )


def _value(document: Document, path: FieldPath) -> Any:  # noqa: ANN401  any field's
    value: Any = document.spec
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _says_more(document: Document, path: FieldPath) -> bool:
    """Is the field written down with anything in it, and not just its default?"""
    return bool(_value(document, path)) and path in document.places
