"""The rules notice what they are there for."""

from __future__ import annotations

from dataclasses import replace

from simulated import ON, play

from pvc_gitops.model import paths
from pvc_gitops.sim import rest
from pvc_gitops.world.ports import Create, Put


def rules(one):
    return {violation.rule for violation in one.cluster.checkers.violations}


def test_a_guest_on_two_nodes_and_a_disk_with_two_writers():
    one = play(ON + "settle\n")
    guests = one.cluster.nodes["hv1"].guests
    domain = guests.domains["web1"].domain
    one.cluster.checkers.started(domain, "hv2")
    assert rules(one) == {"one-node", "one-writer"}


def test_a_disk_that_another_guest_writes():
    one = play(ON + "settle\n")
    domain = one.cluster.nodes["hv1"].guests.domains["web1"].domain
    one.cluster.checkers.started(replace(domain, name="thief"), "hv1")
    assert rules(one) == {"one-writer"}


def test_a_target_without_the_epoch_of_today_and_a_generation_that_does_not_grow():
    one = play(ON + "settle\n")
    client = one.cluster.leader().clients["planner"]
    target = client.read(paths.TARGET)
    client.commit((Put(path=paths.TARGET, value=target.value, version=target.version),))
    assert rules(one) == {"epoch", "generation"}


def test_a_cluster_that_is_not_what_was_applied():
    one = play(ON + "settle\n")
    one.cluster.tree.remove(paths.applied("group/web"))
    rest.check(one.cluster)
    assert rules(one) == {"plans-to-nothing"}


def test_a_claim_that_nobody_released():
    one = play(ON + "settle\n")
    value = {"address": "vm/web1", "plan": "x", "step": "y", "node": "hv1", "incarnation": "z"}
    path = paths.claim("vm/web1")
    one.cluster.tree.apply((Create(path=path, value=value),))
    rest.check(one.cluster)
    assert "claims" in rules(one)
