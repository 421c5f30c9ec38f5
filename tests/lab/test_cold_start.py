"""Everything loses its power at once, and comes back by itself: every guest once, with its data."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cloud import Cloud, until
from faults import assert_whole_boots

pytestmark = pytest.mark.lab

BACK_LIMIT_S = 300.0
OFF_S = 3.0


def acts(cloud: Cloud) -> list[str]:
    entries = json.loads(cloud.pvc("history", "-o", "json", "-n", "300"))
    return [entry["text"] for entry in entries if entry["kind"] == "act"]


def test_a_lab_that_lost_all_its_power_runs_every_guest_once_with_its_data(cloud: Cloud) -> None:
    before = cloud.domains()
    starts = {name: guest["starts"] for name, guest in cloud.status()["guests"].items()}
    counted = {name: cloud.counter(name) for name in sorted(before)}
    fences = sum("fencing it" in text for text in acts(cloud))

    nodes = cloud.nodes()
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        list(pool.map(lambda node: cloud.lab.power(node, "off"), nodes))
    time.sleep(OFF_S)
    on_s = time.monotonic()
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        list(pool.map(lambda node: cloud.lab.power(node, "on"), nodes))
    print(f"all nodes booted {time.monotonic() - on_s:.0f} s after the power came back")

    def answers() -> bool:
        return cloud.try_pvc("status", "-o", "json").returncode == 0

    until("the cluster answers", BACK_LIMIT_S, answers)
    print(f"the cluster answers after {time.monotonic() - on_s:.0f} s")
    until("all guests run", BACK_LIMIT_S, lambda: cloud.running() == set(before))
    print(f"all guests run after {time.monotonic() - on_s:.0f} s")

    assert cloud.domains() == before, "a guest left its node, or runs twice"
    for name, guest in cloud.status()["guests"].items():
        assert guest["starts"] == starts[name] + 1, f"{name} was started {guest['starts']} times"
    for name in sorted(before):
        cloud.marker(name)
        assert cloud.counter(name) >= counted[name], f"{name} began with another disk"
    assert sum("fencing it" in text for text in acts(cloud)) == fences, "somebody was fenced"
    until(
        "storage is whole again",
        BACK_LIMIT_S,
        lambda: cloud.status()["storage"]["health"] == "HEALTH_OK",
    )
    assert "Nothing to do" in cloud.pvc("plan")
    assert_whole_boots(cloud)
