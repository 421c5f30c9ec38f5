"""A node stands still past the takeover and goes on: its QEMUs run, and nothing of theirs reaches a disk.

The worst that there is: its BMC is dead, its watchdog is broken and does not reset it, so lease and W
prove a death that did not happen, and its guard stands still for longer than its guests do. What is left
is Ceph's blocklist.
"""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cloud import Cloud, until
from test_watchdog import BACK_LIMIT_S, host_pid, wait_for_all

from pvc_gitops.lab.cgroup import of_lab

pytestmark = [pytest.mark.lab, pytest.mark.long]

VICTIM = "hv2"
ELSEWHERE_LIMIT_S = 120.0
LOOK_S = 25.0
THAWED_S = 12.0  # its QEMUs run for so long while nobody there kills them
# On a healthy node: what the counters' blocks hold, looked at faster than anybody writes.
READ = """
import json, sys, time
import rados, rbd
cluster = rados.Rados(conffile="/etc/ceph/ceph.conf", name="client.pvc")
cluster.connect(timeout=10)
pool = cluster.open_ioctx("vms")
images = {name: rbd.Image(pool, name, read_only=True) for name in sys.argv[2:]}
offsets = {name: image.overlap() for name, image in images.items()}
seen = {name: [] for name in images}
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    for name, image in images.items():
        words = image.read(offsets[name], 4096).split()
        if words[:1] == [b"counter"]:
            seen[name].append(int(words[1]))
    time.sleep(0.05)
print(json.dumps(seen))
"""


def freeze(cloud: Cloud, node: str, *, is_frozen: bool) -> None:
    group = of_lab(cloud.lab.paths.name) / node
    (group / "cgroup.freeze").write_text("1" if is_frozen else "0", encoding="ascii")
    wanted = f"frozen {int(is_frozen)}"
    until(
        wanted,
        10.0,
        lambda: wanted in (group / "cgroup.events").read_text(encoding="ascii").splitlines(),
    )


def ticks(pid: int) -> int:
    """What a process has run so far (proc_pid_stat(5), utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_node_that_goes_on_after_the_takeover_writes_nothing(cloud: Cloud) -> None:
    before = cloud.domains()
    lost = sorted(name for name, nodes in before.items() if nodes == [VICTIM])
    counted = {name: cloud.counter(name) for name in lost}
    all_images = cloud.on("hv1", "rbd", "ls", "vms").split()
    images = {
        name: image
        for name in lost
        if counted[name] > 0  # others have a disk without a counter
        for image in all_images
        if image.startswith(f"vm.{name}.root.")
    }
    assert images, (lost, counted, all_images)
    old = {
        name: host_pid(
            VICTIM, cloud, int(cloud.on(VICTIM, "cat", f"/run/libvirt/qemu/{name}.pid").strip())
        )
        for name in images
    }
    time.sleep(10.0)  # candidates have looked for longer than a lease

    node = cloud.lab.node(VICTIM)
    first = node.init_pid()
    assert first is not None
    guard = host_pid(VICTIM, cloud, cloud.main_pid(VICTIM, "pvc-guard"))
    agent = host_pid(VICTIM, cloud, cloud.main_pid(VICTIM, "pvc-node-agent"))
    stopped = (first, guard, agent)
    cloud.lab.bmc(VICTIM, on=False)
    cloud.lab.watchdog(VICTIM, on=False)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    freeze(cloud, VICTIM, is_frozen=True)
    others = [name for name in cloud.nodes() if name != VICTIM]

    def elsewhere() -> bool:
        found = {n for other in others for n in running(cloud, other)}
        return set(lost) <= found

    until("its guests run elsewhere", ELSEWHERE_LIMIT_S, elsewhere)
    for name in images:
        until(f"{name} counts on", BACK_LIMIT_S, lambda n=name: cloud.counter(n) > counted[n])
    with ThreadPoolExecutor(max_workers=1) as pool:
        reading = pool.submit(
            cloud.on, others[0], "python3", "-c", READ, str(LOOK_S), *images.values()
        )
        time.sleep(5.0)
        ran = {name: ticks(pid) for name, pid in old.items()}
        freeze(cloud, VICTIM, is_frozen=False)
        time.sleep(THAWED_S)
        for name, pid in old.items():
            assert ticks(pid) > ran[name], f"the old QEMU of {name} did not go on"
        seen = json.loads(reading.result())
    for name, image in images.items():
        numbers = seen[image]
        assert numbers == sorted(numbers), f"{name}: somebody else wrote: {numbers}"
        assert numbers[-1] > numbers[0], f"{name} stood still"
        print(f"{name}: {len(numbers)} looks, {numbers[0]} to {numbers[-1]}, nothing foreign")

    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    until("its guard ends them", 30.0, lambda: running(cloud, VICTIM) == set())
    cloud.lab.bmc(VICTIM, on=True)
    cloud.lab.watchdog(VICTIM, on=True)
    cloud.lab.power(VICTIM, "cycle")  # a mended watchdog is seen at the next boot
    wait_for_all(cloud, set(before))


def running(cloud: Cloud, node: str) -> set[str]:
    return set(cloud.on(node, "virsh", "-q", "list", "--name").split())
