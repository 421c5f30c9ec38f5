"""Work that can stand still in its middle while the rest of the simulated world goes on.

A process that the kernel, a pager or a collector of garbage stops between a check and what was checked
for: fences and epochs are there for exactly this. A thread of its own runs the work, but never beside
anything: the one who runs hands over and waits, so the same seed stays the same story.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


class Gone(BaseException):
    """The process is no more: its work ends where it stands. Not an Exception, so nothing catches it."""


@dataclass(slots=True, eq=False)
class Aside:
    """One piece of work. `go` until it says True; `stand_still` is called from inside the work."""

    work: Callable[[], None]
    is_done: bool = False
    _is_gone: bool = False
    _error: BaseException | None = None
    _inside: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _outside: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _thread: threading.Thread | None = None

    def go(self) -> bool:
        """Run until it stands still (False) or is over (True). Raises what the work raises."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._inside.release()
        self._outside.acquire()
        if self.is_done and self._error is not None:
            raise self._error
        return self.is_done

    def stand_still(self) -> None:
        """Let the others go on. Returns when it is this one's turn again; raises Gone if it never is."""
        self._outside.release()
        self._inside.acquire()
        if self._is_gone:
            raise Gone

    def abandon(self) -> None:
        """End it where it stands. The work itself may ask for it: that ends with what it is at."""
        is_inside = threading.current_thread() is self._thread
        if self._thread is not None and not self.is_done and not is_inside:
            self._is_gone = True
            self._inside.release()
            self._outside.acquire()

    def _run(self) -> None:
        self._inside.acquire()
        try:
            self.work()
        except Gone:
            pass
        except BaseException as error:  # noqa: BLE001  handed to whoever waits in `go`
            self._error = error
        self.is_done = True
        self._outside.release()
