"""What stories of faults share: who leads, how a process is stopped, and how each of them ends.

`unharmed` is that end: every node is back, every guest runs once, and the numbers that guests write on
their own disks have only grown. They are read on the disks themselves, by a node that the fault spares.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from cloud import Cloud, until

from pvc_gitops.lab.cgroup import of_lab
from pvc_gitops.lab.node import environment

BACK_LIMIT_S = 300.0
COUNTED_BY_S = 20.0  # after another one
COUNTS_LIMIT_S = 240.0  # a guest that boots under emulation beside five others
END_LIMIT_S = 60.0
BUSY = "while True: pass"
# On a node: one line `IMAGE SECONDS NUMBER` whenever what a guest has written changes, until input ends.
READ = """
import os, sys, threading, time
import rados, rbd
cluster = rados.Rados(conffile="/etc/ceph/ceph.conf", name="client.pvc")
cluster.connect(timeout=10)
pool = cluster.open_ioctx("vms")
def look(name):
    image, last = rbd.Image(pool, name, read_only=True), None
    try:
        offset = image.overlap()
    except rbd.ImageNotFound:  # it has no parent: a blank disk
        return
    if image.size() < offset + 4096:
        return
    while True:
        time.sleep(0.1)
        words = image.read(offset, 4096).split()
        if words[:1] == [b"counter"] and words[1] != last:
            last = words[1]
            print(name, time.monotonic(), int(last), flush=True)
for name in sys.argv[1:]:
    threading.Thread(target=look, args=(name,), daemon=True).start()
sys.stdin.read()
os._exit(0)
"""


@dataclass
class Disks:
    """What was seen on the guests' disks, as it is seen."""

    images: dict[str, str]  # guest -> image
    seen: dict[str, list[tuple[float, int]]] = field(default_factory=dict)  # when, which number

    def count(self, guest: str) -> int:
        return len(self.seen.get(guest, ()))

    def wait_until_all_count(self) -> None:
        """Every guest writes two more numbers."""
        before = {guest: self.count(guest) for guest in self.images}
        for guest, count in before.items():
            until(
                f"{guest} writes on its disk",
                COUNTS_LIMIT_S,
                lambda g=guest, c=count: self.count(g) >= c + 2,
            )

    def gap_s(self, guest: str) -> float:
        """The longest time without a new number; they come once a second at best."""
        return max((b[0] - a[0] for a, b in pairwise(self.seen[guest])), default=0.0)

    def foreign(self) -> dict[str, list[int]]:
        """Guests whose numbers went back: somebody else has written, or data is lost."""
        numbers = {guest: [number for _, number in seen] for guest, seen in self.seen.items()}
        return {guest: found for guest, found in numbers.items() if found != sorted(found)}

    def follow(self, lines: Iterator[str]) -> None:
        names = {image: guest for guest, image in self.images.items()}
        for line in lines:
            image, at_s, number = line.split()
            self.seen.setdefault(names[image], []).append((float(at_s), int(number)))


