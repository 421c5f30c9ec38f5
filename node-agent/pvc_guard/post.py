"""UDP port 7482: this guard asks the coordinators' guards, and answers where a server runs beside it.

One socket, one thread; it decides nothing. Whether this node's server is in a quorum is looked at when
somebody with the key asks, so a node at rest does nothing.
"""

from __future__ import annotations

import base64
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from pvc_guard import lease
from pvc_guard.machine import boottime_s
from pvc_guard.talk import NONCE_BYTES, PORT, SIZE_MAX, Notebook, Out, Witness

Tell = Callable[[Callable[..., lease.Event]], None]  # takes an event that lacks its now_s

IP_FREEBIND: Final = 15  # linux/in.h: the address may come up after us
LOOK_S: Final = 0.5  # a server that is in a quorum answers in 5 ms
NOT_SERVING: Final = b"This ZooKeeper instance is not currently serving requests"
REPLY_MAX: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """This node's ZooKeeper server. `data`: the folder of its logs and of the epoch that it joined."""

    address: str
    port: int
    data: Path

    def mark(self) -> str | None:
        """What changes with all that it agrees to; None unless it is certainly in no quorum now.

        A follower logs what it acknowledges and writes down the epoch that it joins, before anything is
        committed with its voice; `srvr` answers as a member of a quorum until it has left it.
        """
        try:
            is_out = self._is_out()
            return self._mark() if is_out else None
        except OSError:
            return None  # it hangs, or its disk cannot be read: nothing is certain

    def _is_out(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=LOOK_S) as to:
                to.sendall(b"srvr")
                return to.recv(REPLY_MAX).startswith(NOT_SERVING)
        except ConnectionRefusedError:
            return True  # no server runs

    def _mark(self) -> str:
        epoch = (self.data / "currentEpoch").read_text(encoding="ascii").strip()
        logs = [(each.name, each.stat()) for each in self.data.glob("log.*")]
        newest = max(logs, key=lambda log: log[1].st_mtime_ns, default=None)
        if newest is None:
            return epoch
        name, stat = newest
        return f"{epoch} {name} {stat.st_size} {stat.st_mtime_ns}"


class Post:
    """The socket, its thread, and what is waited for. `tell` must only queue."""

    def __init__(
        self,
        *,
        me: str,
        voters: tuple[str, ...],
        key: bytes,
        server: Server | None,
        out: Out | None = None,
        tell: Tell,
        port: int = PORT,
    ) -> None:
        self._port = port
        self._tell = tell
        self._server = server
        self._lock = threading.Lock()  # the notebook has two users: who asks, and the thread
        self._notebook = Notebook(
            key=key, voters=voters, new_nonce=lambda: secrets.token_hex(NONCE_BYTES)
        )
        self._witness = None if server is None else Witness(me=me, voters=voters, key=key, out=out)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
        self._socket.bind((me, port))
        threading.Thread(target=self._listen, name="post", daemon=True).start()

    @property
    def out(self) -> Out | None:
        """What this node is witness of."""
        return None if self._witness is None else self._witness.out

    def ask(self, asked_at_s: float) -> None:
        """Send a question to every coordinator; their answers are told."""
        with self._lock:
            questions = self._notebook.ask(asked_at_s)
        for to, data in questions.items():
            try:
                self._socket.sendto(data, socket.MSG_DONTWAIT, (to, self._port))
            except OSError:
                continue  # no way there: it will not answer either

    def _listen(self) -> None:
        while True:
            try:
                data, sender = self._socket.recvfrom(SIZE_MAX + 1)
            except OSError:
                continue  # an ICMP error of an earlier sending
            with self._lock:
                found = self._notebook.take(data)
            if found is not None:
                answer, asked_at_s = found
                if answer.is_out:
                    self._tell(
                        partial(
                            lease.NoQuorum,
                            asked_at_s=asked_at_s,
                            of=answer.of,
                            out_for_s=answer.out_for_s,
                        )
                    )
            elif self._witness is not None and self._server is not None:
                said = self._witness.answer(data, boottime_s(), self._server.mark)
                if said is not None:
                    self._reply(said, sender)

    def _reply(self, said: bytes, to: tuple[str, int]) -> None:
        try:
            self._socket.sendto(said, socket.MSG_DONTWAIT, to)
        except OSError:
            return  # whoever asked asks again


def read_key(path: Path) -> bytes | None:
    """The guards' key: base64, one line. None where this node has none: then nobody is asked."""
    try:
        return base64.b64decode(path.read_text(encoding="ascii"), validate=False)
    except FileNotFoundError:
        return None
