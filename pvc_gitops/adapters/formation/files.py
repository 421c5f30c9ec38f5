"""Writing a file so that a power cut leaves the old one or the new one, never half of either."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write(path: str, text: str | bytes, *, mode: int = 0o644, owner: str | None = None) -> bool:
    """Make the file hold exactly this, durably. Returns whether its content changed.

    `owner` is USER:GROUP; whoever runs this otherwise.
    """
    data = text.encode() if isinstance(text, str) else text
    target = Path(path)
    if _holds(target, data):
        _dress(target, mode, owner)
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside it, or the rename would not be atomic. The name is fixed: interrupted writes leave one file.
    new = target.with_name(f".{target.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _dress(new, mode, owner)
    new.replace(target)
    sync_folder(target.parent)
    return True


def read(path: str) -> bytes | None:
    """The content; None if there is no such file."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None


def make_folder(path: str, *, mode: int = 0o755, owner: str | None = None) -> None:
    """A folder with its owner, whatever was there of it."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    _dress(folder, mode, owner)


def make_empty_folder(path: str, *, mode: int, owner: str) -> None:
    """The same, without what an interrupted attempt left in it."""
    shutil.rmtree(path, ignore_errors=True)
    make_folder(path, mode=mode, owner=owner)


def give_all(path: str, owner: str) -> None:
    """A folder and everything in it to an owner."""
    user, group = owner.split(":")
    for each in (Path(path), *Path(path).rglob("*")):
        shutil.chown(each, user, group)


def sync_folder(folder: Path) -> None:
    """Make a rename in it survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and not path.is_symlink() and path.read_bytes() == data


def _dress(path: Path, mode: int, owner: str | None) -> None:
    if owner is not None:
        user, group = owner.split(":")
        shutil.chown(path, user, group)
    path.chmod(mode)
