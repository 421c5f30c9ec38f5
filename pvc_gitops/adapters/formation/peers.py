"""The founding record between coordinators: TLS 1.3 with node certificates on the cluster network.

One connection, one answer: the asker says nothing but its certificate, the server writes its record as
JSON and closes. Whoever has no certificate of this cluster gets nothing.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from pvc_gitops.formation.record import FoundingRecord
from pvc_gitops.model.codec import canonical, decode
from pvc_gitops.model.ids import NodeName

PORT: Final = 7481
ANSWER_S: Final = 2.0  # a neighbour on the cluster network answers in milliseconds
RECORD_BYTES_MAX: Final = 64 * 1024
ASKERS_MAX: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Paths of PEM files."""

    authority: str
    certificate: str
    key: str


class RecordServer:
    """Serves this node's record while formation runs. Use as a context manager."""

    def __init__(self, address: str, record: FoundingRecord, credentials: Credentials) -> None:
        self._answer = canonical(record)
        self._context = _context(ssl.PROTOCOL_TLS_SERVER, credentials)
        # A restarted formation binds again at once; old connections may linger in TIME_WAIT.
        self._listener = socket.create_server((address, PORT), reuse_port=False, backlog=ASKERS_MAX)
        self._thread = threading.Thread(target=self._serve, name="founding-record", daemon=True)

    def __enter__(self) -> RecordServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Closing alone does not wake accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=ANSWER_S)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                connection.settimeout(ANSWER_S)
                with self._context.wrap_socket(connection, server_side=True) as tls:
                    tls.sendall(self._answer)
                    # Its end of stream, or data in flight is lost to a reset.
                    tls.unwrap().close()
            except OSError:  # a stranger, or one that left: ssl.SSLError is an OSError
                connection.close()


def ask_all(
    members: Mapping[NodeName, str], credentials: Credentials
) -> dict[NodeName, FoundingRecord | None]:
    """Each member's record, by address; None for one that does not answer as a member of this cluster."""
    if not members:
        return {}
    with ThreadPoolExecutor(len(members)) as pool:
        answers = pool.map(lambda item: _ask(item[0], item[1], credentials), members.items())
        return dict(zip(members, answers, strict=True))


def _ask(name: NodeName, address: str, credentials: Credentials) -> FoundingRecord | None:
    context = _context(ssl.PROTOCOL_TLS_CLIENT, credentials)
    try:
        with (
            socket.create_connection((address, PORT), timeout=ANSWER_S) as plain,
            context.wrap_socket(plain, server_hostname=name) as tls,
        ):
            return decode(FoundingRecord, json.loads(_read(tls)))
    except (OSError, ValueError):
        return None


def _read(tls: ssl.SSLSocket) -> bytes:
    answer = b""
    while chunk := tls.recv(RECORD_BYTES_MAX):
        answer += chunk
        if len(answer) > RECORD_BYTES_MAX:
            raise ValueError("answer too long")
    return answer


def _context(protocol: int, credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(credentials.authority)
    context.load_cert_chain(credentials.certificate, credentials.key)
    return context
