"""`pvc simulate --inventory`: a fault on a copy of a cluster, its guests where they are."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from simulated import BASE, ON, player

from pvc_gitops.cli.simulate import simulate
from pvc_gitops.controllers.decisions import policy_of
from pvc_gitops.errors import UsageError
from pvc_gitops.model.export import Export, files_to_text
from pvc_gitops.model.values import replace
from pvc_gitops.planner.codec import export_to_bytes
from pvc_gitops.sim import rest
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.copied import restore


@pytest.fixture(scope="module")
def exported():
    """A cluster that has a story: web1 was moved to hv3, app2 is held stopped."""
    one = player()
    one.play(ON + "settle\nrun web1 migrate hv3\nrun app2 stop\nsettle\n")
    cluster = one.cluster
    inventory = rest.look(cluster).inventory
    leader = cluster.leader()
    world = cluster.world_of(leader, leader.planner)
    return Export(
        inventory=inventory,
        policy=policy_of(world, inventory.accepted),
        parent=inventory.target,
        commit=inventory.accepted,
        files=files_to_text(BASE),
    )


def played(exported, tmp_path, script):
    inventory, text = tmp_path / "now.json", tmp_path / "script.txt"
    inventory.write_bytes(export_to_bytes(exported))
    text.write_text(script)
    done = CliRunner().invoke(simulate, [str(text), "--inventory", str(inventory), "--json", "-"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_guests_are_where_they_were_and_nothing_is_planned(exported, tmp_path):
    result = played(exported, tmp_path, "settle\n")
    vms = result["vms"]
    assert result["settled"]
    assert vms["web1"]["node"] == "hv3"
    assert vms["app2"]["state"] == "stopped"
    assert vms["app2"]["starts"] == []
    assert {vms[name]["state"] for name in vms if name != "app2"} == {"running"}
    done = [e for e in result["events"] if e["kind"] == "step_done"]
    assert [e["step"] for e in done if not e["step"].startswith("network.")] == []


def test_a_fault_there_has_its_consequences(exported, tmp_path):
    result = played(exported, tmp_path, "power hv3 off\nsettle\n")
    assert result["violations"] == []
    assert result["nodes"]["hv3"] == {"state": "fenced", "power": "off"}
    for name in ("web1", "web3", "db1"):
        assert result["vms"][name]["state"] == "running"
        assert result["vms"][name]["node"] != "hv3"
    assert result["vms"]["app2"]["state"] == "stopped"


def test_an_export_without_storage_is_refused(exported):
    inventory = replace(exported.inventory, storage=None)
    with pytest.raises(UsageError, match="does not say what Ceph holds"):
        restore(SimCluster(BASE, past=inventory), inventory)
