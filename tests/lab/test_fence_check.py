"""Fence readiness on the real stack: BMCs are tried all the time, and one that dies is found by day."""

from __future__ import annotations

import json

import pytest
from cloud import Cloud, until

pytestmark = pytest.mark.lab

TRIED_LIMIT_S = 120.0
FOUND_LIMIT_S = 420.0  # a period of five minutes, and what two cores make of it


def rows(cloud: Cloud, *names: str) -> dict[str, dict[str, object]]:
    found = json.loads(cloud.pvc("node", "fence-check", *names, "-o", "json", ok=(0, 1, 2)))
    return {str(row["node"]): row for row in found}


def test_every_coordinator_has_tried_every_bmc_and_the_blocklist(cloud: Cloud) -> None:
    def tried() -> bool:
        return all(row["bmc"] == "ready" for row in rows(cloud).values())

    until("all BMCs are ready", TRIED_LIMIT_S, tried)
    assert set(rows(cloud)) == set(cloud.nodes())
    assert "192.0.2.1" not in cloud.on("hv1", "ceph", "osd", "blocklist", "ls")


@pytest.mark.long
def test_a_bmc_that_dies_is_found_at_once_by_who_asks_and_soon_by_all(cloud: Cloud) -> None:
    cloud.lab.bmc("hv2", on=False)
    try:
        row = rows(cloud, "hv2")["hv2"]
        assert "cannot be used" in str(row["troubles"]), row

        def alarmed() -> bool:
            waiting = cloud.status()["waiting"]
            return any(of == "fencing" and "BMC cannot be used" in text for of, text, _ in waiting)

        until("status says so", FOUND_LIMIT_S, alarmed)
    finally:
        cloud.lab.bmc("hv2", on=True)
    assert rows(cloud, "hv2")["hv2"]["grade"] != "not"

    def calm() -> bool:
        return not any("BMC cannot be used" in text for _, text, _ in cloud.status()["waiting"])

    until("all is well again", FOUND_LIMIT_S, calm)
