"""Coordinators that are gone for good are written down as dead, and nobody switches them on."""

from simulated import BASE, ON, events

from pvc_gitops.controllers.lost_members import Evidence, declare
from pvc_gitops.model import paths
from pvc_gitops.model.ha import Fence, Proof, ProofKind
from pvc_gitops.model.records import Formation, IncarnationRecord
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.play import Player

LOST = {"hv3": Evidence(kind=ProofKind.WORD, text="root has seen that it has no power")}


def declared(one):
    node = one.cluster.nodes["hv1"]
    store = one.cluster.world_of(node, node.agent).store
    return declare(store, "hv1", LOST, 100)


def test_their_lives_are_over_and_the_formation_counts_up_once():
    one = Player(SimCluster(BASE), read_folder=lambda _: {})
    one.play(ON + "settle\nha hv1 kill; ha hv2 kill; ha hv3 kill; power hv3 off\nwait 5\n")
    before = one.cluster.get(paths.FORMAT, Formation)
    assert declared(one).formation == before.formation + 1
    life = one.cluster.get(paths.incarnation("hv3"), IncarnationRecord)
    assert life.is_revoked
    assert one.cluster.get(paths.proof("hv3"), Proof).incarnation == life.id
    assert one.cluster.get(paths.fence("hv3"), Fence).incarnation == life.id
    assert declared(one).formation == before.formation + 1  # an interrupted run goes on


def test_their_guests_run_elsewhere_and_their_power_stays_off():
    one = Player(SimCluster(BASE), read_folder=lambda _: {})
    one.play(ON + "settle\nha hv1 kill; ha hv2 kill; ha hv3 kill; power hv3 off\nwait 5\n")
    declared(one)
    # Root on the last coordinator writes what else only a leader may, since there is none.
    one.cluster.checkers.violations.clear()
    one.play("ha hv1 start; ha hv2 start\nsettle\nwait 60\nsettle\n")
    assert one.result()["violations"] == []
    assert {vm["state"] for vm in one.result()["vms"].values()} == {"running"}
    assert "hv3" not in {vm["node"] for vm in one.result()["vms"].values()}
    assert not events(one, "fence_requested")
    assert not events(one, "power_on_requested")
