"""A guest on its way, and something dies: in every phase, on every side (DESIGN section 6).

Whatever happens, it never runs twice, its disk has one writer, and when all is well again it runs once,
on its way to nowhere, with nothing claimed.
"""

from __future__ import annotations

import pytest
from simulated import BASE, ON, changed

from pvc_gitops.errors import UsageError
from pvc_gitops.model import paths
from pvc_gitops.model.moves import Moves
from pvc_gitops.model.records import GuestPhase
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.desk import ask
from pvc_gitops.sim.migration import PHASES
from pvc_gitops.sim.play import Player

SOURCE, DESTINATION = "hv1", "hv3"
STEP_S = 0.02
AFTER = "handed-over"  # the destination is the owner, and has not said that it runs
# What happens, and what makes it well again.
FAULTS = {
    "the source loses power": ("power hv1 off", "power hv1 on"),
    "the destination loses power": ("power hv3 off", "power hv3 on"),
    "both lose power": ("power hv1 off; power hv3 off", "power hv1 on; power hv3 on"),
    "the source is cut off": ("network hv1 off", "network hv1 on"),
    "the destination is cut off": ("network hv3 off", "network hv3 on"),
    "the two do not reach each other": (
        "link hv1 hv3 off; link hv3 hv1 off",
        "link hv1 hv3 on; link hv3 hv1 on",
    ),
    "the source freezes": ("pause hv1", "resume hv1"),
    "the destination freezes": ("pause hv3", "resume hv3"),
    "the agent of the source dies": ("agent hv1 kill", "agent hv1 start"),
    "the agent of the destination dies": ("agent hv3 kill", "agent hv3 start"),
    "both agents die": ("agent hv1 kill; agent hv3 kill", "agent hv1 start; agent hv3 start"),
    "the guard of the source dies": ("guard hv1 kill", "guard hv1 start"),
    "the guard of the destination dies": ("guard hv3 kill", "guard hv3 start"),
    "ZooKeeper is gone": ("store hv1 off; store hv2 off; store hv3 off",
                          "store hv1 on; store hv2 on; store hv3 on"),
    "the source does not see ZooKeeper": ("store hv1 off", "store hv1 on"),
    "the destination does not see ZooKeeper": ("store hv3 off", "store hv3 on"),
    "the next write of the source is ambiguous": ("store hv1 ambiguous", "wait 1"),
    "the guest crashes": ("vm web1 crash", "wait 1"),
    "HA dies": ("ha hv1 kill; ha hv2 kill", "ha hv1 start; ha hv2 start"),
}  # fmt: skip


def cluster():
    one = Player(SimCluster(BASE), read_folder=lambda _: {})
    one.play(f"{ON}settle\n")
    return one


def migrate(one, to=DESTINATION):
    ask(one.cluster, "intent", kind="migrate", subject="vm/web1", data={"node": to})


def until(one, phase, limit_s=30.0):
    """Let time pass until the migration of web1 is in a phase."""
    kernel, events = one.cluster.kernel, one.cluster.events
    begun, end_s = len(events), kernel.now_s + limit_s
    while kernel.now_s < end_s:
        for event in events[begun:]:
            if event.get("vm") != "web1":
                continue
            if event["kind"] == "migration" and event["phase"] == phase:
                return
            if event["kind"] == "guest_handed_over" and phase == AFTER:
                return
        kernel.run_until(kernel.now_s + STEP_S)
    raise AssertionError(f"never came to {phase}")


def is_well(one):
    """It runs once, where the records say, and nothing of its move is left."""
    assert one.result()["violations"] == []
    placement = one.cluster.placements()["web1"]
    assert placement.incoming is None, placement
    assert placement.state is GuestPhase.RUNNING, placement
    assert one.cluster.checkers.running["web1"] == {placement.owner}
    claims = one.cluster.tree.children.get(paths.CLAIMS, ())
    assert not [name for name in claims if "web1" in name]
    homes = [n.name for n in one.cluster.nodes.values() if "web1" in n.guests.domains]
    assert homes == [placement.owner], homes


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("phase", [*PHASES, AFTER])
def test_whatever_dies_amid_a_migration(phase, fault):
    one = cluster()
    migrate(one)
    until(one, phase)
    breaks, heals = FAULTS[fault]
    one.play(breaks)
    one.play("wait 60")
    assert one.result()["violations"] == []
    one.play(f"{heals}\nwait 60\nsettle")
    is_well(one)


def test_a_guest_goes_on_where_it_was():
    one = cluster()
    migrate(one)
    one.play("settle")
    assert one.cluster.placements()["web1"].owner == DESTINATION
    assert len(one.cluster.checkers.starts["web1"]) == 1  # moved, and never started again
    is_well(one)


@pytest.mark.parametrize("phase", PHASES)
def test_a_migration_that_fails_leaves_the_guest_running_where_it_was(phase):
    one = cluster()
    one.cluster.nodes["hv1"].guests.migrations.failing["web1"] = (1, phase)
    migrate(one)
    until(one, phase)
    one.play("wait 5")
    placement = one.cluster.placements()["web1"]
    assert (placement.owner, placement.incoming) == (SOURCE, None)
    assert phase in placement.why
    assert one.cluster.checkers.running["web1"] == {SOURCE}
    one.play("settle")  # and then it is tried again
    assert one.cluster.placements()["web1"].owner == DESTINATION
    assert len(one.cluster.checkers.starts["web1"]) == 1
    is_well(one)


def test_a_node_in_maintenance_is_switched_off_and_nobody_fences_it():
    one = cluster()
    made = ask(
        one.cluster, "intent", kind="maintenance", subject="node/hv1", reason="RAM", for_s=7200
    )
    one.play("wait 30")
    assert not one.cluster.nodes["hv1"].guests.domains
    one.play("power hv1 off\nwait 120")
    kinds = {event["kind"] for event in one.cluster.events if event["t"] > 70}
    assert "fence_requested" not in kinds
    assert "node_drained" in kinds
    one.play("power hv1 on\nwait 90")
    assert not one.cluster.nodes["hv1"].guests.domains  # back, and still put aside
    ask(one.cluster, "end-intent", id=made.id)
    one.play("settle")
    assert sorted(one.cluster.nodes["hv1"].guests.domains) == ["app1", "web1"]
    is_well(one)


def test_whom_a_drain_moved_stays_if_asked_to():
    one = cluster()
    made = ask(one.cluster, "intent", kind="drain", subject="node/hv1", reason="RAM")
    one.play("settle")
    ask(one.cluster, "end-intent", id=made.id, stays=True)
    one.play("settle")
    assert not one.cluster.nodes["hv1"].guests.domains
    is_well(one)


def test_a_second_drain_is_refused_with_the_first():
    one = cluster()
    ask(one.cluster, "intent", kind="drain", subject="node/hv1", reason="more memory")
    with pytest.raises(UsageError, match='node/hv1 is drained already, by root: "more memory"'):
        ask(one.cluster, "intent", kind="drain", subject="node/hv2")


def test_a_guest_that_is_never_moved_is_named_and_the_drain_is_not_done():
    pinned = changed("vms/web1.yaml", "spec:", "spec:\n  migration: {method: none}")
    one = Player(SimCluster(pinned), read_folder=lambda _: {})
    one.play(f"{ON}settle")
    ask(one.cluster, "intent", kind="drain", subject="node/hv1")
    one.play("wait 60")
    drain = one.cluster.get(paths.MOVES, Moves).drains["hv1"]
    assert drain.left == ("web1",)
    assert not drain.is_done
    assert "migration.method is none" in drain.staying["web1"]
    is_well(one)
