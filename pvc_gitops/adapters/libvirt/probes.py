"""The Probes port: a TCP connection from this node, the guest agent through libvirt, QEMU's own log."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any, Final

import libvirt
import libvirt_qemu

from pvc_gitops.adapters.bounded import Bounded, TimeLimitError
from pvc_gitops.adapters.libvirt.endings import ending_of
from pvc_gitops.adapters.libvirt.hypervisor import KEEPALIVE_MISSES, KEEPALIVE_S, URI
from pvc_gitops.model.inventory import Ending

CONNECT_LIMIT_S: Final = 1.5
AGENT_LIMIT_S: Final = 1  # whole seconds, by libvirt's interface
LIBVIRT_LIMIT_S: Final = 2.0
LOGS: Final = Path("/var/log/libvirt/qemu")
TAIL_BYTES: Final = 4096
PING: Final = '{"execute":"guest-ping"}'


class GuestProbes:
    """Implements `world.ports.Probes`."""

    def __init__(self, logs: Path = LOGS) -> None:
        self._logs = logs
        self._bounded = Bounded("libvirt")
        self._connection: Any = None
        self._lock = threading.Lock()

    def accepts(self, address: str, port: int) -> str:
        try:
            with socket.create_connection((address, port), timeout=CONNECT_LIMIT_S):
                return ""
        except OSError as err:
            why = "no answer" if isinstance(err, TimeoutError) else (err.strerror or str(err))
            return f"port {port} of {address}: {why}"

    def agent_answers(self, name: str) -> str:
        def ping() -> None:
            found = self._connected().lookupByName(name)
            libvirt_qemu.qemuAgentCommand(found, PING, AGENT_LIMIT_S, 0)

        try:
            self._bounded.call(ping, LIBVIRT_LIMIT_S)
        except TimeLimitError as err:
            with self._lock:
                self._connection = None
            return f"its guest agent: {err}"
        except libvirt.libvirtError as err:
            return f"its guest agent: {err}"
        return ""

    def ending(self, name: str) -> Ending:
        try:
            with (self._logs / f"{name}.log").open("rb") as log:
                log.seek(0, 2)
                log.seek(max(0, log.tell() - TAIL_BYTES))
                return ending_of(log.read().decode(errors="replace"))
        except FileNotFoundError:
            return Ending.ENDED

    def _connected(self) -> Any:  # noqa: ANN401  libvirt has no types
        with self._lock:
            known = self._connection
        if known is not None and known.isAlive():
            return known
        fresh = libvirt.open(URI)
        fresh.setKeepAlive(KEEPALIVE_S, KEEPALIVE_MISSES)
        with self._lock:
            self._connection = fresh
        return fresh
