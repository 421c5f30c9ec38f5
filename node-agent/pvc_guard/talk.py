"""What guards say to each other on UDP port 7482: one question, one answer, each a datagram.

    question   {"question": NONCE, "to": ADDRESS, "voters": DIGEST}
    answer     {"answer": NONCE, "from": ADDRESS, "is_out": bool, "out_for_s": seconds}

Each is JSON behind the HMAC-SHA256 of it with the guards' key. A nonce is of one question to one guard
and is forgotten with its answer: what is forged, replayed, redirected or meant for another ensemble
counts for nothing. Pure, standard library only; sockets are in `post`, the simulator plays this as it is.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

PORT: Final = 7482
SIZE_MAX: Final = 512  # bytes of a datagram
NONCE_BYTES: Final = 16
PENDING_MAX: Final = 64  # unanswered questions: some rounds of nine coordinators
_MAC_BYTES: Final = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Is your server in a quorum? `to`: who is asked, so that no other guard's answer stands for it."""

    nonce: str
    to: str
    voters: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`is_out`: the server there is certainly in no quorum, and has been for `out_for_s`."""

    nonce: str
    of: str
    is_out: bool
    out_for_s: float


def digest_of(voters: Iterable[str]) -> str:
    """Of the ensemble as one guard knows it: answers of guards that know another one prove nothing."""
    return hashlib.sha256(",".join(sorted(voters)).encode()).hexdigest()[:16]


def write_question(key: bytes, question: Question) -> bytes:
    return _sealed(key, {"question": question.nonce, "to": question.to, "voters": question.voters})


def read_question(key: bytes, data: bytes) -> Question | None:
    """None for what no guard with our key wrote."""
    match _opened(key, data):
        case {"question": str(nonce), "to": str(to), "voters": str(voters)}:
            return Question(nonce=nonce, to=to, voters=voters)
        case _:
            return None


def write_answer(key: bytes, answer: Answer) -> bytes:
    return _sealed(
        key,
        {
            "answer": answer.nonce,
            "from": answer.of,
            "is_out": answer.is_out,
            "out_for_s": answer.out_for_s,
        },
    )


def read_answer(key: bytes, data: bytes) -> Answer | None:
    """None for what no guard with our key wrote."""
    match _opened(key, data):
        case {
            "answer": str(nonce),
            "from": str(of),
            "is_out": bool(is_out),
            "out_for_s": int() | float() as out_for_s,
        }:
            return Answer(nonce=nonce, of=of, is_out=is_out, out_for_s=float(out_for_s))
        case _:
            return None


def _sealed(key: bytes, value: Mapping[str, object]) -> bytes:
    body = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return hmac.digest(key, body, "sha256") + body


def _opened(key: bytes, data: bytes) -> Any:  # noqa: ANN401  the callers match it
    mac, body = data[:_MAC_BYTES], data[_MAC_BYTES:]
    if len(data) > SIZE_MAX or not hmac.compare_digest(mac, hmac.digest(key, body, "sha256")):
        return None
    return json.loads(body)  # it is ours: a guard wrote it


# --- who asks -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Notebook:
    """Questions without an answer. `new_nonce`: 128 bits that nobody can guess, as hex."""

    key: bytes
    voters: tuple[str, ...]
    new_nonce: Callable[[], str]
    _pending: dict[str, tuple[str, float]] = field(default_factory=dict)  # nonce -> to, asked at

    def ask(self, asked_at_s: float) -> dict[str, bytes]:
        """A datagram for each of the ensemble, this node's own guard among them."""
        found = {}
        for to in self.voters:
            nonce = self.new_nonce()
            self._pending[nonce] = (to, asked_at_s)
            question = Question(nonce=nonce, to=to, voters=digest_of(self.voters))
            found[to] = write_question(self.key, question)
        while len(self._pending) > PENDING_MAX:
            del self._pending[next(iter(self._pending))]
        return found

    def take(self, data: bytes) -> tuple[Answer, float] | None:
        """The answer and when its question was asked, if it is one of ours; each counts once."""
        answer = read_answer(self.key, data)
        if answer is None or answer.nonce not in self._pending:
            return None
        to, asked_at_s = self._pending[answer.nonce]
        if answer.of != to:
            return None
        del self._pending[answer.nonce]
        return answer, asked_at_s


# --- who answers ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Out:
    """A server that is in no quorum: known since when, on CLOCK_BOOTTIME, and the mark of its disk."""

    since_s: float
    mark: str


@dataclass(slots=True)
class Witness:
    """What a coordinator's guard knows of its own server, by looking when it is asked.

    `mark` of the server's log says that nothing was written between two looks: a server that was part of
    a quorum in between has logged what it agreed to, or the epoch that it joined.
    """

    me: str
    voters: tuple[str, ...]
    key: bytes
    out: Out | None = None  # the next guard process of this boot goes on with it

    def answer(self, data: bytes, now_s: float, look: Callable[[], str | None]) -> bytes | None:
        """The datagram to send back; None where this is no question to us.

        Args:
            data: as it came.
            now_s: this machine's clock.
            look: the mark of a server that is in no quorum now; None for one that is, or may be.
        """
        question = read_question(self.key, data)
        if question is None or question.to != self.me or question.voters != digest_of(self.voters):
            return None
        mark = look()
        if mark is None:
            self.out = None
        elif self.out is None or mark != self.out.mark:
            self.out = Out(now_s, mark)
        out_for_s = 0.0 if self.out is None else now_s - self.out.since_s
        answer = Answer(
            nonce=question.nonce, of=self.me, is_out=self.out is not None, out_for_s=out_for_s
        )
        return write_answer(self.key, answer)
