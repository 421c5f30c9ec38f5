"""Owner, disposition and reference of every field, read from the schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from pvc_gitops.model.document import DOCUMENT_KINDS, NAMED_LISTS, FieldPath, Kind
from pvc_gitops.model.fields import Disposition, Field, Fields, Owner


def fields() -> Fields:
    """All fields of all kinds. Items of named lists are described once, under `*`; a list without
    names is one field."""
    return Fields(by_kind=_BY_KIND)


class _ByKind(Mapping[Kind, Mapping[FieldPath, Field]]):
    """Read when somebody asks: a plan compares few kinds, and a plan of new objects none."""

    def __getitem__(self, kind: Kind) -> Mapping[FieldPath, Field]:
        return _fields_of(kind)

    def __iter__(self) -> Iterator[Kind]:
        return iter(DOCUMENT_KINDS)

    def __len__(self) -> int:
        return len(DOCUMENT_KINDS)


_BY_KIND: Final = _ByKind()


@cache
def _fields_of(kind: Kind) -> Mapping[FieldPath, Field]:
    schema = _schema(kind)
    return MappingProxyType({field.path: field for field in _walk(kind, schema, ())})


def _schema(kind: Kind) -> dict[str, Any]:
    from pvc_gitops.spec.source import schema_of  # not needed by a load that knows all documents

    schema: dict[str, Any] = schema_of(kind)["properties"]["spec"]
    return schema


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
    return tuple(_references(_schema(kind), ()))


def _references(schema: dict[str, Any], path: FieldPath) -> Iterator[tuple[FieldPath, Kind]]:
    if "x-reference" in schema:
        yield path, Kind(schema["x-reference"])
    for key, sub in schema.get("properties", {}).items():
        yield from _references(sub, (*path, key))
    if "items" in schema:
        yield from _references(schema["items"], (*path, "*"))
