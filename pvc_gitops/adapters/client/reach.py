"""Which node to ask, and by which way: DESIGN section 11's order."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, cast
from urllib.parse import urlsplit

import yaml

from pvc_gitops.adapters.client.client import Channel, Client
from pvc_gitops.errors import UsageError
from pvc_gitops.world.names import AGENT_SOCKET

CONNECT_S: Final = 5
# An agent that waits for its store answers within its own patience; one that hangs never does.
HELLO_S: Final = 15.0
SILENT_MAX: Final = 3  # unanswered questions of ssh's own, CONNECT_S apart: the node is gone
HINT: Final = (
    "name a node: --host ssh://pvc@NODE, PVC_HOST, or git config pvc.host; on a node itself --host"
    f" unix://{AGENT_SOCKET}"
)

STRANGER: Final = "Host key verification failed"  # ssh's words, which cannot ask anybody here
STRANGER_HINT: Final = (
    "your ssh does not know that node yet: ssh pvc@NODE once, and compare what it shows with"
    " ssh-keygen -lf /var/lib/pvc/ssh/ssh_host_ed25519_key.pub on the node"
)


def connect(host: str | None, repo: Path) -> Client:
    """A client of the first node that answers, and then of the next where that one falls away.

    Raises UsageError that says which were tried.
    """
    ways = Ways(list(candidates(host, repo)))
    return Client(ways.open(), ways.open)


@dataclass(slots=True)
class Ways:
    """Where to knock, in order."""

    places: list[str]

    def open(self) -> Channel:
        """To the first that answers. It is the last that is tried by the next call: who opens a second
        connection has lost the first. Raises UsageError that says which were tried."""
        tried: list[str] = []
        for each in tuple(self.places):
            try:
                channel = _open(each)
            except (OSError, UsageError) as err:
                tried.append(f"{each}: {err}")
                continue
            limit = threading.Timer(HELLO_S, channel.hang_up)
            limit.start()
            try:
                Client(channel).hello()
            except UsageError as err:
                channel.close()
                tried.append(f"{each}: {err}")
            else:
                self.places.remove(each)
                self.places.append(each)
                return channel
            finally:
                limit.cancel()
        if not tried:
            raise UsageError("which cluster? This folder's repository names no node", hint=HINT)
        is_stranger = any(STRANGER in each for each in tried)
        hint = STRANGER_HINT if is_stranger else HINT
        raise UsageError("no node answers:\n  " + "\n  ".join(tried), hint=hint)


def candidates(host: str | None, repo: Path) -> tuple[str, ...]:
    """Where to knock, in order. What a person names is the only one; several are split by commas."""
    named = host or os.environ.get("PVC_HOST") or _git_host(repo)
    if named:
        return tuple(each.strip() for each in named.split(",") if each.strip())
    return tuple(f"ssh://pvc@{address}" for address in _coordinators(repo))


def _git_host(repo: Path) -> str:
    command = ["git", "-C", str(repo), "config", "--get-all", "pvc.host"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""  # no git here
    return ",".join(done.stdout.split())


def _coordinators(repo: Path) -> list[str]:
    """Upstream addresses of the checkout's coordinators, as far as their files can be read.

    Not the loader: a checkout that is being edited need not be valid for `pvc status` to work.
    """
    found = []
    for path in sorted((repo / "nodes").glob("*.yaml")):
        try:
            spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
            if spec["role"] == "coordinator":
                found.append(str(spec["addresses"]["upstream"]))
        except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
            continue
    return found


def _open(host: str) -> Channel:
    parts = urlsplit(host)
    if parts.scheme == "unix":
        return UnixChannel(parts.path)
    if parts.scheme == "ssh" and parts.hostname and not parts.path.strip("/"):
        return SshChannel(parts.username, parts.hostname, parts.port)
    raise UsageError(f"{host!r} is neither ssh://[user@]NODE nor unix:///PATH", hint=HINT)


@dataclass(slots=True)
class UnixChannel:
    """A node's own socket, or a lab's."""

    name: str
    to: BinaryIO = field(init=False)
    back: BinaryIO = field(init=False)
    _socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(CONNECT_S)
        try:
            self._socket.connect(self.name)
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(None)
        self.to = self._socket.makefile("wb")
        self.back = self._socket.makefile("rb")

    def close(self) -> None:
        for each in (self.to, self.back):
            try:
                each.close()
            except OSError:
                continue  # what was still to be sent goes nowhere
        self._socket.close()

    def hang_up(self) -> None:
        with suppress(OSError):  # it has ended already
            self._socket.shutdown(socket.SHUT_RDWR)

    def last_words(self) -> str:
        return ""


class SshChannel:
    """The system's ssh, with its agent, its configuration and its known hosts; the forced command
    `pvc agent-stdio` on the other side, named here for accounts that are not forced."""

    def __init__(self, user: str | None, host: str, port: int | None) -> None:
        self.name = f"ssh://{user + '@' if user else ''}{host}"
        self._process = subprocess.Popen(
            ssh_command(user, host, port),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.to = cast("BinaryIO", self._process.stdin)
        self.back = cast("BinaryIO", self._process.stdout)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def hang_up(self) -> None:
        self._process.kill()

    def last_words(self) -> str:
        self._process.kill()
        _, said = self._process.communicate()
        return said.decode(errors="replace").strip()


def ssh_command(user: str | None, host: str, port: int | None) -> Sequence[str]:
    # BatchMode: nobody is there to type a password between two lines of a protocol.
    command = ["ssh", "-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}"]
    # A node without power says no good-bye, and ssh would wait for it for ever.
    command += ["-o", f"ServerAliveInterval={CONNECT_S}", "-o", f"ServerAliveCountMax={SILENT_MAX}"]
    if port is not None:
        command += ["-p", str(port)]
    if user is not None:
        command += ["-l", user]
    return [*command, "--", host, "pvc", "agent-stdio"]
