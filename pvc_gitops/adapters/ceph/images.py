"""The Images port: RBD images, clones and trash. Opened read-only wherever nothing is written, so that
looking never shows up among an image's watchers.

An image that is still being made bears a temporary name, which no listing shows; its final name comes
by one rename, at the end.
"""

from __future__ import annotations

import calendar
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import rbd

from pvc_gitops.adapters.ceph.cluster import Cluster, Handle, Image, Ioctx
from pvc_gitops.adapters.ceph.importer import REMOVE_LIMIT_S, Importer, remove_with_snapshots
from pvc_gitops.adapters.ceph.temporary import CLONE, is_temporary
from pvc_gitops.errors import PoolError
from pvc_gitops.model.inventory import ImageFacts, TrashFacts
from pvc_gitops.model.units import MIB

# layering, exclusive-lock, object-map, fast-diff, deep-flatten
FEATURES: Final = 61
# Listing opens every image: about 3 ms each. A pool of 1,000 must not run into the limit of one act.
LIST_LIMIT_S: Final = 120.0


class RbdImages:
    """Implements `world.ports.Images`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._importer = Importer(cluster, features=FEATURES)

    def images(self, pool: str) -> Mapping[str, ImageFacts]:
        def work(ioctx: Ioctx) -> Mapping[str, ImageFacts]:
            found = {}
            for name in sorted(rbd.RBD().list(ioctx)):
                facts = None if is_temporary(name) else _facts(ioctx, name)
                if facts is not None:
                    found[name] = facts
            return found

        return self._cluster.in_pool("list", pool, "", work, LIST_LIMIT_S)

    def trash(self, pool: str) -> tuple[TrashFacts, ...]:
        def work(ioctx: Ioctx) -> tuple[TrashFacts, ...]:
            entries = [_trashed(entry) for entry in rbd.RBD().trash_list(ioctx)]
            return tuple(sorted(entries, key=lambda entry: (entry.name, entry.id)))

        return self._cluster.in_pool("list the trash of", pool, "", work)

    def watchers(self, pool: str, image: str) -> tuple[str, ...]:
        return self._cluster.in_pool("ask", pool, image, lambda io: _watchers(io, image))

    def create(self, pool: str, image: str, size_mib: int) -> None:
        def work(ioctx: Ioctx) -> None:
            rbd.RBD().create(ioctx, image, size_mib * MIB, old_format=False, features=FEATURES)

        self._cluster.in_pool("create", pool, image, work)

    def clone(self, parent: tuple[str, str, str], pool: str, image: str, size_mib: int) -> None:
        def run(handle: Handle) -> None:
            with handle.open_ioctx(parent[0]) as source, handle.open_ioctx(pool) as target:
                _clone(source, parent, target, image, size_mib)

        self._cluster.run("clone", f"{pool}/{image}", run)

    def grow(self, pool: str, image: str, size_mib: int) -> None:
        def work(ioctx: Ioctx) -> None:
            with rbd.Image(ioctx, image) as opened:
                _grow(opened, image, size_mib)

        self._cluster.in_pool("grow", pool, image, work)

    def import_url(
        self,
        url: str,
        *,
        checksum: str,
        image_format: str,
        pool: str,
        image: str,
        progress: Callable[[float], None],
    ) -> None:
        self._importer.run(
            url,
            checksum=checksum,
            image_format=image_format,
            pool=pool,
            image=image,
            progress=progress,
        )

    def trash_move(self, pool: str, image: str, keep_s: int) -> None:
        def work(ioctx: Ioctx) -> None:
            # The trash takes a running guest's disk without a murmur (tried): ask who has it open.
            watchers = _watchers(ioctx, image)
            if watchers:
                raise PoolError(
                    "trash",
                    f"{pool}/{image}",
                    f"it is open at {', '.join(watchers)}; stop its guest first",
                    retryable=True,
                )
            rbd.RBD().trash_move(ioctx, image, keep_s)

        self._cluster.in_pool("trash", pool, image, work)

    def trash_restore(self, pool: str, trash_id: str, image: str) -> None:
        def work(ioctx: Ioctx) -> None:
            rbd.RBD().trash_restore(ioctx, trash_id, image)

        self._cluster.in_pool("restore", pool, image, work)

    def trash_purge(self, pool: str, trash_id: str) -> None:
        def work(ioctx: Ioctx) -> None:
            # Not forced: Ceph itself refuses before the time that the image was promised (D6).
            with contextlib.suppress(rbd.ImageNotFound):
                _drop_snapshots(ioctx, trash_id)
                rbd.RBD().trash_remove(ioctx, trash_id, force=False)

        self._cluster.in_pool("purge", pool, trash_id, work, REMOVE_LIMIT_S)

    def delete_image(self, pool: str, image: str) -> None:
        self._cluster.in_pool(
            "delete", pool, image, lambda io: remove_with_snapshots(io, image), REMOVE_LIMIT_S
        )


def _drop_snapshots(ioctx: Ioctx, trash_id: str) -> None:
    """Of an image in the trash, which is opened by its id; after its time only."""
    due = [e for e in rbd.RBD().trash_list(ioctx) if e["id"] == trash_id]
    if not due or _trashed(due[0]).until_s > time.time():
        return  # the removal itself says why
    with rbd.Image(ioctx, image_id=trash_id) as opened:
        for snap in opened.list_snaps():
            if opened.is_protected_snap(snap["name"]):
                opened.unprotect_snap(snap["name"])
            opened.remove_snap(snap["name"])


def _facts(ioctx: Ioctx, name: str) -> ImageFacts | None:
    """None for an image that went away between two questions."""
    try:
        with rbd.Image(ioctx, name, read_only=True) as opened:
            return ImageFacts(
                size_mib=-(-opened.size() // MIB),
                parent=_parent(opened),
                snapshots=tuple(sorted(snap["name"] for snap in opened.list_snaps())),
            )
    except rbd.ImageNotFound:
        return None


def _parent(opened: Image) -> str | None:
    try:
        pool, image, snapshot = opened.parent_info()
    except rbd.ImageNotFound:
        return None
    return f"{pool}/{image}@{snapshot}"


def _trashed(entry: Mapping[str, Any]) -> TrashFacts:
    # The binding gives a time without a zone that is UTC.
    until_s = calendar.timegm(entry["deferment_end_time"].timetuple())
    return TrashFacts(id=entry["id"], name=entry["name"], until_s=until_s)


def _watchers(ioctx: Ioctx, image: str) -> tuple[str, ...]:
    with rbd.Image(ioctx, image, read_only=True) as opened:
        return tuple(sorted(watcher["addr"] for watcher in opened.watchers_list()))


def _clone(
    source: Ioctx,
    parent: tuple[str, str, str],
    target: Ioctx,
    image: str,
    size_mib: int,
) -> None:
    """Clone, grow, rename: what bears the final name has the whole size."""
    _, parent_image, snapshot = parent
    part = image + CLONE
    if image in rbd.RBD().list(target):
        raise rbd.ImageExists(f"{image} is there already", errno=17)
    with rbd.Image(source, parent_image, snapshot, read_only=True) as opened:
        _refuse_shrink(image, opened.size(), size_mib)
    with contextlib.suppress(rbd.ImageNotFound):  # left by an interrupted call
        rbd.RBD().remove(target, part)
    rbd.RBD().clone(source, parent_image, snapshot, target, part, features=FEATURES)
    with rbd.Image(target, part) as opened:
        _grow(opened, image, size_mib)
    rbd.RBD().rename(target, part, image)


def _grow(opened: Image, name: str, size_mib: int) -> None:
    size_bytes = opened.size()
    _refuse_shrink(name, size_bytes, size_mib)
    if size_mib * MIB > size_bytes:
        opened.resize(size_mib * MIB)


def _refuse_shrink(name: str, size_bytes: int, size_mib: int) -> None:
    if size_mib * MIB < size_bytes:
        raise rbd.InvalidArgument(
            f"{name} has {-(-size_bytes // MIB)} MiB; an image never shrinks to {size_mib}",
            errno=22,
        )
