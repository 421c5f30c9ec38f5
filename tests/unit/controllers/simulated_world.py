"""A World of the simulator for tests of single functions, on a founded and running cluster."""

from __future__ import annotations

from pathlib import Path

from pvc_gitops.cli.simulate import files_of
from pvc_gitops.sim.cluster import SimCluster

BASE = dict(files_of(Path(__file__).parents[2] / "golden" / "sim" / "base"))


def port_world(node="hv1"):
    """hv1's ports, its machine up and its processes not started."""
    cluster = SimCluster(BASE)
    for name in cluster.nodes:
        cluster.power(name, on=True)
    cluster.kernel.run_until(60.0)
    for each in cluster.nodes.values():
        for process in each.processes():
            process.die()
    one = cluster.nodes[node]
    return cluster.world_of(one, one.agent), cluster
