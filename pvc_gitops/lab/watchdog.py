"""A machine's watchdog: a device outside of it that resets it unless it is petted.

Run as `python -m pvc_gitops.lab.watchdog ROOT LAB NODE`. It behaves as a kernel's device does: opening it
arms it, every byte pets it, closing it without the magic letter leaves it armed, and one opener has it at
a time. It forgets everything when its machine's power is cut. The machine reaches it by a socket in a
folder that is bound into it; what it says of itself comes first, and again after a question mark.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time
from pathlib import Path
from typing import Final

from pvc_gitops.lab.node import Node
from pvc_gitops.lab.paths import LabPaths, NodePaths
from pvc_gitops.lab.process import PidFile, python_env, python_module, spawn

MODULE: Final = "pvc_gitops.lab.watchdog"
IDENTITY: Final = "PVC lab watchdog"
WAITS_S: Final = 10.0
FOLDER_INSIDE: Final = "/run/pvc-watchdog"
SOCKET: Final = "lab.socket"
DISARM: Final = b"V"
ASK: Final = b"?"
READ_MAX: Final = 4096
PRIORITY: Final = 1  # a device of silicon is never late because the machine beside it is busy


class Watchdog:
    """The device of one machine, as the lab starts and breaks it."""

    def __init__(self, paths: NodePaths) -> None:
        self._paths = paths
        mark = f"{MODULE}\0{paths.lab.root}\0{paths.lab.name}\0{paths.name}\0"
        self._process = PidFile(paths.watchdog_pid, mark)

    def is_running(self) -> bool:
        """Whether it would reset its machine."""
        return self._process.pid() is not None

    def start(self) -> None:
        """Start it if it does not run. The machine sees it from its next boot."""
        if self.is_running():
            return
        self._paths.watchdog.mkdir(parents=True, exist_ok=True)
        paths = self._paths
        words = python_module(MODULE, paths.lab.root, paths.lab.name, paths.name)
        self._process.write(spawn(words, log=paths.watchdog_log, env=python_env()))

    def stop(self) -> None:
        """The device is broken: it resets nobody any more."""
        self._process.end()


class Device:
    """Its insides. Time is the host's monotonic clock."""

    def __init__(self, node: Node, listener: socket.socket) -> None:
        self._node = node
        self._listener = listener
        self._opener: socket.socket | None = None
        self._petted_s: float | None = None  # None: not armed
        self._boot: int | None = None  # which life of the machine armed it: its first process

    def serve(self) -> None:
        """For ever."""
        while True:
            waiting = [self._listener] if self._opener is None else [self._opener]
            ready, _, _ = select.select(waiting, [], [], self._left_s())
            if self._listener in ready:
                self._open()
            elif ready:
                self._read()
            if self._left_s() == 0.0:
                self._expire()

    def _left_s(self) -> float | None:
        if self._petted_s is None:
            return None
        return max(0.0, self._petted_s + WAITS_S - time.monotonic())

    def _open(self) -> None:
        self._opener, _ = self._listener.accept()
        self._petted_s, self._boot = time.monotonic(), self._node.init_pid()
        self._say()

    def _say(self) -> None:
        assert self._opener is not None
        with contextlib.suppress(OSError):  # it has gone since
            self._opener.sendall(json.dumps({"identity": IDENTITY, "waits_s": WAITS_S}).encode())

    def _read(self) -> None:
        assert self._opener is not None
        try:
            data = self._opener.recv(READ_MAX)
        except OSError:
            data = b""
        if not data:
            self._opener.close()
            self._opener = None
            return
        self._petted_s = None if DISARM in data else time.monotonic()
        if ASK in data:
            self._say()

    def _expire(self) -> None:
        self._petted_s = None
        if self._opener is not None:
            self._opener.close()
            self._opener = None
        if self._boot is None or self._node.init_pid() != self._boot:
            return  # it was without power since: whoever armed this is gone
        print(f"{self._node.name} was not petting for {WAITS_S:g} s: reset", flush=True)
        self._node.power_off()
        self._node.power_on(wait=False)


def main() -> int:
    """One device, until it is ended."""
    root, lab, name = sys.argv[1:]
    paths = LabPaths(Path(root), lab).node(name)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    path = paths.watchdog / SOCKET
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        # The path of a socket holds 107 bytes, that of a lab may be longer.
        os.chdir(path.parent)
        listener.bind(SOCKET)
        listener.listen(1)
        Device(Node(paths), listener).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
