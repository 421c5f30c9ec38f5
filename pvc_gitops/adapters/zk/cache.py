"""Records of watched paths, kept until something changes there.

A callback of kazoo only marks the path as stale and wakes the process; the next read lists it again
whole and watches it anew. So a tick over a hundred guests at rest asks the server nothing. ZooKeeper
tells a client of a change before it shows the changed record, except that kazoo hands the news over in
a thread of its own: own writes and `sync` therefore mark stale themselves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import Stamped

RELIST_S: Final = 60.0  # a lost watch is noticed at the latest then (DESIGN section 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A path's own record and those one level below, as of `listed_at_s` (monotonic)."""

    own: Stamped | None
    below: Mapping[str, Stamped]
    listed_at_s: float


class Cache:
    """Which paths are watched, and what was read there. Safe to use from several threads."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._known: dict[str, Listing | None] = {}
        self._marks: dict[str, int] = {}  # how often a path was marked stale

    def add(self, prefix: str) -> None:
        with self._lock:
            if prefix not in self._known:
                self._known[prefix] = None
                self._marks[prefix] = 0

    def watched(self) -> tuple[str, ...]:
        return tuple(self._known)

    def mark(self, prefix: str) -> int:
        """A number to hand to `keep`: a listing begun before a change is not kept."""
        with self._lock:
            return self._marks[prefix]

    def keep(self, prefix: str, listing: Listing, mark: int) -> None:
        with self._lock:
            if self._marks[prefix] == mark:
                self._known[prefix] = listing

    def listing(self, prefix: str) -> Listing | None:
        """None where the path is not watched or what was read is stale."""
        with self._lock:
            known = self._known.get(prefix)
        if known is None or time.monotonic() - known.listed_at_s > RELIST_S:
            return None
        return known

    def changed(self, prefix: str) -> None:
        """Something changed there: forget what was read, and wake the process."""
        self._forget(prefix)
        self._wake()

    def wrote(self, path: str) -> None:
        """A record was written by ourselves: whoever wrote needs no waking."""
        for prefix in (path, path.rpartition("/")[0]):
            if prefix in self._known:
                self._forget(prefix)

    def synced(self) -> None:
        for prefix in self.watched():
            self._forget(prefix)

    def disturbed(self) -> None:
        """The connection changed its state: every watch may be gone."""
        self.synced()
        self._wake()

    def _forget(self, prefix: str) -> None:
        with self._lock:
            self._known[prefix] = None
            self._marks[prefix] += 1
