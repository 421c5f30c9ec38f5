"""The agent's socket: threads that read questions and write answers, and know nothing of either.

A thread a connection parses lines and waits; the deciding thread takes the questions (`take`) at its
ticks and answers them when it likes, so that it alone touches what the controllers remember. Who may
connect is the socket's mode; who asks is its first line, which only our own account may leave out.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pvc_gitops.model.codec import encode
from pvc_gitops.model.values import replace
from pvc_gitops.world.protocol import Question, parse_operator, parse_question

CONNECTIONS_MAX: Final = 32  # people and programs of one site; each may follow one apply
QUESTION_BYTES_MAX: Final = 1024 * 1024  # the longest question names a commit
ANSWERS_MAX: Final = 1000  # events that a reader leaves unread before it counts as gone
SEND_S: Final = 10.0
CREDENTIALS: Final = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


class Ask:
    """A question in the hands of the deciding thread. Its answer is exactly one `value` or `error`."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self._answers: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=ANSWERS_MAX)
        self._gone = threading.Event()

    @property
    def is_gone(self) -> bool:
        """The other side has hung up, or does not read: nobody waits for an answer."""
        return self._gone.is_set()

    def value(self, value: object) -> None:
        self._put("value", value)

    def error(self, code: str, message: str, hint: str = "") -> None:
        self._put("error", {"code": code, "message": message, "hint": hint})

    def event(self, event: object) -> None:
        """Any number before the answer."""
        self._put("event", event)

    def _put(self, kind: str, value: object) -> None:
        try:
            self._answers.put_nowait((kind, value))
        except queue.Full:
            self._gone.set()


class AgentSocket:
    """Listens from its making on. `wake` is called when a question has come.

    `group` may connect too, besides our own account; its members must say which operator they are.
    """

    def __init__(self, path: Path, wake: Callable[[], None], *, group: str | None = None) -> None:
        self._wake = wake
        self._inbox: queue.SimpleQueue[Ask] = queue.SimpleQueue()
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of a process before; systemd runs one at a time
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o117)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(before)
        if group is not None:
            shutil.chown(path, group=group)
        self._listener.listen(CONNECTIONS_MAX)
        threading.Thread(target=self._accept, name="socket", daemon=True).start()

    def take(self) -> list[Ask]:
        """The questions that came since the last call."""
        found = []
        while True:
            try:
                found.append(self._inbox.get_nowait())
            except queue.Empty:
                return found

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            if not self._slots.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(
                target=self._serve, args=(connection,), name="client", daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as lines:
                raw = lines.readline(QUESTION_BYTES_MAX)  # a longer one parses as broken
                operator = parse_operator(raw)
                if operator is not None:
                    raw = lines.readline(QUESTION_BYTES_MAX)
                elif raw and not _is_ours(connection):
                    message = "this account must say which operator it acts for"
                    hint = "connect as pvc agent-stdio --operator does: world/protocol.py"
                    _refuse(connection, "no-operator", message, hint)
                    return
                while raw and self._answer(connection, raw, operator):
                    raw = lines.readline(QUESTION_BYTES_MAX)
        except OSError:
            return  # hung up
        finally:
            self._slots.release()

    def _answer(self, connection: socket.socket, raw: bytes, operator: str | None) -> bool:
        """Whether the connection goes on."""
        try:
            question = replace(parse_question(raw), operator=operator)
        except ValueError as err:
            _refuse(connection, "bad-question", str(err), "see world/protocol.py")
            return False
        ask = Ask(question)
        self._inbox.put(ask)
        self._wake()
        return self._pass_on(connection, ask)

    def _pass_on(self, connection: socket.socket, ask: Ask) -> bool:
        while True:
            try:
                kind, value = ask._answers.get(timeout=1.0)  # noqa: SLF001  one room, one file
            except queue.Empty:
                if ask.is_gone or _has_hung_up(connection):
                    ask._gone.set()  # noqa: SLF001
                    return False
                continue
            try:
                _send(connection, {"id": ask.question.id, kind: value})
            except OSError:
                ask._gone.set()  # noqa: SLF001
                return False
            if kind != "event":
                return True


def _is_ours(connection: socket.socket) -> bool:
    """Whether our own account connected: root, on a node."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    _, uid, _ = CREDENTIALS.unpack(raw)
    return bool(uid == os.geteuid())


def _refuse(connection: socket.socket, code: str, message: str, hint: str) -> None:
    _send(connection, {"id": None, "error": {"code": code, "message": message, "hint": hint}})


def _send(connection: socket.socket, value: object) -> None:
    # Values are encoded here and not by the deciding thread: an inventory may have megabytes.
    connection.settimeout(SEND_S)
    connection.sendall(json.dumps(encode(value), separators=(",", ":")).encode() + b"\n")
    connection.settimeout(None)


def _has_hung_up(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
