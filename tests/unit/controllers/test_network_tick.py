"""What a node remembers of its networks between ticks, and what a failure costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_world import BASE

from pvc_gitops.controllers import networks, view
from pvc_gitops.controllers.networks import NetworkMemory
from pvc_gitops.errors import LinkError
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.play import Player


class Links:
    """A kernel that writes down what it is told, and refuses what it is told to refuse."""

    def __init__(self, *refused):
        self.refused, self.told = set(refused), []

    def create(self, bridge):
        self._tell("create", bridge.vni)

    def delete(self, vni):
        self._tell("delete", vni)

    def set_neighbours(self, vni, _neighbours):
        self._tell("neighbours", vni)

    def _tell(self, verb, vni):
        if verb in self.refused:
            raise LinkError(verb, str(vni), "no", retryable=True)
        self.told.append((verb, vni))


@pytest.fixture(scope="module")
def settled():
    """hv1's ports and what it sees, in a cluster at rest with network app (VNI 1000)."""
    player = Player(SimCluster(BASE), lambda _name: {})
    player.play("power hv1 on; power hv2 on; power hv3 on\nsettle\n")
    one = player.cluster.nodes["hv1"]
    world = player.cluster.world_of(one, one.agent)
    return world, view.take(world)


def tick(settled, links, memory, **seen):
    world, before = settled
    return networks.tick(replace(world, links=links), replace(before, **seen), memory)


def test_neighbours_are_told_once(settled):
    links = Links()
    first = tick(settled, links, NetworkMemory())
    again = tick(settled, links, first.memory)
    assert set(first.memory.neighbours) == set(settled[1].bridges)
    assert (first.has_acted, again.has_acted) == (True, False)
    assert links.told == [("neighbours", vni) for vni in sorted(settled[1].bridges)]


def test_a_new_bridge_is_told_its_neighbours_again(settled):
    memory = tick(settled, Links(), NetworkMemory()).memory
    links = Links()
    bridges = {vni: each for vni, each in settled[1].bridges.items() if vni != 1000}
    tick(settled, links, memory, bridges=bridges)
    assert links.told == [("create", 1000), ("neighbours", 1000)]


def test_a_network_that_went_is_forgotten(settled):
    memory = tick(settled, Links(), NetworkMemory()).memory
    done = tick(settled, Links(), memory, networks={}, domains={})
    assert done.memory.neighbours == {}


def test_what_fails_is_a_fault_that_rests_and_is_tried_again(settled):
    bridges = {vni: each for vni, each in settled[1].bridges.items() if vni != 1000}
    memory = tick(settled, Links(), NetworkMemory(), bridges=bridges).memory
    done = tick(settled, Links("create"), memory, bridges=bridges)
    assert done.faults == ("network 1000: no",)
    assert not done.has_acted
    done = tick(settled, Links("neighbours"), NetworkMemory())
    assert "neighbours of network 1000: no" in done.faults
    assert 1000 not in done.memory.neighbours
    assert not done.has_acted
