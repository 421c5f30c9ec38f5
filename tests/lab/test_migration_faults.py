"""A guest on its way, and something dies: in five phases its source, its destination, the cable between
them, and the store. Whatever it is, the guest runs once in the end, with all that it had written.

What is seen on a node is told to this process, which then pulls the plug: a phase that lasts milliseconds
may be over by then, and the next is hit. They are hit exactly in `tests/sim/test_migrations.py`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from cloud import Cloud, until
from faults import fenced, host_pid, now, unharmed

from pvc_gitops.lab.node import environment

pytestmark = [pytest.mark.lab, pytest.mark.long]

GUEST = "web1"
SEEN_LIMIT_S = 120.0
SILENT_S = 4.0
PULLED_S = 15.0
ORDERED, COPIED, GONE, HANDED, GOING = "ordered", "copied", "gone", "handed over", "going on"
# On a node: say one word when the phase is there.
LOOK = """
import json, sys, time
import libvirt
from kazoo.client import KazooClient
phase, guest, to = sys.argv[1:]
password = open("/etc/pvc/zookeeper.password").read().strip()
login = {"mechanism": "DIGEST-MD5", "username": "pvc", "password": password}
store = KazooClient(hosts="127.0.0.1:2181", timeout=6.0, sasl_options=login)
store.start(timeout=10)
here = libvirt.openReadOnly("qemu:///system")
def state():
    for domain in here.listAllDomains():
        if domain.name() == guest:
            return domain.state()[0]
    return None
def placement():
    return json.loads(store.get("/pvc/placement/" + guest)[0])
is_there = {
    "ordered": lambda: placement().get("incoming") == to,
    "copied": lambda: state() is not None,
    "gone": lambda: state() is None,
    "handed over": lambda: placement()["owner"] == to,
    "going on": lambda: state() == libvirt.VIR_DOMAIN_RUNNING,
}[phase]
print("looking", flush=True)
while not is_there():
    time.sleep(0.005)
print("there", flush=True)
"""


def power_of(which: int) -> Callable[[Cloud, tuple[str, str]], None]:
    def cut(cloud: Cloud, ends: tuple[str, str]) -> None:
        cloud.lab.power(ends[which], "off")

    return cut


def cable(cloud: Cloud, ends: tuple[str, str]) -> None:
    cloud.lab.link(ends[0], ["cluster"], on=False)
    time.sleep(PULLED_S)
    cloud.lab.link(ends[0], ["cluster"], on=True)


def store(cloud: Cloud, ends: tuple[str, str]) -> None:
    del ends
    pids = [host_pid(n, cloud, cloud.main_pid(n, "zookeeper")) for n in cloud.nodes()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(SILENT_S)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def withdraw(cloud: Cloud) -> None:
    """End the order to move it, if it stands."""
    for intent in json.loads(cloud.pvc("intent", "list", "-o", "json")):
        if intent["kind"] == "migrate":
            cloud.pvc("intent", "end", intent["id"])


def is_on_its_way(cloud: Cloud) -> bool:
    return bool(cloud.status()["guests"][GUEST]["incoming"])


FAULTS = {"source": power_of(0), "destination": power_of(1), "cable": cable, "store": store}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("phase", [ORDERED, COPIED, GONE, HANDED, GOING])
def test_a_move_in_which_something_dies(cloud: Cloud, phase: str, fault: str) -> None:
    source = cloud.owner(GUEST)
    to, watcher = (node for node in cloud.nodes() if node != source)
    began = now()
    with unharmed(cloud, watcher):
        at = {COPIED: to, GONE: source, GOING: to}.get(phase, watcher)
        with subprocess.Popen(
            cloud.lab.node(at).enter(["python3", "-c", LOOK, phase, GUEST, to]),
            stdout=subprocess.PIPE, text=True, env=environment(),
        ) as looking:  # fmt: skip
            assert looking.stdout is not None
            assert looking.stdout.readline() == "looking\n"
            cloud.pvc("vm", "migrate", GUEST, to, "--no-wait")
            assert looking.stdout.readline() == "there\n", "it never came to that"
            FAULTS[fault](cloud, (source, to))
    withdraw(cloud)  # a move that failed is tried again
    until("it is not on its way", SEEN_LIMIT_S, lambda: not is_on_its_way(cloud))
    owner = cloud.owner(GUEST)
    assert cloud.domains()[GUEST] == [owner]
    allowed = {"source": {source}, "destination": {to}, "cable": {source}}.get(fault, set())
    names = {text.split()[0] for text in fenced(cloud, began)}
    assert names <= allowed, names
    print(f"{phase}, {fault}: {source} -> {to}, runs on {owner}; fenced: {sorted(names)}")
