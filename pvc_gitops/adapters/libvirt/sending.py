"""Live migrations of this node's domains, peer to peer: libvirtd does them, we only wait in a thread.

The copy is left paused (VIR_MIGRATE_PAUSED). When the call returns without an error, the process here has
ended and the whole state is there and nowhere else; with an error, libvirt lets the source go on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import libvirt

from pvc_gitops.model.ids import NodeName
from pvc_gitops.world.ports import Sending

FLAGS: Final = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_TLS
    | libvirt.VIR_MIGRATE_PAUSED
    | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE
)
LOOK_S: Final = 0.2
UNDER_WAY: Final = Sending(is_done=False, error="")


class Sendings:
    """Those that this process began. Safe to use from several threads.

    Args:
        connect: makes a connection of its own for each: a migration holds it as long as it takes.
        wake: called when one is done.
    """

    def __init__(self, connect: Callable[[], Any], wake: Callable[[], None]) -> None:
        self._connect, self._wake = connect, wake
        self._known: dict[str, Sending] = {}
        self._lock = threading.Lock()

    def begin(self, name: str, to: NodeName, max_downtime_s: float) -> None:
        with self._lock:
            if self._known.get(name) == UNDER_WAY:
                return
            self._known[name] = UNDER_WAY
        thread = threading.Thread(
            target=self._send, args=(name, to, max_downtime_s), name=f"send-{name}", daemon=True
        )
        thread.start()

    def state(self, name: str) -> Sending | None:
        with self._lock:
            return self._known.get(name)

    def forget(self, name: str) -> None:
        with self._lock:
            if self._known.get(name) != UNDER_WAY:
                self._known.pop(name, None)

    def _send(self, name: str, to: NodeName, max_downtime_s: float) -> None:
        try:
            self._migrate(name, to, max_downtime_s)
            answer = Sending(is_done=True, error="")
        except libvirt.libvirtError as error:
            answer = Sending(is_done=True, error=str(error))
        with self._lock:
            self._known[name] = answer
        self._wake()

    def _migrate(self, name: str, to: NodeName, max_downtime_s: float) -> None:
        connection = self._connect()
        try:
            domain = connection.lookupByName(name)
            # One that an agent before this one began goes on in libvirtd. Its answer went to nobody.
            while domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
                time.sleep(LOOK_S)
            domain.migrateSetMaxDowntime(max(1, round(max_downtime_s * 1000)))
            where = {libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{to}"}
            domain.migrateToURI3(f"qemu+tls://{to}/system", where, FLAGS)
        finally:
            connection.close()
