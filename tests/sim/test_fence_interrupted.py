"""A fence that is cut off between any two of its effects: the power that it took is given back."""

from simulated import BASE, ON, events

from pvc_gitops.errors import BmcError
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.machines import MachinesPort
from pvc_gitops.sim.play import Player

# hv3's network is gone and its guard too. HA dies after so many effects; then the BMC is out of reach
# until lease and watchdog have proven the death in its place.
STORY = """settle
guard hv3 kill; network hv3 off
wait 8
ha hv1 kill {effects}
wait 7
bmc hv3 off
wait 1
ha hv2 restart
ha hv1 start
wait 40
bmc hv3 on
wait 160
network hv3 on
settle
"""
EFFECTS = range(2, 12)


def test_wherever_a_leader_dies_amid_a_fence_the_node_has_power_in_the_end():
    given_back = 0
    for effects in EFFECTS:
        one = Player(SimCluster(BASE), read_folder=lambda _: {})
        one.play(ON + STORY.format(effects=effects))
        assert one.result()["violations"] == []
        assert one.cluster.nodes["hv3"].is_up, effects
        assert {vm["state"] for vm in one.result()["vms"].values()} == {"running"}
        cut = [event["on"] for event in events(one, "power") if event["t"] > 70]
        orders = events(one, "power_on_requested")
        (proof,) = events(one, "death_proven")
        if cut == [False, True] and proof["by"] == "watchdog" and orders:
            given_back += 1
    assert given_back, "no story of these has cut a fence between off and on"


# A leader stands still amid a fence without a BMC; the node is back and released before it goes on.
STILL = """settle
bmc hv3 off
ha hv1 stall 22 {effects}
network hv3 off
wait 16
network hv3 on
wait 40
settle
"""


def test_a_leader_that_blocks_too_late_has_the_node_released_again():
    put_back = 0
    for effects in range(1, 8):
        one = Player(SimCluster(BASE), read_folder=lambda _: {})
        one.play(ON + STILL.format(effects=effects))
        assert one.is_settled
        assert one.result()["violations"] == []
        assert not one.cluster.ceph.blocklist, effects
        assert {vm["state"] for vm in one.result()["vms"].values()} == {"running"}
        put_back += len(events(one, "fence_put_back"))
    assert put_back, "no leader of these stood still between its last look and the blocklist"


# Its leader stands still amid a fence that its BMC would prove; another one ends that fence meanwhile.
ASLEEP = """settle
ha hv1 stall 22 {effects}
network hv3 off
wait 16
network hv3 on
wait 60
settle
"""


def test_a_leader_that_stood_still_before_the_button_presses_it_no_more(monkeypatch):
    too_late, press = [], MachinesPort.switch_off

    def pressed(machines, node, bmc, *, by_s):
        try:
            press(machines, node, bmc, by_s=by_s)
        except BmcError as error:
            too_late.append(error)  # nobody else hears of it: it leads no more
            raise

    monkeypatch.setattr(MachinesPort, "switch_off", pressed)
    for effects in range(5, 9):
        one = Player(SimCluster(BASE), read_folder=lambda _: {})
        one.play(ON + ASLEEP.format(effects=effects))
        assert one.is_settled
        assert one.result()["violations"] == [], effects
    assert too_late, "no leader of these stood still between its last look and the button"
