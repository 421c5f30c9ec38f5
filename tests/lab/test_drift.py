"""What a change costs a running guest, and what becomes of what somebody does by hand."""

from __future__ import annotations

import json
import re
import time

import pytest
from cloud import Cloud, until

pytestmark = pytest.mark.lab

GUEST = "app1"
FILE = f"vms/{GUEST}.yaml"
HEALED_S = 100.0  # what others change in a definition is read again within a minute
RESTARTED_S = 120.0
READY, TICK = "PVC-GUEST-READY", "PVC-GUEST-TICK"


def virsh(cloud: Cloud, *argv: str) -> str:
    return cloud.on(cloud.owner(GUEST), "virsh", "-q", *argv)


def starts(cloud: Cloud) -> int:
    return int(cloud.status()["guests"][GUEST]["starts"])


def memory_kib(cloud: Cloud) -> int:
    return int(re.findall(r"Max memory:\s+(\d+)", virsh(cloud, "dominfo", GUEST))[0])


def cards(cloud: Cloud) -> set[str]:
    return set(re.findall(r"ua-nic-([a-z0-9-]+)", virsh(cloud, "dumpxml", GUEST)))


def told_mib(cloud: Cloud, disk: str) -> int:
    """As QEMU has told the guest."""
    for block in virsh(cloud, "dumpxml", GUEST).split("<disk ")[1:]:
        if f"ua-disk-{disk}'" in block or f'ua-disk-{disk}"' in block:
            handle = re.findall(r"<target dev=['\"](\w+)", block)[0]
            info = virsh(cloud, "domblkinfo", GUEST, handle)
            return int(re.findall(r"Capacity:\s+(\d+)", info)[0]) // 2**20
    raise AssertionError(f"no disk {disk}")


def waiting(cloud: Cloud) -> list[str]:
    return [what for of, what, _ in cloud.status()["waiting"] if of == f"vm/{GUEST}"]


def test_disks_and_cards_come_grow_and_go_while_the_guest_runs(cloud: Cloud) -> None:
    # An earlier story may have restarted it, and a guest that has not booted does not let go of
    # a card: a new tick says that it has.
    ticks = cloud.console(GUEST).count(TICK)
    until("it has booted", RESTARTED_S, lambda: cloud.console(GUEST).count(TICK) > ticks)
    as_it_was, lives, boots = cloud.read(FILE), starts(cloud), cloud.console(GUEST).count(READY)
    grown = as_it_was.replace("size: 64MiB", "size: 96MiB").replace(
        "image: tiny-guest}", "image: tiny-guest}\n    - {name: more, pool: vms, size: 32MiB}"
    )
    cloud.write(FILE, grown.replace("    - {network: db}\n", ""))
    cloud.commit_and_push("app1: a larger disk, one more, a card less")
    said = cloud.pvc("plan", ok=(0, 2))
    assert "live" in said or "Nothing to do" in said
    cloud.pvc("apply", "--yes")
    assert told_mib(cloud, "root") == 96
    assert told_mib(cloud, "more") == 32
    assert cards(cloud) == {"app"}

    cloud.write(FILE, as_it_was.replace("size: 64MiB", "size: 96MiB"))
    cloud.commit_and_push("app1: without the disk, with the card")
    cloud.pvc("apply", "--yes")
    assert cards(cloud) == {"app", "db"}
    assert "ua-disk-more" not in virsh(cloud, "dumpxml", GUEST)
    assert starts(cloud) == lives
    assert cloud.console(GUEST).count(READY) == boots  # it has not booted again
    ticks = cloud.console(GUEST).count(TICK)
    until("it runs on", HEALED_S, lambda: cloud.console(GUEST).count(TICK) > ticks)
    assert "Nothing to do" in cloud.pvc("plan")


def test_a_card_that_somebody_unplugs_is_plugged_in_again(cloud: Cloud) -> None:
    assert cards(cloud) == {"app", "db"}
    virsh(cloud, "detach-device-alias", GUEST, "ua-nic-db", "--live")
    until("the journal tells of the healing", HEALED_S, lambda: _healed(cloud))
    until("it is back", HEALED_S, lambda: cards(cloud) == {"app", "db"})


def _healed(cloud: Cloud) -> bool:
    said = cloud.on(
        cloud.owner(GUEST), "journalctl", "--no-pager", "-u", "pvc-node-agent", "--since", "-3min"
    )
    return "drift_healed" in said


def test_what_waits_for_a_restart_is_shown_until_an_operator_restarts_it(cloud: Cloud) -> None:
    as_it_was, lives = cloud.read(FILE), starts(cloud)
    cloud.write(FILE, as_it_was.replace("memory: 96MiB", "memory: 112MiB"))
    cloud.commit_and_push("app1: more memory")
    cloud.pvc("apply", "--yes")
    assert memory_kib(cloud) == 96 * 1024
    until("status says so", HEALED_S, lambda: any("96MiB -> 112MiB" in w for w in waiting(cloud)))
    assert cloud.try_pvc("plan").returncode == 0
    said = cloud.pvc("vm", "restart", GUEST, "--reason", "memory")
    assert f"vm/{GUEST} runs on" in said
    assert memory_kib(cloud) == 112 * 1024
    assert starts(cloud) == lives + 1
    until("nothing waits", HEALED_S, lambda: not waiting(cloud))
    time.sleep(15)  # a planner that saw an old report would restart it again
    assert starts(cloud) == lives + 1


def test_a_reboot_from_inside_brings_what_waits(cloud: Cloud) -> None:
    cloud.marker(GUEST)
    lives, text = starts(cloud), cloud.read(FILE)
    cloud.write(FILE, text.replace("memory: 112MiB", "memory: 96MiB"))
    cloud.commit_and_push("app1: less memory again")
    cloud.pvc("apply", "--yes")
    assert memory_kib(cloud) == 112 * 1024
    until(
        "a reboot ends it",
        HEALED_S,
        lambda: "<on_reboot>destroy<" in virsh(cloud, "dumpxml", GUEST),
    )
    # What a guest does that resets its machine: the tiny one has no keyboard to be asked by.
    virsh(cloud, "qemu-monitor-command", GUEST, "--hmp", "o /b 0xcf9 0x06")
    until("it was started anew", RESTARTED_S, lambda: starts(cloud) == lives + 1)
    cloud.wait_running({path.stem for path in (cloud.clone / "vms").glob("*.yaml")})
    assert memory_kib(cloud) == 96 * 1024
    until("nothing waits", HEALED_S, lambda: not waiting(cloud))


def test_a_guest_is_stopped_and_started_for_the_moment(cloud: Cloud) -> None:
    assert "is stopped" in cloud.pvc("vm", "stop", GUEST, "--for", "1h", "--reason", "disk check")
    assert GUEST not in cloud.domains()
    assert any("held stopped" in what for what in waiting(cloud))
    assert json.loads(cloud.pvc("intent", "list", "-o", "json"))
    assert "runs on" in cloud.pvc("vm", "start", GUEST)
    assert list(cloud.domains()).count(GUEST) == 1
