"""ZooKeeper at its founding: who is in quorum, the root's ACL, the first records.

Never calls kazoo's `server_version()`: it uses a word that our servers do not answer.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.security import make_acl

from pvc_gitops.errors import StoreUnavailable
from pvc_gitops.formation.render.zookeeper import CLIENT_PORT, SUPER_USER, USER
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.records import Formation

SESSION_S: Final = 6.0
CALL_S: Final = 10.0  # a refused login lets a call hang for ever: each has an end
PROBE_S: Final = 1.0
ENSEMBLE: Final = "/zookeeper/config"


def mode_of(address: str) -> str | None:
    """`leader` or `follower`; None while the server serves nobody."""
    try:
        with socket.create_connection((address, CLIENT_PORT), timeout=PROBE_S) as connection:
            connection.sendall(b"srvr")
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
    except OSError:
        return None
    for line in answer.decode(errors="replace").splitlines():
        if line.startswith("Mode: "):
            return line.removeprefix("Mode: ").strip()
    return None


class FoundingStore:
    """The ensemble as formation uses it."""

    def __init__(self, servers: Sequence[str], *, password: str) -> None:
        self._hosts = ",".join(f"{server}:{CLIENT_PORT}" for server in servers)
        self._password = password

    def formation(self) -> Formation | None:
        """What was founded; None if nothing was. Raises StoreUnavailable."""
        with self._session(USER, self._password) as client:
            try:
                data, _ = client.get_async(paths.FORMAT).get(timeout=CALL_S)
            except NoNodeError:
                return None
            raw = json.loads(data)
            raw.pop("nonce", None)
            return decode(Formation, raw)

    def has_lived(self, node: NodeName) -> bool:
        """Has the node's guard ever begun a life here? Raises StoreUnavailable."""
        with self._session(USER, self._password) as client:
            found = client.exists_async(paths.incarnation(node)).get(timeout=CALL_S)
        return found is not None

    def servers(self) -> Mapping[int, str]:
        """The running ensemble: id -> address, as ZooKeeper itself records it."""
        return parse_ensemble(self.config())

    def config(self) -> str:
        """The same, as ZooKeeper writes it. Raises StoreUnavailable."""
        with self._session(USER, self._password) as client:
            data, _ = client.get_async(ENSEMBLE).get(timeout=CALL_S)
        return str(data.decode())

    def join(self, server: str, super_password: str) -> None:
        """Make a server that follows a member with a vote. Raises StoreUnavailable.

        Args:
            server: `server.2=10.91.0.2:2888:3888:participant;0.0.0.0:2181`.
            super_password: only the super user may change the ensemble.
        """
        with self._session(SUPER_USER, super_password) as client:
            client.reconfig_async(
                joining=server, leaving=None, new_members=None, from_config=-1
            ).get(timeout=CALL_S)

    def found(self, records: Sequence[tuple[str, bytes]], super_password: str) -> None:
        """Close the root to strangers and write everything in one transaction, unless it stands."""
        acl = [make_acl("sasl", USER, all=True)]
        with self._session(SUPER_USER, super_password) as client:
            client.set_acls_async("/", acl).get(timeout=CALL_S)
            transaction = client.transaction()
            for path, value in records:
                # An ACL is never inherited: every create names it.
                transaction.create(path, value, acl=acl)
            results = transaction.commit_async().get(timeout=CALL_S)
        errors = [result for result in results if isinstance(result, Exception)]
        if errors and not any(isinstance(error, NodeExistsError) for error in errors):
            raise StoreUnavailable("found", paths.ROOT, repr(errors[0]))

    @contextmanager
    def _session(self, user: str, password: str) -> Iterator[KazooClient]:
        client = KazooClient(
            hosts=self._hosts,
            timeout=SESSION_S,
            sasl_options={"mechanism": "DIGEST-MD5", "username": user, "password": password},
        )
        try:
            client.start(timeout=CALL_S)
            yield client
        except (KazooException, KazooTimeoutError) as err:
            raise StoreUnavailable("ask", self._hosts, repr(err)) from err
        finally:
            client.stop()
            client.close()


def parse_ensemble(config: str) -> dict[int, str]:
    """`server.1=10.91.0.1:2888:3888:participant;0.0.0.0:2181`, a line a server."""
    servers = {}
    for line in config.splitlines():
        key, _, value = line.partition("=")
        if key.startswith("server."):
            servers[int(key.removeprefix("server."))] = value.split(":", 1)[0]
    return servers
