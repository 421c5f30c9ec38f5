"""Recovery on the real stack: a node loses its power, its guests run elsewhere, once, with the data they
had; the node comes back clean."""

from __future__ import annotations

import json
import time

import pytest
from cloud import Cloud, until

pytestmark = pytest.mark.lab

PASSWORDS_LIMIT_S = 60.0
RECOVERED_LIMIT_S = 90.0  # 20 s by design, on an idle machine
BACK_LIMIT_S = 180.0


def test_every_coordinator_can_ask_every_bmc_with_git_down(cloud: Cloud) -> None:
    for node in cloud.nodes():
        passwords = f"test $(ls /var/lib/pvc/bmc | wc -l) -eq {len(cloud.nodes())}"
        until(
            f"{node} holds the BMCs' passwords",
            PASSWORDS_LIMIT_S,
            lambda node=node, look=passwords: (
                cloud.lab.node(node).run("sh", "-c", look).returncode == 0
            ),
        )


def test_the_guests_of_a_node_that_lost_its_power_run_elsewhere(cloud: Cloud) -> None:
    victim = "hv3"
    before = cloud.domains()
    lost = {name for name, nodes in before.items() if nodes == [victim]}
    assert lost
    counted = {name: cloud.counter(name) for name in sorted(lost)}
    time.sleep(10.0)  # candidates have looked for longer than a lease

    cloud.lab.power(victim, "off")
    cut_s = time.monotonic()

    def runs_elsewhere() -> bool:
        found: dict[str, list[str]] = {}
        for node in ("hv1", "hv2"):
            for name in cloud.on(node, "virsh", "-q", "list", "--name").split():
                found.setdefault(name, []).append(node)
        assert all(len(nodes) == 1 for nodes in found.values()), found
        return lost <= set(found)

    until("its guests run elsewhere", RECOVERED_LIMIT_S, runs_elsewhere)
    print(f"recovered {len(lost)} guests {time.monotonic() - cut_s:.1f} s after the power cut")
    acts = [
        entry["text"]
        for entry in json.loads(cloud.pvc("history", "-o", "json", "-n", "200"))
        if entry["kind"] == "act"
    ]
    assert any(f"{victim} is proven dead: its BMC read OFF twice" in text for text in acts), acts
    for name in sorted(lost):
        cloud.marker(name)
        assert cloud.counter(name) >= counted[name], "it began with another disk"

    # The fence gave the node its power back: it boots, is let in again, and runs nothing twice.
    def is_back() -> bool:
        return str(cloud.status()["nodes"][victim]["state"]) == "online"

    until(f"{victim} is back", BACK_LIMIT_S, is_back)
    until("nobody is blocked", BACK_LIMIT_S, lambda: ":0/0" not in _blocked(cloud))
    until("all guests run", BACK_LIMIT_S, lambda: set(cloud.domains()) == set(before))
    assert all(len(nodes) == 1 for nodes in cloud.domains().values()), cloud.domains()
    until(
        "storage is whole again",
        BACK_LIMIT_S,
        lambda: cloud.status()["storage"]["health"] == "HEALTH_OK",
    )
    assert "Nothing to do" in cloud.pvc("plan")


def _blocked(cloud: Cloud) -> str:
    return cloud.on("hv1", "ceph", "osd", "blocklist", "ls")
