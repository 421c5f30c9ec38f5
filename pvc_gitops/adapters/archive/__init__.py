"""world.ports.Archive: the ledger's entries as lines of JSON, in files of ten thousand numbers each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pvc_gitops.errors import WorldError
from pvc_gitops.world.ports import Json

FILE_ENTRIES: Final = 10_000  # about 5 MB a file


class FileArchive:
    """One folder. The file of a number is named by the first number that it may hold."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: int | None = None

    def last(self) -> int:
        if self._last is None:
            self._last = self._look()
        return self._last

    def append(self, entries: Sequence[Json]) -> None:
        last = self.last()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for entry in entries:
                if entry["number"] <= last:
                    continue
                path = self._path(entry["number"])
                with path.open("ab") as stream:
                    stream.write(_line(entry))
                    stream.flush()
                    os.fsync(stream.fileno())
                last = self._last = entry["number"]
        except OSError as err:
            self._last = None  # what a full disk took of the last line is looked at again
            raise WorldError("archive", str(self._folder), str(err), retryable=True) from err

    def read(self, first: int, last: int) -> Sequence[Json]:
        found: list[Json] = []
        start = first - first % FILE_ENTRIES
        for number in range(start, last + 1, FILE_ENTRIES):
            path = self._path(number)
            if path.exists():
                found += [e for e in self._entries(path) if first <= e["number"] <= last]
        return found

    def _look(self) -> int:
        """The last whole entry; a line that was cut short is cut off, so that the next one is whole."""
        files = sorted(self._folder.glob("*.jsonl"))
        while files:
            path = files.pop()
            whole = 0
            number = 0
            for line, entry in self._lines(path):
                whole += len(line)
                number = entry["number"]
            try:
                if whole < path.stat().st_size:
                    os.truncate(path, whole)
            except OSError as err:
                raise WorldError("archive", str(path), str(err), retryable=True) from err
            if number:
                return number
        return 0

    def _entries(self, path: Path) -> Iterator[Json]:
        for _, entry in self._lines(path):
            yield entry

    def _lines(self, path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
        try:
            with path.open("rb") as stream:
                for line in stream:
                    entry = _entry(line)
                    if entry is None:
                        return
                    yield line, entry
        except OSError as err:
            raise WorldError("read", str(path), str(err), retryable=False) from err

    def _path(self, number: int) -> Path:
        return self._folder / f"{number - number % FILE_ENTRIES:010d}.jsonl"


def _line(entry: Json) -> bytes:
    return json.dumps(entry, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _entry(line: bytes) -> dict[str, Any] | None:
    """None of a line that is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("number"), int) else None
