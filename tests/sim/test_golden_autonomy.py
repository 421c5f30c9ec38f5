"""Fencing and recovery: every directory of tests/golden/autonomy is a claim.

A case may have a repository of its own, laid over the base, folders that its script commits, and in
expected.toml what it comes to, reasoned before it was played.
PVC_BLESS=1 rewrites the journals; a missing one fails.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from autonomy_outcome import wrong
from simulated import KINDS, journal, overlay

from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.play import Player

CASES = Path(__file__).parents[1] / "golden" / "autonomy"
NAMES = sorted(path.name for path in CASES.iterdir())
OF_AUTONOMY = frozenset(
    {"node_revoked", "fence_requested", "fence_trouble", "fence_waits", "death_proven"}
    | {"fence_ended", "claim_freed", "ha", "bmc", "vm_state", "vm_ready", "vm"}
    | {"guest_failed", "guest_goes_ahead", "guest_waits", "alarm"}
    | {"hold", "hold_observed"}
    | {"guest_ordered", "guest_handed_over", "guest_migrated", "guest_not_moved", "guest_given_up"}
    | {"node_drained", "ha_stands_aside"}
    | {"fence_put_back", "fence_open_in_ceph", "shut_out_by_others"}
)
REPOSITORY = "repository"
BOOTED = "settled"  # the story begins after the first of them


def played(name):
    files = overlay(CASES / name / REPOSITORY)
    one = Player(
        SimCluster(files), read_folder=lambda folder: overlay(CASES / name / folder, files)
    )
    one.play((CASES / name / "script.txt").read_text(), name=f"{name}/script.txt")
    return one


@pytest.mark.parametrize("name", NAMES)
def test_scenario(name):
    one = played(name)
    text = journal(one, KINDS | OF_AUTONOMY, after=BOOTED)
    expected = CASES / name / "journal.expect"
    if os.environ.get("PVC_BLESS") == "1":
        expected.write_text(text)
    assert expected.is_file(), f"no expectation: look at the journal, then PVC_BLESS=1\n{text}"
    assert text == expected.read_text()
    assert one.result()["violations"] == []
    outcome = CASES / name / "expected.toml"
    if outcome.is_file():
        assert wrong(outcome.read_text(), one.result()) == []
        return
    if (CASES / name / REPOSITORY).is_dir():
        return  # where it ends stands in the journal
    running = [name for name, vm in one.result()["vms"].items() if vm["state"] == "running"]
    assert len(running) == 6, one.result()["vms"]
