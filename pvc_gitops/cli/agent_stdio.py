"""`pvc agent-stdio`: joins standard input and output to the agent's socket; what ssh runs on a node."""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import Final

import click

from pvc_gitops.errors import UsageError
from pvc_gitops.world.names import AGENT_SOCKET
from pvc_gitops.world.protocol import operator_line

CHUNK_BYTES: Final = 64 * 1024


@click.command(name="agent-stdio", hidden=True)
@click.option(
    "--operator", metavar="NAME", help="Whose key logged in; sshd's forced command says it."
)
def agent_stdio(operator: str | None) -> None:
    """Copy bytes both ways until either side ends."""
    join(AGENT_SOCKET, sys.stdin.fileno(), sys.stdout.fileno(), operator)


def join(path: str, source: int, sink: int, operator: str | None = None) -> None:
    """Until the agent hangs up. The end of the input is passed on.

    The operator is said before any byte of the other side's, so that nobody there can say another.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        try:
            agent.connect(path)
        except OSError as err:
            raise UsageError(
                f"the agent of this node does not answer: {err}",
                hint="systemctl status pvc-node-agent",
            ) from err
        if operator is not None:
            agent.sendall(operator_line(operator))
        threading.Thread(target=_send, args=(source, agent), daemon=True).start()
        while chunk := agent.recv(CHUNK_BYTES):
            view = memoryview(chunk)
            while view:
                view = view[os.write(sink, view) :]


def _send(source: int, agent: socket.socket) -> None:
    try:
        while chunk := os.read(source, CHUNK_BYTES):
            agent.sendall(chunk)
        agent.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the agent hung up first
