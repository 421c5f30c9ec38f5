"""Recovery as a story: which proof is good enough for whom, and an operator's word for a failed guest."""

from __future__ import annotations

import re

import pytest
from simulated import BASE, ON, play, player, states

from pvc_gitops.controllers import intents
from pvc_gitops.controllers.intents import Wish
from pvc_gitops.ha.evidence import SOFTWARE_WATCHDOG
from pvc_gitops.model.intents import IntentKind
from pvc_gitops.model.records import GuestPhase

# hv2 runs web2, without a disk here.
DISKLESS = {
    **BASE,
    "vms/web2.yaml": re.sub(rb"  disks:\n    .*\n", b"", BASE["vms/web2.yaml"]),
}


def with_watchdog(identity):
    one = player(DISKLESS)
    for node in one.cluster.nodes.values():
        node.guard.watchdog = identity
    one.play(ON + "settle\n")
    assert one.cluster.placements()["web2"].owner == "hv2"
    return one


def test_a_hardware_watchdog_speaks_for_a_guest_without_a_disk():
    one = with_watchdog("iTCO_wdt")
    one.play("bmc hv2 off; power hv2 off\nsettle\n")
    assert one.result()["violations"] == []
    assert set(states(one).values()) == {"running"}


def test_a_software_watchdog_does_not_and_the_bmc_is_asked_until_it_does():
    one = with_watchdog(SOFTWARE_WATCHDOG)
    one.play("bmc hv2 off; power hv2 off\nsettle\nwait 60\n")
    placements = one.cluster.placements()
    assert placements["app2"].state is GuestPhase.RUNNING
    assert placements["web2"].state is GuestPhase.RECOVERING
    assert placements["web2"].why.startswith("has no disk, and only a software watchdog speaks")
    one.play("bmc hv2 on\nwait 30\n")
    assert one.cluster.placements()["web2"].state is GuestPhase.RUNNING
    assert one.result()["violations"] == []


@pytest.mark.parametrize("ends", ["crash", "power-off"])
def test_an_operator_may_ask_for_a_guest_that_is_left_alone(ends):
    ha = b"  ha: {max_restarts: 0, max_relocations: 0, on_power_off: leave}\n"
    files = {**BASE, "vms/web2.yaml": BASE["vms/web2.yaml"] + ha}
    one = play(ON + f"settle\nvm web2 {ends}\nsettle\nwait 120\n", files)
    before = one.cluster.placements()["web2"]
    assert before.rests
    assert before.starts == 1
    node = one.cluster.leader()
    world = one.cluster.world_of(node, node.planner)
    wish = Wish(kind=IntentKind.RETRY, subject="vm/web2", by="ann", reason="", for_s=None, data={})
    made = intents.make(world, wish, intents.authority(world, None))
    assert not isinstance(made, intents.Refused)
    one.play("settle\n")
    after = one.cluster.placements()["web2"]
    assert (after.state, after.starts, after.rests) == (GuestPhase.RUNNING, 2, False)
    assert not one.cluster.tree.children.get("/pvc/intents")
