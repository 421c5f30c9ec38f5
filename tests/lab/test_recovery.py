"""Recovery of single guests on the real stack: a process that is killed, a node that cannot start it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from cloud import Cloud, until

pytestmark = pytest.mark.lab

GUEST = "web2"
QEMU = "/usr/bin/qemu-system-x86_64"
AGAIN_LIMIT_S = 90.0  # an emulated guest on a loaded machine boots in half a minute
ELSEWHERE_LIMIT_S = 180.0
POLICY = "  ha: {max_restarts: 1, ready: {tcp: 80, timeout: 3m}}\n"


@pytest.fixture
def declared(cloud: Cloud) -> Iterator[Cloud]:
    """With the guest's limits and readiness as these stories need them."""
    path = f"vms/{GUEST}.yaml"
    before = cloud.read(path)
    cloud.write(path, before.rstrip("\n") + "\n" + POLICY)
    cloud.commit_and_push("web2 says when it is ready")
    cloud.pvc("apply", "--yes")
    yield cloud
    cloud.write(path, before)
    cloud.commit_and_push("web2 as it was")
    cloud.pvc("apply", "--yes")


def test_a_killed_guest_is_started_again_with_its_data_and_says_when_it_is_ready(
    declared: Cloud,
) -> None:
    cloud = declared
    counted, was = cloud.counter(GUEST), _placement(cloud)
    _kill(cloud, was["owner"])

    def is_back() -> Any:
        now = _placement(cloud)
        return now if now["starts"] > was["starts"] and now["state"] == "running" else None

    now = until("it runs again", AGAIN_LIMIT_S, is_back)
    assert now["owner"] == was["owner"]
    until("its port answers", AGAIN_LIMIT_S, lambda: _placement(cloud)["ready"] == "ready")
    assert cloud.counter(GUEST) >= counted
    assert re.search(r"\bready\b", cloud.pvc("explain", f"vm/{GUEST}"))


@pytest.mark.long
def test_a_guest_that_its_node_cannot_start_runs_elsewhere(declared: Cloud) -> None:
    cloud = declared
    counted, was = cloud.counter(GUEST), _placement(cloud)
    cloud.on(was["owner"], "chmod", "a-x", QEMU)
    try:
        _kill(cloud, was["owner"])
        until(
            "another node runs it",
            ELSEWHERE_LIMIT_S,
            lambda: (
                _placement(cloud)["owner"] != was["owner"]
                and _placement(cloud)["state"] == "running"
            ),
        )
    finally:
        cloud.on(was["owner"], "chmod", "a+x", QEMU)
    assert cloud.domains()[GUEST] == [_placement(cloud)["owner"]]
    assert cloud.counter(GUEST) >= counted
    assert _placement(cloud)["tried"] == [was["owner"]]


def _placement(cloud: Cloud) -> dict[str, Any]:
    found: dict[str, Any] = cloud.status()["guests"][GUEST]
    return found


def _kill(cloud: Cloud, node: str) -> None:
    """As the kernel would, for want of memory."""
    cloud.on(node, "pkill", "-KILL", "-f", f"guest={GUEST},")
