"""Values kept between runs of a command, each in one file of the user's cache directory.

What is kept may be gone, torn, of another program or somebody else's at any time: then it is as if
nothing had been kept. Nothing fails because of it. Files are `marshal`'s, which is several times faster
than JSON and builds nothing but plain values; since it trusts its input, a file is read only if it
belongs to this user alone and its digest is right.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from threading import get_ident
from typing import Any, Final

# Of one file, which is about that of the documents it stands for; larger ones are not worth keeping.
FILE_BYTES_MAX: Final = 128 * 1024 * 1024
# One file a repository: as many as somebody works on, the ones not written for the longest time go.
FILES_MAX: Final = 32
TOTAL_BYTES_MAX: Final = 512 * 1024 * 1024
_MAGIC: Final = b"pvc-cache/1\n"
_DIGEST_BYTES: Final = 32


def folder() -> Path | None:
    """Where values are kept (XDG base directories); None where the user has no place."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the standard wants relative ones ignored
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            return None
    return base / "pvc-gitops" / "documents"


def fingerprint(files: Iterable[Path]) -> bytes:
    """The digest of what values are made by: this Python and these files.

    Raises:
        OSError: one of them cannot be read.
    """
    digest = hashlib.sha256(sys.version.encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.digest()


def read(name: str, made_by: bytes) -> Any | None:  # noqa: ANN401  what `write` was given
    """The value that was last kept under this name by what has this fingerprint, or None."""
    place = folder()
    if place is None:
        return None
    data = _own_bytes(place / _file_name(name))
    head = len(_MAGIC) + len(made_by)
    if data is None or data[:head] != _MAGIC + made_by:
        return None
    body = memoryview(data)[head + _DIGEST_BYTES :]
    if hashlib.sha256(body).digest() != data[head : head + _DIGEST_BYTES]:
        return None
    try:
        return marshal.loads(body)  # noqa: S302  our own file, as it was written: see above
    except (EOFError, ValueError, TypeError):
        return None


def write(name: str, made_by: bytes, value: Any) -> None:  # noqa: ANN401  plain, as `marshal` takes it
    """Keep a value, as far as that is possible."""
    place = folder()
    if place is None:
        return
    body = marshal.dumps(value)
    if len(body) > FILE_BYTES_MAX:
        return
    data = _MAGIC + made_by + hashlib.sha256(body).digest() + body
    # A cache that cannot be written (a full or read-only disk, no permission) is only slow.
    with contextlib.suppress(OSError):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(place / _file_name(name), data)
        _evict(place)


def _file_name(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _own_bytes(file: Path) -> bytes | None:
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        facts = os.fstat(handle)
        is_own = facts.st_uid == os.geteuid() and not facts.st_mode & 0o077
        if not stat.S_ISREG(facts.st_mode) or not is_own or facts.st_size > FILE_BYTES_MAX * 2:
            return None
        return os.read(handle, facts.st_size)
    except OSError:
        return None
    finally:
        os.close(handle)


def _replace(file: Path, data: bytes) -> None:
    """All of it or nothing, whoever else writes at the same time."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.{get_ident()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(temporary, flags, 0o600)
    try:
        with open(handle, "wb") as stream:  # noqa: PTH123  a descriptor
            stream.write(data)
        temporary.replace(file)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _evict(place: Path) -> None:
    """Newest first, keep what the bounds allow. What a killed writer left over ages like the rest."""
    with os.scandir(place) as rows:
        found = [(row.stat(follow_symlinks=False), row.path) for row in rows]
    total = 0
    for count, (facts, path) in enumerate(sorted(found, key=lambda e: -e[0].st_mtime_ns)):
        total += facts.st_size
        if count >= FILES_MAX or total > TOTAL_BYTES_MAX:
            Path(path).unlink(missing_ok=True)
