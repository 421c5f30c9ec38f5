"""Whoever leads reads for a while, and steps end meanwhile: nothing may come of that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated import BASE, ON, events, player

from pvc_gitops.controllers.plan import PlannerMemory, tick
from pvc_gitops.controllers.slices import read_plan, read_results, statuses
from pvc_gitops.model import paths
from pvc_gitops.sim.process import Process

CAROL = (
    BASE["operators/alice.yaml"].replace(b"alice", b"carol").replace(b"AAAA carol", b"AAAB carol")
)
AFTER = {key: value for key, value in BASE.items() if key != "vms/app2.yaml"}
BEFORE = {**BASE, "operators/carol.yaml": CAROL}
READS = range(30, 110)  # several looks of the leader
LONG_S = 60.0


class GappyStore:
    """Once it is armed: before the n-th read from then on, all steps begin and end."""

    def __init__(self, client):
        self._client = client
        self._left, self._act = 0, None

    def __getattr__(self, name):
        return getattr(self._client, name)

    def arm(self, reads, act):
        self._left, self._act = reads, act

    def read(self, path):
        self._count()
        return self._client.read(path)

    def read_children(self, path):
        self._count()
        return self._client.read_children(path)

    def _count(self):
        self._left -= 1
        if self._left == 0:
            self._act()


def gappy_planner(one):
    """The only planner of the cluster, on hv1, with such a store."""
    cluster = one.cluster
    for node in cluster.nodes.values():
        node.planner.die()
    node, stores = cluster.nodes["hv1"], []

    def begin(process):
        world = cluster.world_of(node, process)
        store = GappyStore(world.store)
        stores.append(store)
        world, inside = replace(world, store=store), []

        def once(memory):
            if inside:  # woken while it reads: the loop of a real process comes back to it
                return memory
            inside.append(True)
            memory = tick(world, memory)
            inside.pop()
            return memory

        return once, PlannerMemory()

    node.planner = Process(
        kernel=cluster.kernel,
        name="planner",
        begin=begin,
        on_death=lambda _: None,
        clock=node.clock,
        on_still=lambda _: None,
    )
    node.planner.start()
    return stores[0]


def under_way(cluster):
    client = cluster.nodes["hv1"].clients["planner"]
    target = client.read(paths.TARGET).value["plan"]
    found = statuses(read_plan(client, target), read_results(client, target)).values()
    return "running" in found or "pending" in found


@pytest.mark.parametrize("reads", READS)
def test_a_step_that_ends_while_the_leader_reads_is_not_planned_again(reads):
    one = player(BEFORE, commits={"next": AFTER})
    cluster, agents = one.cluster, [node.agent for node in one.cluster.nodes.values()]
    one.play(ON + "settle\n")
    store = gappy_planner(one)
    one.play("wait 60\ncommit next\n")
    count = len(events(one, "plan_published"))
    while len(events(one, "plan_published")) == count:
        cluster.kernel.run_until(cluster.kernel.now_s + 0.005)
    for agent in agents:
        agent.pause()
    one.play("wait 10\n")  # the leader has looked at everything since
    assert under_way(cluster)

    def gap():
        for agent in agents:
            agent.resume()
        end_s = cluster.kernel.now_s + LONG_S
        while under_way(cluster) and cluster.kernel.now_s < end_s:
            cluster.kernel.run_until(cluster.kernel.now_s + 0.1)
        assert not under_way(cluster)

    store.arm(reads, gap)
    before = len(cluster.events)
    one.play("wait 120\n")
    done = [event["step"] for event in cluster.events[before:] if event["kind"] == "step_done"]
    assert "record.drop operator/carol" in done
    assert events(one, "step_failed") == []
    assert len(events(one, "plan_published")) == count + 1
    assert sorted(set(done)) == sorted(done)
    assert one.result()["violations"] == []
