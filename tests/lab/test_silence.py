"""How long ZooKeeper is silent when its leader's host loses power: the number that all leases rest on.

Z is measured where it counts: between two heartbeats that the guard of a healthy node sent and got
acknowledged. h + Z + 1 s must not be more than L, or a dead host would end the leases of all others.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from cloud import Cloud
from faults import busy_cores, store_leader, wait_for_all

pytestmark = [pytest.mark.lab, pytest.mark.long]

LOOK_S = 25.0
MARGIN_S = 1.0
LEASE = """
import tomllib
print(tomllib.load(open("/etc/pvc/node.toml", "rb"))["lease"]["seconds"])
"""
# On the node: the guard's own file, looked at more often than it can change.
WATCH = f"""
import json, time
end, ends, lives, lowest = time.monotonic() + {LOOK_S}, [], set(), 99.0
while time.monotonic() < end:
    try:
        state = json.load(open("/run/pvc/guard.json"))
    except (OSError, ValueError):
        continue
    lives.add(state["incarnation"])
    until = state["lease_until_s"]
    if until is None:
        lowest = 0.0
    else:
        lowest = min(lowest, until - time.clock_gettime(time.CLOCK_BOOTTIME))
        # What rests on the answers of other guards is no heartbeat.
        if not state["saved"]["is_by_asking"] and (not ends or ends[-1] != until):
            ends.append(until)
    time.sleep(0.02)
gaps = [b - a for a, b in zip(ends, ends[1:])]
print(json.dumps({{"gap_s": max(gaps), "beats": len(ends), "lives": sorted(map(str, lives)),
                  "lowest_s": lowest}}))
"""


@pytest.mark.parametrize("cores", ["idle", "busy"])
def test_a_leader_that_loses_its_power_ends_nobodys_lease(cloud: Cloud, cores: str) -> None:
    victim = store_leader(cloud)
    others = [node for node in cloud.nodes() if node != victim]
    before = cloud.domains()
    lease_s = float(cloud.on(victim, "python3", "-c", LEASE))
    load = busy_cores() if cores == "busy" else nullcontext()
    with load, ThreadPoolExecutor(max_workers=len(others)) as pool:
        watched = {node: pool.submit(cloud.on, node, "python3", "-c", WATCH) for node in others}
        time.sleep(5.0)
        cloud.lab.power(victim, "off")
        found = {node: json.loads(each.result()) for node, each in watched.items()}

    for node, seen in sorted(found.items()):
        print(
            f"{node}: {seen['gap_s']:.2f} s between two acknowledged heartbeats (h + Z), "
            f"never less than {seen['lowest_s']:.2f} s of the lease left, {seen['beats']} beats"
        )
    worst_s = max(seen["gap_s"] for seen in found.values())
    assert worst_s > 1.5, "nothing was silent: was it the leader that was switched off?"
    for node, seen in found.items():
        assert len(seen["lives"]) == 1, f"{node} began another life: {seen}"
    assert worst_s + MARGIN_S <= lease_s, f"h + Z is {worst_s:.2f} s of a lease of {lease_s:g} s"
    for node in others:
        run = set(cloud.on(node, "virsh", "-q", "list", "--name").split())
        ours = {name for name, nodes in before.items() if nodes == [node]}
        assert ours <= run, f"{sorted(ours - run)} ended on {node}"

    # What was taken is given back, by hand or by the fence, whoever is first.
    if cloud.lab.node(victim).init_pid() is None:
        cloud.lab.power(victim, "on")
    wait_for_all(cloud, set(before))
