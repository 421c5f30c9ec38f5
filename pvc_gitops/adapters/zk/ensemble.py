"""How many servers serve, by their own word `srvr`, of those that the ensemble itself counts.

The words need no login and no session. Who is counted stands in the store: after members were given up
for lost it is fewer than this node was once told.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from pvc_gitops.world.ports import Quorum

PROBE_S: Final = 0.5  # all servers at once; one that needs longer on its own network is not well
FRESH_S: Final = 2.0
CONFIG: Final = "/zookeeper/config"
_ANY: Final = ("", "0.0.0.0")  # noqa: S104  it listens at each of its addresses


class Ensemble:
    """The servers, asked at most every FRESH_S.

    Args:
        servers: HOST:PORT, as this node was told.
        counted: who is counted now, as the store says; None where it cannot be asked.
    """

    def __init__(self, servers: Sequence[str], counted: Callable[[], Sequence[str] | None]) -> None:
        self._servers, self._counted = tuple(servers), counted
        self._asked_at_s: float | None = None
        self._known = Quorum(serving=0, servers=len(self._servers))

    def quorum(self) -> Quorum:
        now_s = time.monotonic()
        if self._asked_at_s is None or now_s - self._asked_at_s >= FRESH_S:
            self._servers = tuple(self._counted() or self._servers)
            answers = ask(self._servers, time.monotonic() + PROBE_S)
            serving = sum(1 for answer in answers if b"\nMode: " in answer)
            self._known = Quorum(serving=serving, servers=len(self._servers))
            self._asked_at_s = now_s
        return self._known


def counted(config: str) -> tuple[str, ...]:
    """HOST:PORT for clients, of those that vote, by `/zookeeper/config`:
    `server.1=10.91.0.1:2888:3888:participant;0.0.0.0:2181`, a line a server."""
    found = []
    for line in config.splitlines():
        key, _, value = line.partition("=")
        own, _, client = value.partition(";")
        if key.startswith("server.") and own.endswith(":participant") and client:
            host, _, port = client.rpartition(":")
            found.append(f"{own.split(':', 1)[0] if host in _ANY else host}:{port}")
    return tuple(found)


def ask(servers: Sequence[str], until_s: float) -> list[bytes]:
    """What each server said by then; b"" for silence."""
    answers = [b""] * len(servers)
    with selectors.DefaultSelector() as selector:
        for number, server in enumerate(servers):
            host, _, port = server.rpartition(":")
            to = socket.socket()
            to.setblocking(False)
            to.connect_ex((host, int(port)))
            selector.register(to, selectors.EVENT_WRITE, number)
        while selector.get_map() and (left_s := until_s - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                _serve(selector, key, answers)
        for key in list(selector.get_map().values()):
            _close(selector, key)
    return answers


def _serve(
    selector: selectors.BaseSelector, key: selectors.SelectorKey, answers: list[bytes]
) -> None:
    to = key.fileobj
    assert isinstance(to, socket.socket)
    try:
        if key.events == selectors.EVENT_WRITE:
            to.sendall(b"srvr")
            selector.modify(to, selectors.EVENT_READ, key.data)
            return
        part = to.recv(4096)
    except OSError:
        part = b""
    answers[key.data] += part
    if not part:
        _close(selector, key)


def _close(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    selector.unregister(key.fileobj)
    assert isinstance(key.fileobj, socket.socket)
    key.fileobj.close()
