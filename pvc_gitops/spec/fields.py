"""Owner, disposition and reference of every field, read from the schemas."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import MappingProxyType
from typing import Any

from pvc_gitops.model.document import NAMED_LISTS, FieldPath, Kind
from pvc_gitops.model.fields import Disposition, Field, Fields, Owner
from pvc_gitops.spec.source import schemas


@cache
def fields() -> Fields:
    """All fields of all kinds. Items of named lists are described once, under `*`; a list without
    names is one field."""
    return Fields(
        by_kind=MappingProxyType(
            {
                kind: MappingProxyType(
                    {field.path: field for field in _walk(kind, schema["properties"]["spec"], ())}
                )
                for kind, schema in schemas().items()
            }
        )
    )


def _walk(kind: Kind, schema: dict[str, Any], path: FieldPath) -> Iterator[Field]:
    if path:
        yield Field(
            path=path,
            owner=Owner(schema["x-owner"]),
            disposition=Disposition(schema["x-disposition"]),
        )
    for key, sub in schema.get("properties", {}).items():
        yield from _walk(kind, sub, (*path, key))
    if len(path) == 1 and path[0] in NAMED_LISTS.get(kind, ()):
        yield from _walk(kind, schema["items"], (*path, "*"))


@cache
def references(kind: Kind) -> tuple[tuple[FieldPath, Kind], ...]:
    """Where names of other objects stand: paths with `*` for every item of a list or map."""
    return tuple(_references(schemas()[kind]["properties"]["spec"], ()))


def _references(schema: dict[str, Any], path: FieldPath) -> Iterator[tuple[FieldPath, Kind]]:
    if "x-reference" in schema:
        yield path, Kind(schema["x-reference"])
    for key, sub in schema.get("properties", {}).items():
        yield from _references(sub, (*path, key))
    if "items" in schema:
        yield from _references(schema["items"], (*path, "*"))
