"""One kazoo client, with a limit on every call, made anew when it stays lost.

About kazoo 2.9 (tried): a refused login shows as CONNECTED and then as LOST for ever, with calls under
way never answered; a dead server is tried again and again for up to a minute by its own settings.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.security import make_acl

from pvc_gitops.errors import StoreUnavailable

# Ephemerals (candidacies) are gone this long after their process; kazoo notices silence after 2/3.
SESSION_S: Final = 6.0
# More than the longest silence when the leading server's host dies (2.8 s), less than a tick's patience.
CALL_S: Final = 5.0
LOST_S: Final = 8.0  # longer than a session: what has not come back by then is refused or dead
RECONNECT: Final = {"max_tries": -1, "delay": 0.1, "backoff": 2, "max_delay": 0.5}


class Session:
    """The connection. `changed` is called from kazoo's threads on every change of state."""

    def __init__(
        self, servers: Sequence[str], user: str, password: str, changed: Callable[[], None]
    ) -> None:
        self.servers = tuple(servers)
        self._user = user
        self._password = password
        self._changed = changed
        self._lost_since_s = time.monotonic()
        self._client = self._connect()

    @property
    def is_connected(self) -> bool:
        if self._client.state == KazooState.CONNECTED:
            self._lost_since_s = time.monotonic()
            return True
        waited_s = time.monotonic() - self._lost_since_s
        if self._client.state == KazooState.LOST and waited_s >= LOST_S:
            self._replace()
        return False

    def client(self, operation: str, path: str) -> Any:  # noqa: ANN401  kazoo has no types
        """The connected client. Raises StoreUnavailable."""
        if not self.is_connected:
            raise StoreUnavailable(
                operation,
                path,
                f"no session with {', '.join(self.servers)}: no quorum, no network, or the password of "
                f"{self._user} is refused (journalctl -u zookeeper on a coordinator)",
            )
        return self._client

    def get(self, answer: Any, operation: str, path: str) -> Any:  # noqa: ANN401
        """The value of an asynchronous call. ZooKeeper's own refusals pass through as they are."""
        try:
            return answer.get(timeout=CALL_S)
        except KazooTimeoutError as err:
            raise StoreUnavailable(operation, path, f"no answer within {CALL_S:g} s") from err

    def wait(self, limit_s: float) -> bool:
        """Whether it is connected, at the latest after the limit."""
        until_s = time.monotonic() + limit_s
        while not self.is_connected:
            if time.monotonic() >= until_s:
                return False
            time.sleep(0.05)  # bounded by the limit; kazoo's own wait cannot see a replaced client
        return True

    def close(self) -> None:
        _stop(self._client)

    def _replace(self) -> None:
        # Stopping waits for the client's threads, which may be the ones that hang.
        threading.Thread(target=_stop, args=(self._client,), daemon=True).start()
        self._lost_since_s = time.monotonic()
        self._client = self._connect()

    def _connect(self) -> Any:  # noqa: ANN401
        client = KazooClient(
            hosts=",".join(self.servers),
            randomize_hosts=False,  # this node's own server stands first
            timeout=SESSION_S,
            connection_retry=RECONNECT,
            sasl_options={
                "mechanism": "DIGEST-MD5",
                "username": self._user,
                "password": self._password,
            },
            # Never inherited: without it every create is open to the world.
            default_acl=[make_acl("sasl", self._user, all=True)],
        )
        client.add_listener(self._on_state)
        client.start_async()
        return client

    def _on_state(self, _state: str) -> None:
        self._changed()


def _stop(client: Any) -> None:  # noqa: ANN401
    try:
        client.stop()
        client.close()
    except KazooException:
        return  # it never had a session
