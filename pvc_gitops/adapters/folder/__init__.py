"""A working tree's files, read as git would hand them over: no link is followed, all is bounded."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pvc_gitops.errors import SpecError, UsageError
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.tree import ENTRIES_MAX, Entry, EntryType, admit, is_read

TESTS: Final = "tests"


def read_working_tree(folder: Path) -> Mapping[str, bytes]:
    """Everything that is read of a repository (DESIGN section 4), path to bytes.

    Raises:
        SpecError: something lies there that must not.
        UsageError: there is no such folder, or it cannot be read.
    """
    files, problems = scan_working_tree(folder)
    if problems:
        raise SpecError(problems)
    return files


def scan_working_tree(folder: Path) -> tuple[Mapping[str, bytes], tuple[Problem, ...]]:
    """As `read_working_tree`, with the refusals as values: what could be read is still told about."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", hint="--repo DIR names the repository")
    try:
        paths, problems = admit(_walk(folder))
        return {path: _read(f"{folder}/{path}") for path in paths}, problems
    except OSError as err:
        raise UsageError(f"cannot read {err.filename or folder}: {err.strerror}") from err


def read_tests(folder: Path) -> Mapping[str, bytes]:
    """The documents in the folder `tests`, which no cluster reads. Links are not followed."""
    if not (folder / TESTS).is_dir():
        return {}
    try:
        with os.scandir(folder / TESTS) as rows:
            names = sorted(row.name for row in rows if row.is_file(follow_symlinks=False))
        return {
            f"{TESTS}/{name}": _read(f"{folder}/{TESTS}/{name}")
            for name in names
            if name.endswith(".yaml")
        }
    except OSError as err:
        raise UsageError(f"cannot read {err.filename or folder}: {err.strerror}") from err


def _walk(folder: Path) -> Iterator[Entry]:
    """Entries in no particular order. Stops a little beyond ENTRIES_MAX, which `admit` refuses."""
    waiting = [""]
    count = 0
    while waiting:
        prefix = waiting.pop()
        with os.scandir(folder / prefix) as rows:
            for row in rows:
                path = f"{prefix}{row.name}"
                if not path.isascii():
                    path = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                if not is_read(path):
                    continue
                count += 1
                entry_type = _type(row)
                if entry_type is None:
                    waiting.append(f"{prefix}{row.name}/")
                else:
                    size = row.stat(follow_symlinks=False).st_size
                    yield Entry(path=path, type=entry_type, size_bytes=size)
                if count > ENTRIES_MAX:
                    return


def _type(row: os.DirEntry[str]) -> EntryType | None:
    """None for a folder to go into."""
    if row.is_symlink():
        return EntryType.SYMLINK
    if row.is_dir():
        # Another repository inside of this one: git would commit it as a submodule.
        return EntryType.SUBMODULE if os.path.lexists(Path(row.path) / ".git") else None
    return EntryType.FILE if row.is_file() else EntryType.OTHER


def _read(path: str) -> bytes:
    # A link put there since the walk is refused by the kernel; a pipe does not hang the open.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        facts = os.fstat(handle)
        data = os.read(handle, facts.st_size + 1) if stat.S_ISREG(facts.st_mode) else None
    finally:
        os.close(handle)
    if data is None or len(data) != facts.st_size:
        raise UsageError(f"{path} changed while it was read", hint="run it again")
    return data
