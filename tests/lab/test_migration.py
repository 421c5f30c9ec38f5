"""Guests on their way on the real stack: libvirt's migrations, the two owners, a node that is emptied.

A third node pings the guest every 10 ms all the way; the largest gap is printed. A connection that a
client outside opened before, and on which nothing was said, is answered after. The budget is a second on
a machine of its own; the limit here is for two cores that emulate six guests beside three nodes.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from cloud import ANSWER_LIMIT_S, Cloud, until

from pvc_gitops.lab import network

pytestmark = pytest.mark.lab

PING_S = 0.01
GAP_LIMIT_S = 15.0
MOVED_LIMIT_S = 120.0
# Outside: a connection on which nothing is said until input ends; then what is answered.
IDLE = """
import socket, sys
with socket.create_connection((sys.argv[1], 80), timeout=20) as there:
    print("connected", flush=True)
    sys.stdin.read()
    there.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print(there.makefile().read().split("\\n")[-2], flush=True)
"""
_REPLY = re.compile(r"^\[([0-9.]+)\].*icmp_seq=", re.MULTILINE)


@dataclass
class Gap:
    """The longest time without an answer."""

    seconds: float = 0.0
    replies: int = 0


@contextmanager
def pinged(cloud: Cloud, node: str, address: str) -> Iterator[Gap]:
    """Ping an address from a node as long as the block lasts."""
    found, log = Gap(), f"/run/ping-{address}.log"
    unit = f"ping-{address.replace('.', '-')}"
    line = f"exec ping -D -n -i {PING_S} {address} > {log}"
    cloud.on(node, "systemd-run", "-q", "--unit", unit, "sh", "-c", line)
    time.sleep(1.0)
    try:
        yield found
        time.sleep(1.0)
    finally:
        cloud.on(node, "systemctl", "stop", unit)
        text = cloud.on(node, "cat", log)
        cloud.on(node, "rm", log)
    times = [float(t) for t in _REPLY.findall(text)]
    found.replies = len(times)
    found.seconds = max((b - a for a, b in itertools.pairwise(times)), default=99.0)


@contextmanager
def silent_connection(cloud: Cloud, node: str, address: str) -> Iterator[list[str]]:
    """A client outside is connected by way of a node, and asks only when the block has ended."""
    up = next(n for n in cloud.lab.topology().nodes if n.name == node).nic("upstream").address
    network.ip(cloud.lab.paths, [f"route replace {address} via {up.partition('/')[0]}"])
    said: list[str] = []
    try:
        with subprocess.Popen(
            cloud.lab.outside([sys.executable, "-c", IDLE, address]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as client:  # fmt: skip
            assert client.stdout is not None
            assert client.stdout.readline() == "connected\n"
            yield said
            said.append(client.communicate("", timeout=ANSWER_LIMIT_S)[0])
    finally:
        network.ip(cloud.lab.paths, [f"route del {address}"])


def left_on(cloud: Cloud, node: str) -> list[str]:
    return [name for name, nodes in cloud.domains().items() if node in nodes]


def other(cloud: Cloud, *nodes: str) -> str:
    return next(node for node in cloud.nodes() if node not in nodes)


def test_a_guest_moves_alive_and_answers_all_the_way(cloud: Cloud) -> None:
    source = cloud.owner("web1")
    to = other(cloud, source)
    counted, address = cloud.counter("web1"), cloud.address("web1")
    marks = cloud.console("web1").count("PVC-GUEST-READY")
    with pinged(cloud, other(cloud, source, to), address) as gap:
        said = cloud.pvc("vm", "migrate", "web1", to)
    print(
        f"moved {source} -> {to}: longest gap {gap.seconds * 1000:.0f} ms of {gap.replies} replies"
    )
    assert f"vm/web1 is running on {to}" in said
    assert cloud.domains()["web1"] == [to]
    assert cloud.console("web1").count("PVC-GUEST-READY") in (0, marks)  # it did not boot again
    assert gap.seconds <= GAP_LIMIT_S
    assert cloud.counter("web1") >= counted


@pytest.mark.long
def test_a_connection_without_a_word_outlasts_a_move(cloud: Cloud) -> None:
    source = cloud.owner("web1")
    to = other(cloud, source)
    with silent_connection(cloud, other(cloud, source, to), cloud.address("web1")) as told:
        cloud.pvc("vm", "migrate", "web1", to)
    assert json.loads(told[0])["hostname"] == "web1"


def test_a_node_is_emptied_and_gets_back_who_left(cloud: Cloud) -> None:
    node = cloud.owner("web1")
    before = sorted(left_on(cloud, node))
    counted = {name: cloud.counter(name) for name in before}
    address, watcher = cloud.address("web1"), other(cloud, node)
    try:
        with pinged(cloud, watcher, address) as gap:
            said = cloud.pvc("node", "drain", node, "--wait", "--reason", "more memory")
        print(f"drained {node}: longest gap of web1 {gap.seconds * 1000:.0f} ms\n{said}")
        assert f"{node} is empty" in said
        assert left_on(cloud, node) == []
        assert gap.seconds <= GAP_LIMIT_S
        assert all(len(nodes) == 1 for nodes in cloud.domains().values())
    except BaseException:
        cloud.pvc("node", "undrain", node)  # the stories after this one need their room
        raise
    with pinged(cloud, watcher, address) as gap:
        cloud.pvc("node", "undrain", node)
        until("all are back", MOVED_LIMIT_S, lambda: sorted(left_on(cloud, node)) == before)
        until("all run", MOVED_LIMIT_S, lambda: cloud.running() == set(cloud.status()["guests"]))
    print(f"undrained {node}: longest gap of web1 {gap.seconds * 1000:.0f} ms")
    assert gap.seconds <= GAP_LIMIT_S
    for name in before:
        assert cloud.counter(name) >= counted[name], name


def test_an_agent_of_the_destination_that_dies_amid_a_move_loses_nothing(cloud: Cloud) -> None:
    source = cloud.owner("web1")
    to, counted = other(cloud, source), cloud.counter("web1")
    cloud.pvc("vm", "migrate", "web1", to, "--no-wait")
    until(
        "it is on its way",
        MOVED_LIMIT_S,
        lambda: cloud.status()["guests"]["web1"]["incoming"] == to or cloud.owner("web1") == to,
    )
    cloud.on(to, "systemctl", "kill", "-s", "KILL", "pvc-node-agent")
    until("it has arrived", MOVED_LIMIT_S, lambda: cloud.domains().get("web1") == [to])
    until("it runs", MOVED_LIMIT_S, lambda: "web1" in cloud.running())
    assert cloud.owner("web1") == to
    assert cloud.counter("web1") >= counted
