"""One document's bytes to its checked, canonical value."""

from __future__ import annotations

from typing import Any

from pvc_gitops.model.document import FieldPath, Kind, Spec, Value
from pvc_gitops.model.ids import address
from pvc_gitops.spec.canonical import complete
from pvc_gitops.spec.check import Invalid, check_of
from pvc_gitops.spec.documents import Refused, parse
from pvc_gitops.spec.fields import references
from pvc_gitops.spec.scalars import Resolver


def read_document(kind: Kind, data: bytes, resolver: Resolver) -> dict[str, Any] | None:
    """The document with its defaults and its spec as `Document.spec` holds it; None if it is refused
    (`explain` says why)."""
    try:
        value: dict[str, Any] = check_of(kind)(parse(data, resolver))
        return {**value, "spec": complete(kind, value["spec"])}
    except (Refused, Invalid):
        return None


def referred_by(kind: Kind, spec: Spec) -> tuple[str, ...]:
    """The addresses of all that a spec names, whether they exist or not, sorted."""
    found: set[str] = set()
    for pattern, of in references(kind):
        names: list[str] = []
        _collect(spec, pattern, names)
        found.update(address(of, name) for name in names)
    return tuple(sorted(found))


def _collect(value: Value, pattern: FieldPath, names: list[str]) -> None:
    for index, head in enumerate(pattern):
        if head == "*":
            for item in value.values() if isinstance(value, dict) else value:
                _collect(item, pattern[index + 1 :], names)
            return
        value = value.get(head)
        if value is None:
            return
    names.append(value)
