"""One connection to the Ceph cluster as one client, bounded and renewed.

librados answers when it pleases: with no monitor in reach a call waits for ever. So its own time-outs
are set on the handle, and every call has a limit of ours besides. A handle whose address was put on
the blocklist, or whose rights were widened after it was opened, is of no use for the rest of its
life: it is dropped, and the next call opens another.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

import rados
import rbd

from pvc_gitops.adapters.bounded import Bounded, TimeLimitError
from pvc_gitops.errors import PoolError

T = TypeVar("T")
# rados and rbd have no types; these names say what is meant.
Handle = Any
Ioctx = Any
Image = Any

# Monitors answer 5 to 8 s after a power cut of one of them (measured); twice that is "not now".
OP_TIMEOUT_S: Final = 15
# An act of several operations (clone, grow, rename) takes a tenth of a second at rest. The limit is what
# the agent's watchdog allows a tick; long acts are done by jobs, and name their own.
CALL_LIMIT_S: Final = 25.0
_SETTINGS: Final = {
    "client_mount_timeout": str(OP_TIMEOUT_S),
    "rados_mon_op_timeout": str(OP_TIMEOUT_S),
    "rados_osd_op_timeout": str(OP_TIMEOUT_S),
    # Its own words for errors that we handle; those that matter reach us as exceptions.
    "log_to_stderr": "false",
    "err_to_stderr": "false",
}
# The handle is useless, not the cluster: blocklisted, closed, or holding an old ticket.
_STALE: Final = (rbd.ConnectionShutdown, rbd.PermissionError, rados.PermissionDeniedError)
# Answers that stay the same until somebody changes something: EPERM, ENOENT, EACCES, EEXIST, EINVAL,
# EROFS, ERANGE, ENOTEMPTY, EOPNOTSUPP. The rest (EBUSY, ETIMEDOUT, ESHUTDOWN, EIO, …) may pass by itself.
_LASTING: Final = frozenset({1, 2, 13, 17, 22, 30, 34, 39, 95})


class Cluster:
    """A client of the Ceph cluster. Safe to use from several threads.

    `client` is the whole name, `client.admin`; its keyring is found by the configuration file's rules.
    """

    def __init__(self, *, client: str, conf: str) -> None:
        self._client = client
        self._conf = conf
        self._handle: Handle = None
        self._lock = threading.Lock()
        self._bounded = Bounded("ceph")

    def command(self, operation: str, target: str, prefix: str, **arguments: object) -> Any:  # noqa: ANN401  JSON
        """A monitor command's JSON answer; None where it has none."""
        question = json.dumps({"prefix": prefix, "format": "json", **arguments})

        def work(handle: Handle) -> object:
            code, answer, words = handle.mon_command(question, b"", timeout=OP_TIMEOUT_S)
            if code:
                raise rados.Error(words or "refused", errno=-code)
            return first_json(answer.decode())

        return self.run(operation, target, work)

    def in_pool(
        self,
        operation: str,
        pool: str,
        target: str,
        work: Callable[[Any], T],
        limit_s: float = CALL_LIMIT_S,
    ) -> T:
        """`work(ioctx)` on a pool."""

        def on(handle: Handle) -> T:
            with handle.open_ioctx(pool) as ioctx:
                return work(ioctx)

        return self.run(operation, f"{pool}/{target}" if target else pool, on, limit_s)

    def run(
        self,
        operation: str,
        target: str,
        work: Callable[[Any], T],
        limit_s: float = CALL_LIMIT_S,
    ) -> T:
        """`work(handle)`, once more on a fresh handle if the old one was stale."""
        try:
            try:
                return self._bounded.call(lambda: work(self._connected()), limit_s)
            except _STALE:
                self._drop()
                return self._bounded.call(lambda: work(self._connected()), limit_s)
        except TimeLimitError as err:
            self._drop()
            raise PoolError(operation, target, str(err), retryable=True) from err
        except (rados.Error, rbd.Error) as err:
            is_lasting = getattr(err, "errno", None) in _LASTING
            raise PoolError(operation, target, _words(err), retryable=not is_lasting) from err

    def _connected(self) -> Handle:
        with self._lock:
            known = self._handle
        if known is not None:
            return known
        fresh = rados.Rados(name=self._client, conffile=self._conf, conf=_SETTINGS)
        fresh.connect(timeout=OP_TIMEOUT_S)
        with self._lock:
            self._handle = fresh
        return fresh

    def _drop(self) -> None:
        # Not shut down: that waits for what is under way, for ever on a dead cluster. The last
        # reference closes it.
        with self._lock:
            self._handle = None


def first_json(text: str) -> Any:  # noqa: ANN401  JSON
    """The first value of an answer: `osd blocklist ls` gives two in a row (the second lists ranges)."""
    return json.JSONDecoder().raw_decode(text.strip())[0] if text.strip() else None


def _words(err: Exception) -> str:
    return re.sub(r"^\[errno \d+\] ", "", str(err)) or type(err).__name__
