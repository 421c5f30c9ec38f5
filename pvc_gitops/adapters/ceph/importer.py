"""An image from a URL into a pool: download, verify, convert, write, snapshot, rename.

Nothing is written to the pool before the checksum is right, and nothing bears the final name before
it is whole. What an interrupted run left, on this node's disk or in the pool, the next run removes.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import rbd

from pvc_gitops.adapters.ceph.cluster import Cluster, Ioctx
from pvc_gitops.adapters.ceph.temporary import IMPORT
from pvc_gitops.adapters.download import convert
from pvc_gitops.adapters.download.fetch import fetch
from pvc_gitops.errors import DownloadError, PoolError
from pvc_gitops.model.units import MIB

FOLDER: Final = Path("/var/lib/pvc/import")
SNAPSHOT: Final = "base"  # what clones are made of
# A process that was killed stays a watcher of its image for 26 to 28 s (measured).
LEFTOVER_WAIT_S: Final = 45.0
LEFTOVER_POLL_S: Final = 1.0
WRITE_LIMIT_S: Final = 4 * 3600.0  # 100 GiB at 7 MiB/s; single writes have the handle's own limit
REMOVE_LIMIT_S: Final = 3600.0  # object by object: 100 GiB are 25,000 of them
_CHUNK_BYTES: Final = 4 * MIB  # one RBD object
# Shares of the work in the progress that is shown. Converting says nothing of its own.
_DOWNLOADED: Final = 0.5
_CONVERTED: Final = 0.6


class Importer:
    """Imports into one cluster. One image is imported by one caller at a time (its step's claim); a node
    has one process that imports."""

    def __init__(self, cluster: Cluster, *, features: int, folder: Path = FOLDER) -> None:
        self._cluster = cluster
        self._features = features
        self._folder = folder
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def run(
        self,
        url: str,
        *,
        checksum: str,
        image_format: str,
        pool: str,
        image: str,
        progress: Callable[[float], None],
    ) -> None:
        """Raises DownloadError, PoolError. No-op where the image stands whole."""
        if image_format not in convert.FORMATS:
            raise DownloadError(
                "import", url, f"format {image_format!r} is not known", retryable=False
            )
        if self._cluster.in_pool("ask", pool, image, lambda io: image in rbd.RBD().list(io)):
            return
        with self._work_folder(f"{pool}.{image}") as folder:
            got, raw = folder / "download", folder / "raw"
            fetch(url, got, checksum=checksum, progress=lambda part: progress(part * _DOWNLOADED))
            if image_format == convert.RAW:
                raw = got
            else:
                convert.to_raw(got, image_format, raw)
                got.unlink()
            progress(_CONVERTED)
            self._remove_leftover(pool, image + IMPORT)

            self._cluster.in_pool(
                "import",
                pool,
                image,
                lambda io: self._write(io, raw, image, progress),
                WRITE_LIMIT_S,
            )
        progress(1.0)

    @contextlib.contextmanager
    def _work_folder(self, name: str) -> Iterator[Path]:
        """An empty folder of this image's own, gone afterwards. What killed runs of any image left goes
        too: nobody else would ever remove it."""
        folder = self._folder / name
        try:
            with self._lock:
                for left in self._folder.glob("*"):
                    if left.name not in self._busy:
                        shutil.rmtree(left)
                folder.mkdir(parents=True)
                self._busy.add(name)
        except OSError as err:
            raise DownloadError("import", name, f"{folder}: {err}", retryable=True) from err
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with self._lock:
                self._busy.discard(name)

    def _remove_leftover(self, pool: str, name: str) -> None:
        until = time.monotonic() + LEFTOVER_WAIT_S
        while True:
            try:
                self._cluster.in_pool(
                    "clear", pool, name, lambda io: _clear(io, name), REMOVE_LIMIT_S
                )
            except PoolError as err:
                if not err.retryable or time.monotonic() > until:
                    raise
                time.sleep(LEFTOVER_POLL_S)
            else:
                return

    def _write(
        self, ioctx: Ioctx, raw: Path, image: str, progress: Callable[[float], None]
    ) -> None:
        part, size_bytes = image + IMPORT, raw.stat().st_size
        size = -(-size_bytes // MIB) * MIB  # clones are sized in whole MiB
        rbd.RBD().create(ioctx, part, size, old_format=False, features=self._features)
        with rbd.Image(ioctx, part) as opened, raw.open("rb") as source:
            offset = 0
            while chunk := source.read(_CHUNK_BYTES):
                if chunk.count(0) != len(chunk):  # what was never written reads as zeros
                    opened.write(chunk, offset)
                offset += len(chunk)
                progress(_CONVERTED + (1 - _CONVERTED) * offset / size_bytes)
            opened.flush()
            opened.create_snap(SNAPSHOT)
            opened.protect_snap(SNAPSHOT)
        rbd.RBD().rename(ioctx, part, image)


def remove_with_snapshots(ioctx: Ioctx, name: str) -> None:
    """An image with its snapshots. Refused while clones need it, in the trash or out of it."""
    with rbd.Image(ioctx, name) as opened:
        clones = [f"{each['pool']}/{each['image']}" for each in opened.list_descendants()]
        if clones:
            raise rbd.ImageHasSnapshots(
                f"{name} is needed by {', '.join(sorted(clones))}", errno=39
            )
        for snap in list(opened.list_snaps()):
            if opened.is_protected_snap(snap["name"]):
                opened.unprotect_snap(snap["name"])
            opened.remove_snap(snap["name"])
    rbd.RBD().remove(ioctx, name)


def _clear(ioctx: Ioctx, name: str) -> None:
    if name in rbd.RBD().list(ioctx):
        remove_with_snapshots(ioctx, name)
