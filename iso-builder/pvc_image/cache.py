"""Layers by digest. A layer is there whole or not at all: it is built as NAME.new and renamed at
the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

from pvc_image.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Progress:
    """One line a stage with the time it took; standard error, so that standard output stays for
    results.
    """

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    def say(self, text: str) -> None:
        """One line, with the seconds since the start."""
        print(f"[{time.monotonic() - self._began_s:6.1f} s] {text}", file=sys.stderr, flush=True)


def ensure(target: Path, build: Callable[[Path], None], name: str, progress: Progress) -> Path:
    """The layer at `target`, built now if it is not there.

    Args:
        target: where the finished layer lies; its name holds the digest of what it is made from.
        build: makes the layer in the (empty, existing) folder that it is given.
        name: what the progress lines call it.
        progress: where they go.

    Two processes that want the same layer build it once: the second waits and finds it.
    """
    if target.is_dir():
        progress.say(f"{name}: cached")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.with_name(target.name + ".lock")):
        if target.is_dir():
            return target
        new = target.with_name(target.name + ".new")
        if new.exists():
            progress.say(f"{name}: removing what an interrupted build left")
            shutil.rmtree(new)
        new.mkdir()
        began_s = time.monotonic()
        progress.say(f"{name}: building")
        try:
            build(new)
        except ImageError:
            shutil.rmtree(new)  # its digest may never come again, and nobody would remove it
            raise
        os.sync()  # a power cut after the rename must not leave a whole name on half a layer
        new.rename(target)
        progress.say(f"{name}: built in {time.monotonic() - began_s:.1f} s")
    return target


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; released by the kernel when the process dies."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
