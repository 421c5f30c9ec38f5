"""One document's bytes to its checked, canonical value."""

from __future__ import annotations

from typing import Any

from pvc_gitops.model.document import Kind
from pvc_gitops.spec.canonical import complete
from pvc_gitops.spec.check import Invalid, check_of
from pvc_gitops.spec.documents import Refused, parse
from pvc_gitops.spec.scalars import Resolver


def read_document(kind: Kind, data: bytes, resolver: Resolver) -> dict[str, Any] | None:
    """The document with its defaults and its spec as `Document.spec` holds it; None if it is refused
    (`explain` says why)."""
    try:
        value: dict[str, Any] = check_of(kind)(parse(data, resolver))
        return {**value, "spec": complete(kind, value["spec"])}
    except (Refused, Invalid):
        return None