@contextmanager
def disks_watched(cloud: Cloud, node: str, guests: Sequence[str]) -> Iterator[Disks]:
    """Look at the guests' disks from a node for as long as the block lasts."""
    there = cloud.on(node, "rbd", "ls", "vms").split()
    found = {g: next(i for i in there if i.startswith(f"vm.{g}.root.")) for g in guests}
    disks = Disks(found)
    with subprocess.Popen(
        cloud.lab.node(node).enter(["python3", "-c", READ, *found.values()]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        reader = threading.Thread(target=disks.follow, args=(process.stdout,))
        reader.start()
        try:
            _keep_who_counts(disks)
            yield disks
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(END_LIMIT_S)
            reader.join(END_LIMIT_S)


def _keep_who_counts(disks: Disks) -> None:
    """Some guests of other stories have no room on their disks for a counter; others still boot."""
    until("a guest counts", COUNTS_LIMIT_S, lambda: disks.seen)
    known, end_s = 0, 0.0
    while len(disks.seen) < len(disks.images):
        if len(disks.seen) > known:
            known, end_s = len(disks.seen), time.monotonic() + COUNTED_BY_S
        if time.monotonic() > end_s:
            break
        time.sleep(0.2)
    disks.images = {guest: image for guest, image in disks.images.items() if guest in disks.seen}
    disks.wait_until_all_count()


@contextmanager
def unharmed(cloud: Cloud, watcher: str) -> Iterator[Disks]:
    """Around a fault that spares `watcher`. Before: all is well. After: all is well again, every guest
    runs once, goes on counting where it was, and nobody else has written."""
    before = set(cloud.domains())
    wait_for_all(cloud, before)
    with disks_watched(cloud, watcher, sorted(before)) as disks:
        yield disks
        wait_for_all(cloud, before)
        disks.wait_until_all_count()
    assert not disks.foreign()
    assert_whole_boots(cloud)
    gaps = ", ".join(f"{guest} {disks.gap_s(guest):.1f}" for guest in sorted(disks.images))
    print(f"nothing foreign on any disk; longest time without a write, s: {gaps}")


def assert_whole_boots(cloud: Cloud) -> None:
    """systemd breaks a cycle of orders by leaving somebody out, another one at each boot."""
    for node in cloud.nodes():
        said = cloud.lab.node(node).paths.console.read_text(encoding="utf-8", errors="replace")
        assert "ordering cycle" not in said, f"{node} left out a service when it booted"


def wait_for_all(cloud: Cloud, names: set[str]) -> None:
    """Every node is back, every guest runs once, and storage is whole."""

    def is_well() -> bool:
        status = cloud.status()
        return (
            all(node["state"] == "online" for node in status["nodes"].values())
            and {n for n, g in status["guests"].items() if g["state"] == "running"} == names
            and status["storage"]["health"] == "HEALTH_OK"
        )

    # The cluster shows a node that has just lost its power as it was heard last.
    machines = [cloud.lab.node(name) for name in cloud.nodes()]
    until("every machine is on", BACK_LIMIT_S, lambda: all(m.init_pid() for m in machines))
    until("all nodes are back, all guests run, storage is whole", BACK_LIMIT_S, is_well)
    until(
        "every guest runs once",
        BACK_LIMIT_S,
        lambda: (
            (found := cloud.domains()).keys() == names
            and all(len(nodes) == 1 for nodes in found.values())
        ),
    )


def lives(cloud: Cloud, nodes: Sequence[str]) -> dict[str, str]:
    """The incarnation of each node, as its guard has it."""
    return {
        node: json.loads(cloud.on(node, "cat", "/run/pvc/guard.json"))["incarnation"]
        for node in nodes
    }


def fullest(cloud: Cloud) -> str:
    """The node that runs most guests."""
    homes = [nodes[0] for nodes in cloud.domains().values()]
    return max(cloud.nodes(), key=homes.count)


def store_leader(cloud: Cloud) -> str:
    """Whose ZooKeeper leads."""
    ask = "exec 3<>/dev/tcp/127.0.0.1/2181; printf srvr >&3; timeout 2 cat <&3"

    def look() -> str:
        for node in cloud.nodes():
            if "Mode: leader" in cloud.on(node, "bash", "-c", ask, ok=(0, 1, 124)):
                return node
        return ""

    return str(until("a ZooKeeper server leads", 30.0, look))


def now() -> str:
    """As `acts` takes it."""
    return datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def acts(cloud: Cloud, since: str) -> list[str]:
    """What the cluster has done of its own since then."""
    entries = json.loads(cloud.pvc("history", "--since", since, "-o", "json", "-n", "1000"))
    return [entry["text"] for entry in entries if entry["kind"] == "act"]


def fenced(cloud: Cloud, since: str) -> list[str]:
    """Whom it has begun to fence since then, and why."""
    return [text for text in acts(cloud, since) if "fencing it" in text]


@contextmanager
def busy_cores() -> Iterator[None]:
    """As many processes as there are cores want all of them."""
    argv = [sys.executable, "-c", BUSY]
    burning = [subprocess.Popen(argv) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


@contextmanager
def stopped(cloud: Cloud, node: str, unit: str) -> Iterator[int]:
    """The main process of a unit stands still for as long as the block lasts."""
    inside = cloud.main_pid(node, unit)
    pid = host_pid(node, cloud, inside)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield inside
    finally:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            print(f"{unit} of {node} was replaced meanwhile")


def host_pid(node: str, cloud: Cloud, inside: int) -> int:
    """A process of a node as the host numbers it."""
    group = of_lab(cloud.lab.paths.name) / node
    for procs in group.rglob("cgroup.procs"):
        for pid in procs.read_text(encoding="ascii").split():
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
            numbers = next(ln for ln in status.splitlines() if ln.startswith("NSpid:")).split()[1:]
            if len(numbers) > 1 and numbers[-1] == str(inside):
                return int(pid)
    raise AssertionError(f"{node} has no process {inside}")
