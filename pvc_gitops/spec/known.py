"""What earlier loads made of documents, so that a file which did not change is not read again.

A file's value depends on its path and its bytes alone. Rows hold plain values, to be written down by
whoever has a place for them; this room knows none. What was refused is not remembered: its words are
worth more than the time.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Callable, Mapping
from typing import Final

from pvc_gitops.model.document import Kind, Spec, Value

# SHA-256 of the bytes; name, spec, tags and description as in `Document`; SHA-256 of the spec's
# canonical JSON, in hex; the addresses that it refers to. Made of what `marshal` can write.
Row = tuple[bytes, str, Spec, tuple[str, ...], str, str, tuple[str, ...]]

# Of equal specs the very same objects: a spec, its digest, the addresses that it refers to.
Shared = tuple[Spec, str, tuple[str, ...]]

# Writing all rows down costs as much as reading one in twenty of their documents anew.
_FRESH_SHARE: Final = 20


class Known:
    """Rows by path: those of an earlier load, replaced by those of this one as it goes."""

    def __init__(self, rows: Mapping[str, Row] | None = None) -> None:
        self._before: Mapping[str, Row] = {} if rows is None else rows
        self._rows: dict[str, Row] = {}
        self._fresh = 0
        self._shared: dict[tuple[Kind, bytes], Shared] = {}

    def find(self, path: str, data: bytes) -> Row | None:
        """The row of this very file, if an earlier load has left it."""
        row = self._before.get(path)
        if row is None or row[0] != hashlib.sha256(data).digest():
            return None
        self._rows[path] = row
        return row

    def note(self, path: str, row: Row) -> None:
        """A document was read from its bytes."""
        self._rows[path] = row
        self._fresh += 1

    def shared(
        self, kind: Kind, spec: dict[str, Value], make: Callable[[Kind, Spec], Shared]
    ) -> Shared:
        """What `make` says of a spec, asked once of all that are the same to the order of their keys.
        Guests are alike by the hundred, and what is one object is kept, written and judged once."""
        key = kind, marshal.dumps(spec, 0)  # a form that does not tell one object from its equal
        found = self._shared.get(key)
        if found is None:
            found = self._shared[key] = make(kind, spec)
        return found

    @property
    def rows(self) -> Mapping[str, Row]:
        """Of the documents of this load."""
        return self._rows

    @property
    def is_worth_keeping(self) -> bool:
        """Whether the next load would save more by these rows than writing them costs."""
        return self._fresh * _FRESH_SHARE > len(self._rows)
