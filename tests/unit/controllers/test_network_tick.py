"""What a node's networks remember between ticks, and what a failure costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_world import port_world

from pvc_gitops.controllers import networks, view
from pvc_gitops.controllers.networks import NetworkMemory
from pvc_gitops.errors import LinkError
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.inventory import GuestState
from pvc_gitops.model.records import Applied
from pvc_gitops.world.ports import DomainFacts


class Links:
    """A kernel that counts, and refuses what it is told to refuse."""

    def __init__(self):
        self.refuses, self.told = set(), []

    def __getattr__(self, name):
        def call(*args):
            if name in self.refuses:
                raise LinkError(name, "br", "no", retryable=True)
            self.told.append(name)

        return call


@pytest.fixture(scope="module")
def settled():
    from pvc_gitops.sim.play import Player
    from simulated_world import BASE
    from pvc_gitops.sim.cluster import SimCluster
    player = Player(SimCluster(BASE), lambda name: {})
    player.play("power hv1 on; power hv2 on; power hv3 on\nsettle\n")
    cluster = player.cluster
    node = cluster.nodes["hv1"]
    world = cluster.world_of(node, node.agent)
    return world, view.take(world)
