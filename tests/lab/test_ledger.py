"""What happened on the real stack is written down once, in one chain, and told again."""

from __future__ import annotations

import json

import pytest
from cloud import Cloud

pytestmark = pytest.mark.lab


def test_the_ledger_is_one_chain_and_tells_what_happened_to_a_guest(cloud: Cloud) -> None:
    assert "one unbroken chain" in cloud.pvc("history", "--verify")
    told = json.loads(cloud.pvc("history", "-n", "10000", "-o", "json"))
    assert [entry["number"] for entry in told] == list(range(1, len(told) + 1))
    assert told[0]["kind"] == "founded"
    steps = [(entry["plan"], entry["step"]) for entry in told if entry["kind"] == "step"]
    assert len(steps) == len(set(steps)), "a step was told twice"
    guest = min(cloud.running())
    story = cloud.pvc("history", f"vm/{guest}")
    assert f"vm.put vm/{guest}: done" in story
    assert f"disk.create vm/{guest}/disk/root: done" in story


def test_a_time_and_an_address_are_explained(cloud: Cloud) -> None:
    guest = min(cloud.running())
    then = cloud.pvc("history", "--at", "1s")
    assert "commit    " in then
    assert f"vm/{guest} " in then
    why = cloud.pvc("explain", f"vm/{guest}")
    for word in ("declared", "author", "history", "placed"):
        assert f"  {word}" in why, why
