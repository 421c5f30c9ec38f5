"""Places of fields, found when somebody asks: most of a good repository is never pointed at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pvc_gitops.model.document import NAMED_LISTS, FieldPath, Kind
from pvc_gitops.spec.scalars import Resolver

if TYPE_CHECKING:  # the parser is imported when a place is looked up
    from pvc_gitops.spec.documents import RawPath, Spot, Spots


class LazyPlaces(Mapping[FieldPath, tuple[int, int]]):
    """`Document.places` of one file, parsed once more at the first question but the trivial one."""

    __slots__ = ("_data", "_kind", "_known")

    def __init__(self, kind: Kind, data: bytes) -> None:
        self._kind = kind
        self._data = data
        self._known: dict[FieldPath, tuple[int, int]] | None = None

    def _places(self) -> dict[FieldPath, tuple[int, int]]:
        if self._known is None:
            from pvc_gitops.spec.documents import Spots, parse

            spots = Spots()
            value = parse(self._data, Resolver(), spots)
            self._known = {
                field: (spot.key_line, spot.key_column)
                if spot.text is None
                else (spot.line, spot.column)
                for field, spot in field_spots(self._kind, value, spots).items()
            }
        return self._known

    def __getitem__(self, path: FieldPath) -> tuple[int, int]:
        if not path and self._known is None:
            # A plan names the place of every new object as a whole: not worth a parse of each.
            at = self._data.find(b"\nspec:")
            if at >= 0:
                return self._data.count(b"\n", 0, at + 1) + 1, 1
        return self._places()[path]

    def __iter__(self) -> Iterator[FieldPath]:
        return iter(self._places())

    def __len__(self) -> int:
        return len(self._places())


def field_spots(kind: Kind, value: object, spots: Spots) -> dict[FieldPath, Spot]:
    """Spots by field path: below `spec`, items of named lists by their names."""
    result: dict[FieldPath, Spot] = {}
    for raw, spot in spots.at.items():
        if raw[:1] == ("spec",):
            path = _field_path(kind, value, raw)
            result.setdefault(path, spot)
    return result


def _field_path(kind: Kind, value: object, raw: RawPath) -> FieldPath:
    parts = [str(part) for part in raw[1:]]
    if len(raw) > 2 and raw[1] in NAMED_LISTS.get(kind, ()):  # noqa: PLR2004  spec, list, index
        item = value
        for part in raw[:3]:
            item = item[part]  # type: ignore[index]  # the parser recorded this very path
        if isinstance(item, dict):
            parts[1] = str(item.get("name") or item.get("network") or parts[1])
    return tuple(parts)
