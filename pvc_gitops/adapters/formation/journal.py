"""What formation says: a line a stage in the journal, the present state in a file to be shown."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Final

from pvc_gitops.adapters.formation import files

DONE: Final = "done"  # the stage of a founded node
STATUS: Final = "/run/pvc/formation.json"
PROGRESS: Final = "/var/lib/pvc/formation/progress.json"


@dataclass
class Progress:
    """What is done for good, over restarts and power cuts. A mark is durable before what relies on it."""

    done: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def load(cls) -> Progress:
        text = files.read(PROGRESS)
        return cls(done=set(json.loads(text)) if text else set())

    def has(self, mark: str) -> bool:
        with self._lock:
            return mark in self.done

    def mark(self, mark: str) -> None:
        with self._lock:
            self.done.add(mark)
            files.write(PROGRESS, json.dumps(sorted(self.done)) + "\n", mode=0o600)


class Journal:
    """Stages of this run. Several run side by side, so the status names all that have not ended."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._open: dict[str, str] = {}  # stage -> what it waits for
        self._lock = threading.Lock()
        self._key = ""

    def tell_key(self, key: str) -> None:
        """The fingerprint of this node's key, for whoever writes it into the node's document."""
        with self._lock:
            self._key = key

    def begin(self, stage: str) -> None:
        with self._lock:
            self._open[stage] = ""
            self._write("")

    def end(self, stage: str, text: str) -> None:
        """One line: what holds now, and the seconds since the start."""
        with self._lock:
            self._open.pop(stage, None)
            self._write("")
        self.say(f"{text} after {time.monotonic() - self._started:.1f} s")

    def wait_for(self, stage: str, what: str) -> None:
        """Said once for each new reason."""
        with self._lock:
            is_news = self._open.get(stage) != what
            self._open[stage] = what
            self._write("")
        if is_news:
            self.say(f"waiting for {what}")

    def done(self) -> None:
        """This node is founded, in this run or an earlier one."""
        with self._lock:
            self._open = {DONE: ""}
            self._write("")

    def fail(self, error: str) -> None:
        with self._lock:
            self._write(error)
        self.say(f"error: {error}")

    @staticmethod
    def say(text: str) -> None:
        print(f"formation: {text}", flush=True)

    def _write(self, error: str) -> None:
        waiting = [what for what in self._open.values() if what]
        state = {
            "stage": ", ".join(self._open) or "idle",
            "since": int(time.time()),
            "waiting_for": "; ".join(waiting),
            "error": error,
            "key": self._key,
        }
        files.write(STATUS, json.dumps(state, sort_keys=True) + "\n")
