"""Work that may take long, on threads of its own: `ThreadJobs` implements world.ports.Jobs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from pvc_gitops.model.values import replace
from pvc_gitops.world.ports import JobState

# An image import, a fetch, a storage look and guests' starts at once; more would only share one disk.
WORKERS_MAX: Final = 8

Progress = Callable[[float], None]
_RUNNING: Final = JobState(is_done=False, value=None, error=None, progress=None)


class ThreadJobs:
    """At most WORKERS_MAX at once, the rest in order. `wake` is called when one ends.

    Threads are daemons: what hangs in a C library does not keep the process from ending.
    """

    def __init__(self, wake: Callable[[], None], workers_max: int = WORKERS_MAX) -> None:
        self._wake = wake
        self._workers_max = workers_max
        self._lock = threading.Lock()
        self._states: dict[str, JobState] = {}
        self._waiting: deque[tuple[str, Callable[[Progress], Any]]] = deque()
        self._workers = 0

    def start(self, key: str, work: Callable[[Progress], Any]) -> None:
        with self._lock:
            if key in self._states:
                return
            self._states[key] = _RUNNING
            self._waiting.append((key, work))
            if self._workers == self._workers_max:
                return
            self._workers += 1
        threading.Thread(target=self._run, name="job", daemon=True).start()

    def state(self, key: str) -> JobState | None:
        with self._lock:
            return self._states.get(key)

    def forget(self, key: str) -> None:
        with self._lock:
            known = self._states.get(key)
            if known is not None and known.is_done:
                del self._states[key]

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._workers -= 1
                    return
                key, work = self._waiting.popleft()
            self._end(key, *self._do(key, work))
            self._wake()

    def _do(self, key: str, work: Callable[[Progress], Any]) -> tuple[Any, Exception | None]:
        try:
            return work(lambda ratio: self._progress(key, ratio)), None
        except Exception as err:  # noqa: BLE001  handed to the controller, which judges its kind
            return None, err

    def _progress(self, key: str, ratio: float) -> None:
        with self._lock:
            known = self._states.get(key)
            if known is not None and not known.is_done:
                self._states[key] = replace(known, progress=ratio)

    def _end(self, key: str, value: Any, error: Exception | None) -> None:  # noqa: ANN401
        with self._lock:
            self._states[key] = replace(self._states[key], is_done=True, value=value, error=error)
