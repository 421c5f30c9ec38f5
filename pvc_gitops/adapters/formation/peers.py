"""Asking other nodes on port 7481: TLS 1.3 on the cluster network, one question a connection.

The other side is believed by the certificate of the cluster's authority and by the name of the node that
was meant. Everything has an end: the whole conversation, and the length of what comes.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Final

from pvc_gitops.errors import WorldError
from pvc_gitops.formation.peer_words import (
    ANSWER_BYTES_MAX,
    PORT,
    Answer,
    Question,
    Refusal,
    Verb,
    read_answer,
)
from pvc_gitops.formation.record import Told
from pvc_gitops.model.codec import decode
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.values import dataclass

RECORD_S: Final = 2.0  # a neighbour on the cluster network answers in milliseconds
# The other side may have to ask its store and read a commit first, on a busy machine.
ANSWER_S: Final = 20.0
CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Paths of PEM files."""

    authority: str
    certificate: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Whom to ask. `name` must stand in its certificate."""

    name: NodeName
    address: str
    port: int = PORT


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Where bytes go that follow an answer, and how many are taken."""

    file: BinaryIO
    bytes_max: int


def ask(
    peer: Peer,
    question: Question,
    credentials: Credentials,
    *,
    is_stranger: bool = False,
    limit_s: float = ANSWER_S,
    body: Body | None = None,
) -> Answer | Refusal:
    """One question and its answer.

    Args:
        peer: whom.
        question: what.
        credentials: whom we believe, and who we are.
        is_stranger: do not say who we are, for want of a certificate.
        limit_s: of the whole conversation.
        body: where the bytes go that follow an answer.

    Raises:
        WorldError: it does not answer, is not who it should be, or speaks otherwise than agreed.
    """
    end_s = time.monotonic() + limit_s
    try:
        context = client_context(credentials, is_stranger=is_stranger)
        with (
            socket.create_connection((peer.address, peer.port), timeout=limit_s) as plain,
            context.wrap_socket(
                plain, server_hostname=peer.name, do_handshake_on_connect=False
            ) as tls,
        ):
            give_until(tls, end_s)
            tls.do_handshake()
            tls.sendall(question.to_line())
            line, rest = read_line(tls, end_s, ANSWER_BYTES_MAX)
            answer = read_answer(line)
            if isinstance(answer, Answer) and answer.bytes_after:
                _copy_body(tls, rest, answer.bytes_after, body, end_s)
            return answer
    except (OSError, ValueError) as err:  # ssl.SSLError is an OSError
        raise WorldError("ask", f"{peer.name} {peer.address}", str(err), retryable=True) from err


def ask_all(
    members: Mapping[NodeName, str], credentials: Credentials, *, port: int = PORT
) -> dict[NodeName, Told | None]:
    """Each member's answer, by address; None for one that does not answer as a member of this cluster."""
    if not members:
        return {}
    with ThreadPoolExecutor(len(members)) as pool:
        peers = [Peer(name=name, address=address, port=port) for name, address in members.items()]
        answers = pool.map(lambda peer: _record(peer, credentials), peers)
        return dict(zip(members, answers, strict=True))


def _record(peer: Peer, credentials: Credentials) -> Told | None:
    try:
        answer = ask(peer, Question(verb=Verb.RECORD, fields={}), credentials, limit_s=RECORD_S)
        return None if isinstance(answer, Refusal) else decode(Told, answer.value)
    except (WorldError, ValueError):
        return None


def client_context(credentials: Credentials, *, is_stranger: bool) -> ssl.SSLContext:
    """Believes the cluster's authority and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(credentials.authority)
    if not is_stranger:
        context.load_cert_chain(credentials.certificate, credentials.key)
    return context


def give_until(tls: ssl.SSLSocket, end_s: float) -> None:
    """The next operation may last until then. Raises TimeoutError when that is past."""
    left_s = end_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("no end within the time")
    tls.settimeout(left_s)


def read_line(tls: ssl.SSLSocket, end_s: float, bytes_max: int) -> tuple[bytes, bytes]:
    """A line, and what came after it. Raises ValueError when it is too long or has no end."""
    got = b""
    while b"\n" not in got:
        if len(got) > bytes_max:
            raise ValueError(f"more than {bytes_max} bytes")
        give_until(tls, end_s)
        chunk = tls.recv(CHUNK_BYTES)
        if not chunk:
            raise ValueError("it ended in the middle")
        got += chunk
    line, _, rest = got.partition(b"\n")
    if len(line) > bytes_max:
        raise ValueError(f"more than {bytes_max} bytes")
    return line, rest


def _copy_body(
    tls: ssl.SSLSocket, begun: bytes, length: int, body: Body | None, end_s: float
) -> None:
    if body is None or length > body.bytes_max:
        raise ValueError(f"{length} bytes follow, which is more than is taken")
    body.file.write(begun)
    left = length - len(begun)
    while left > 0:
        give_until(tls, end_s)
        chunk = tls.recv(min(CHUNK_BYTES, left))
        if not chunk:
            raise ValueError("it ended in the middle")
        body.file.write(chunk)
        left -= len(chunk)
    if left < 0:
        raise ValueError("more followed than was said")
