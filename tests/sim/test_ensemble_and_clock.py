"""ZooKeeper's servers, links and clocks of the simulator, each alone."""

from __future__ import annotations

import pytest

from pvc_gitops.sim.clock import MachineClock
from pvc_gitops.sim.ensemble import FAILOVER_S, PINGS_S, SLOW_S, Ensemble, Server
from pvc_gitops.sim.kernel import Kernel
from pvc_gitops.sim.wires import Net, Wires

NAMES = ("hv1", "hv2", "hv3")


@pytest.fixture
def three():
    """Three servers on machines that are all up; hv1 leads."""
    kernel = Kernel()
    ensemble = Ensemble(
        kernel=kernel,
        wires=Wires(is_answering=lambda _: True),
        servers={name: Server() for name in NAMES},
    )
    ensemble.look()
    assert ensemble.leader == "hv1"
    return ensemble


def test_a_link_that_is_cut_one_way_carries_no_answers(three):
    wires = three.wires
    wires.switch_pair("hv2", "hv3", on=False)
    assert not wires.talk("hv2", "hv3", Net.CLUSTER)
    assert not wires.talk("hv3", "hv2", Net.STORAGE)
    assert wires.talk("hv1", "hv2", Net.CLUSTER)
    wires.switch_pair("hv2", "hv3", on=True)
    assert wires.talk("hv3", "hv2", Net.STORAGE)


def test_networks_are_cut_one_by_one(three):
    three.wires.switch("hv2", Net.STORAGE, on=False)
    assert not three.wires.talk("hv1", "hv2", Net.STORAGE)
    assert three.wires.talk("hv1", "hv2", Net.CLUSTER)


def test_a_follower_without_its_leader_answers_pings_and_its_clients_go_to_another(three):
    three.wires.switch_pair("hv1", "hv2", on=False)
    three.look()
    assert three.leader == "hv1"
    assert not three.is_voting("hv2")
    assert three.server_for("hv2")[0] == "hv3"
    assert three.answers_pings("hv2")
    three.kernel.run_until(PINGS_S)
    assert not three.answers_pings("hv2")


def test_the_loss_of_a_leader_is_a_silence(three):
    three.servers["hv1"].is_killed = True
    three.look()
    assert three.leader == "hv2"
    assert three.server_for("hv3") is None
    three.kernel.run_until(FAILOVER_S)
    assert three.server_for("hv3") is not None
    assert three.quorum().serving == 2


def test_a_minority_serves_nobody(three):
    for other in ("hv2", "hv3"):
        three.wires.switch_pair(other, "hv1", on=False)
    three.servers["hv3"].is_wiped = True
    three.look()
    assert not three.has_quorum()
    assert three.server_for("hv1") is None


def test_a_slow_follower_delays_its_own_clients_and_a_slow_leader_all(three):
    three.servers["hv2"].is_slow = True
    assert three.delay_s("hv2") == SLOW_S
    assert three.delay_s("hv2", beside=("hv2",)) == 0.0
    assert three.delay_s("hv3") == 0.0
    three.servers["hv1"].is_slow = True
    assert three.delay_s("hv3") == SLOW_S


def test_a_clock_keeps_what_it_showed_when_its_rate_changes():
    kernel = Kernel()
    clock = MachineClock(kernel=kernel)
    kernel.run_until(10.0)
    clock.boot()
    kernel.run_until(20.0)
    clock.run_at(1.5)
    kernel.run_until(24.0)
    assert clock.now_s() == 16.0
    assert clock.takes_s(3.0) == 2.0
