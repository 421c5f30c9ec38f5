"""The watchdog on the real stack: a machine whose guard is silent is reset, a guard that only hangs or is
replaced costs nothing, and with host and BMC dead together its W proves the death."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from cloud import Cloud, until
from faults import host_pid, wait_for_all

pytestmark = pytest.mark.lab

VICTIM = "hv3"
WAITS_S = 10.0
RESET_LIMIT_S = 16.0  # W, the last petting a quarter of a second before, and the switch
WITHOUT_BMC_S = 35.0  # host and BMC dead together: from the cut until the guests run elsewhere
RESTARTED_LIMIT_S = 12.0


def guard_file(cloud: Cloud, node: str) -> dict[str, object]:
    value: dict[str, object] = json.loads(cloud.on(node, "cat", "/run/pvc/guard.json"))
    return value


def test_the_incarnation_names_the_device_and_its_w(cloud: Cloud) -> None:
    said = cloud.on(VICTIM, "journalctl", "--no-pager", "-u", "pvc-guard", "-b")
    assert "watchdog identity=PVC lab watchdog waits_s=10.0" in said


def test_a_guard_that_is_replaced_keeps_guests_lease_and_watchdog(cloud: Cloud) -> None:
    before, life = cloud.domains(), guard_file(cloud, VICTIM)["incarnation"]
    init = cloud.lab.node(VICTIM).init_pid()
    for _ in range(3):
        cloud.on(VICTIM, "systemctl", "restart", "pvc-guard")
        time.sleep(4.0)
        assert guard_file(cloud, VICTIM)["incarnation"] == life
    time.sleep(WAITS_S + 2.0)  # a device without an owner would have reset it by now
    assert cloud.lab.node(VICTIM).init_pid() == init
    assert cloud.domains() == before


def test_a_guard_that_hangs_is_replaced_within_its_lease(cloud: Cloud) -> None:
    before, life = cloud.domains(), guard_file(cloud, VICTIM)["incarnation"]
    hung = cloud.main_pid(VICTIM, "pvc-guard")
    cloud.on(VICTIM, "kill", "-STOP", str(hung))
    until(
        "another guard runs",
        RESTARTED_LIMIT_S,
        lambda: cloud.main_pid(VICTIM, "pvc-guard") not in (0, hung),
    )
    time.sleep(6.5)
    assert guard_file(cloud, VICTIM)["incarnation"] == life
    assert cloud.domains() == before


def test_a_machine_whose_guard_is_silent_is_reset(cloud: Cloud) -> None:
    """Its service manager stands still, too: nobody is left who could replace the guard."""
    before = set(cloud.domains())
    node = cloud.lab.node(VICTIM)
    init = node.init_pid()
    assert init is not None
    guard = host_pid(VICTIM, cloud, cloud.main_pid(VICTIM, "pvc-guard"))
    os.kill(init, signal.SIGSTOP)
    os.kill(guard, signal.SIGSTOP)
    silent_s = time.monotonic()
    until("it is reset", RESET_LIMIT_S, lambda: node.init_pid() != init)
    lasted_s = time.monotonic() - silent_s
    print(f"reset {lasted_s:.1f} s after its guard fell silent")
    assert lasted_s >= WAITS_S - 1.0
    wait_for_all(cloud, before)


def test_with_host_and_bmc_dead_together_w_proves_the_death(cloud: Cloud) -> None:
    before = cloud.domains()
    homes = [nodes[0] for nodes in before.values()]
    victim = max(cloud.nodes(), key=homes.count)  # who was reset above has lost its guests
    lost = {name for name, nodes in before.items() if nodes == [victim]}
    assert lost, before
    counted = {name: cloud.counter(name) for name in sorted(lost)}
    time.sleep(10.0)  # candidates have looked for longer than a lease

    cloud.lab.bmc(victim, on=False)
    cloud.lab.power(victim, "off")
    cut_s = time.monotonic()
    others = [node for node in cloud.nodes() if node != victim]

    def elsewhere() -> bool:
        found: dict[str, list[str]] = {}
        for node in others:
            for name in cloud.on(node, "virsh", "-q", "list", "--name").split():
                found.setdefault(name, []).append(node)
        assert all(len(nodes) == 1 for nodes in found.values()), found
        return lost <= set(found)

    until("its guests run elsewhere", 3 * WITHOUT_BMC_S, elsewhere)
    took_s = time.monotonic() - cut_s
    print(f"recovered {len(lost)} guests {took_s:.1f} s after host and BMC died together")
    acts = [
        entry["text"]
        for entry in json.loads(cloud.pvc("history", "-o", "json", "-n", "200"))
        if entry["kind"] == "act"
    ]
    assert any(f"{victim} is proven dead: lease 6 s and watchdog 10 s" in t for t in acts), acts
    cloud.lab.bmc(victim, on=True)
    cloud.lab.power(victim, "on")
    for name in sorted(lost):
        cloud.marker(name)
        assert cloud.counter(name) >= counted[name], "it began with another disk"
    wait_for_all(cloud, set(before))
    assert took_s <= WITHOUT_BMC_S
