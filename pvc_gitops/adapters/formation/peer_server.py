"""Answering other nodes on port 7481. Whom it answers what is decided by the caller; this is the door.

A peer with a certificate of the cluster's authority has a name; one without has none; one with any other
certificate does not get through the handshake. Nobody can hold it up: a conversation has an end, and
there are only so many at a time.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import BinaryIO, Final

from pvc_gitops.adapters.formation import pki
from pvc_gitops.adapters.formation.peers import Credentials, give_until, read_line
from pvc_gitops.formation.peer_words import (
    PORT,
    QUESTION_BYTES_MAX,
    Answer,
    Asker,
    Question,
    Refusal,
    answer_line,
    read_question,
)
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.values import dataclass

QUESTION_S: Final = 5.0  # handshake and question: both are ready when the connection is made
ANSWER_S: Final = 5.0  # to take the answer
BODY_S: Final = 120.0  # to take the objects of a repository
STOP_S: Final = 2.0
ASKERS_MAX: Final = 16
CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer, with the bytes that follow it, if any; the file is closed when they are sent."""

    answer: Answer | Refusal
    body: BinaryIO | None = None


Desk = Callable[[Asker | None, Question], Reply]


class PeerServer:
    """Listens from the making on, answers inside of `with`. `desk` is called from several threads."""

    def __init__(
        self, address: str, credentials: Credentials, desk: Desk, *, port: int = PORT
    ) -> None:
        self._desk = desk
        self._context = _server_context(credentials)
        self._places = threading.BoundedSemaphore(ASKERS_MAX)
        # A restarted process binds again at once; old connections may linger in TIME_WAIT.
        self._listener = socket.create_server((address, port), reuse_port=False, backlog=ASKERS_MAX)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, name="peers", daemon=True)

    def __enter__(self) -> PeerServer:
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
        self._thread.join(timeout=STOP_S)

    def _serve(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            if not self._places.acquire(blocking=False):
                connection.close()  # whoever asks has other nodes to ask
                continue
            threading.Thread(
                target=self._converse, args=(connection, address[0]), name="peer", daemon=True
            ).start()

    def _converse(self, connection: socket.socket, address: str) -> None:
        end_s = time.monotonic() + QUESTION_S
        try:
            with self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            ) as tls:
                give_until(tls, end_s)
                tls.do_handshake()
                self._answer(tls, end_s)
        except OSError as err:  # a stranger, or one that left or hung: ssl.SSLError is an OSError
            print(f"peers: {address}: {err}", file=sys.stderr, flush=True)
        finally:
            connection.close()
            self._places.release()

    def _answer(self, tls: ssl.SSLSocket, end_s: float) -> None:
        reply = self._reply(tls, end_s)
        try:
            give_until(tls, time.monotonic() + ANSWER_S)
            tls.sendall(answer_line(reply.answer))
            if reply.body is not None:
                _send(tls, reply.body, time.monotonic() + BODY_S)
        finally:
            if reply.body is not None:
                reply.body.close()

    def _reply(self, tls: ssl.SSLSocket, end_s: float) -> Reply:
        try:
            line, _ = read_line(tls, end_s, QUESTION_BYTES_MAX)
            question = read_question(line)
        except ValueError as err:
            return Reply(answer=Refusal(reason=f"not understood: {err}", hint=""))
        return self._desk(_asker(tls), question)


def _asker(tls: ssl.SSLSocket) -> Asker | None:
    certificate = tls.getpeercert(binary_form=True)
    if certificate is None:
        return None
    name, key = pki.subject(certificate)
    return Asker(name=NodeName(name), key=key)


def _send(tls: ssl.SSLSocket, body: BinaryIO, end_s: float) -> None:
    while chunk := body.read(CHUNK_BYTES):
        give_until(tls, end_s)
        tls.sendall(chunk)


def _server_context(credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # One without a certificate may ask for one; a wrong one ends the handshake.
    context.verify_mode = ssl.CERT_OPTIONAL
    context.num_tickets = 0  # a session would outlive what was verified at its beginning
    context.load_verify_locations(credentials.authority)
    context.load_cert_chain(credentials.certificate, credentials.key)
    return context
