"""A node stands still past the takeover and goes on: its QEMUs run, and nothing of theirs reaches a disk.

The worst that there is: its BMC is dead, its watchdog is broken and does not reset it, so lease and W
prove a death that did not happen, and its guard stands still for longer than its guests do. What is left
is Ceph's blocklist.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from cloud import Cloud, until
from faults import host_pid, unharmed

from pvc_gitops.lab.cgroup import of_lab
from pvc_gitops.lab.process import is_dead

pytestmark = [pytest.mark.lab, pytest.mark.long]

VICTIM = "hv2"
ELSEWHERE_LIMIT_S = 120.0
LET_IN_S = 90.0
THAWED_S = 12.0  # its QEMUs run for so long while nobody there kills them


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
    assert lost, before
    old = {
        name: host_pid(
            VICTIM, cloud, int(cloud.on(VICTIM, "cat", f"/run/libvirt/qemu/{name}.pid").strip())
        )
        for name in lost
    }
    node = cloud.lab.node(VICTIM)
    first = node.init_pid()
    assert first is not None
    others = [name for name in cloud.nodes() if name != VICTIM]
    with unharmed(cloud, others[0]) as disks:
        time.sleep(10.0)  # candidates have looked for longer than a lease
        guard = host_pid(VICTIM, cloud, cloud.main_pid(VICTIM, "pvc-guard"))
        agent = host_pid(VICTIM, cloud, cloud.main_pid(VICTIM, "pvc-node-agent"))
        still = (first, guard, agent)
        cloud.lab.bmc(VICTIM, on=False)
        cloud.lab.watchdog(VICTIM, on=False)
        for pid in still:
            os.kill(pid, signal.SIGSTOP)
        freeze(cloud, VICTIM, is_frozen=True)

        def elsewhere() -> bool:
            return set(lost) <= {n for other in others for n in running(cloud, other)}

        until("its guests run elsewhere", ELSEWHERE_LIMIT_S, elsewhere)
        disks.wait_until_all_count()
        ran = {name: ticks(pid) for name, pid in old.items()}
        freeze(cloud, VICTIM, is_frozen=False)
        time.sleep(THAWED_S)
        for name, pid in old.items():
            assert ticks(pid) > ran[name], f"the old QEMU of {name} did not go on"
        disks.wait_until_all_count()
        assert not disks.foreign()

        # The addresses are let in again by the cluster itself, and only when the old ones are gone.
        assert ":0/0" in blocked(cloud, others[0])
        for pid in still:
            os.kill(pid, signal.SIGCONT)
        until("its guard ends them", 30.0, lambda: running(cloud, VICTIM) == set())
        assert all(is_dead(pid) for pid in old.values())
        cloud.lab.bmc(VICTIM, on=True)
        until("it is let in again", LET_IN_S, lambda: ":0/0" not in blocked(cloud, others[0]))
        disks.wait_until_all_count()
        assert not disks.foreign()
        cloud.lab.watchdog(VICTIM, on=True)
        cloud.lab.power(VICTIM, "cycle")  # a mended watchdog is seen at the next boot


def running(cloud: Cloud, node: str) -> set[str]:
    return set(cloud.on(node, "virsh", "-q", "list", "--name").split())


def blocked(cloud: Cloud, node: str) -> str:
    return cloud.on(node, "ceph", "osd", "blocklist", "ls")
