"""Calls into C libraries that may never return, with a time limit of our own.

libvirt waits for a daemon, librados for a cluster: neither can be interrupted from Python. A call runs
in a thread of its own; at its limit it is left behind and the caller goes on. Threads left behind are
counted: with STUCK_MAX of them a further call fails at once, so a library that hangs for a day costs
a few threads and not the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

STUCK_MAX: Final = 4  # three ticks may each lose one before anybody looks; more only cost memory


class TimeLimitError(Exception):
    """The call was left behind, or not begun because too many were. Adapters translate it."""


class Bounded:
    """Runs calls of one library. Safe to use from several threads."""

    def __init__(self, library: str) -> None:
        self._library = library
        self._stuck: list[threading.Thread] = []
        self._lock = threading.Lock()

    def call(self, work: Callable[[], T], limit_s: float) -> T:
        """The value or the exception of `work`, or TimeLimitError when `limit_s` has passed."""
        with self._lock:
            self._stuck = [thread for thread in self._stuck if thread.is_alive()]
            if len(self._stuck) >= STUCK_MAX:
                raise TimeLimitError(f"{self._library} hangs: {STUCK_MAX} calls have not returned")
        values: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                values.append(work())
            except BaseException as err:  # noqa: BLE001  handed to the caller, who decides
                errors.append(err)

        thread = threading.Thread(target=run, name=f"{self._library}-call", daemon=True)
        thread.start()
        thread.join(limit_s)
        if thread.is_alive():
            with self._lock:
                self._stuck.append(thread)
            raise TimeLimitError(f"{self._library} did not answer within {limit_s:g} s")
        if errors:
            raise errors[0]
        return values[0]
