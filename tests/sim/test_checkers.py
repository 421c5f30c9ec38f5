"""The rules notice what they are there for."""

from __future__ import annotations

from dataclasses import replace

from simulated import BASE, ON, changed, events, play

from pvc_gitops.model import paths
from pvc_gitops.model.codec import encode
from pvc_gitops.model.ha import Fence, Proof, ProofKind
from pvc_gitops.sim import rest
from pvc_gitops.world.ports import Check, Create, Put
from pvc_guard import lease


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


def test_a_target_by_who_does_not_lead_and_a_generation_that_does_not_grow():
    one = play(ON + "settle\n")
    leader = one.cluster.leader()
    other = next(node for node in one.cluster.nodes.values() if node is not leader)
    client = other.clients["planner"]
    target = client.read(paths.TARGET)
    client.commit((Put(path=paths.TARGET, value=target.value, version=target.version),))
    assert rules(one) == {"epoch", "generation"}


def test_a_node_that_is_fenced_while_it_is_heard():
    one = play(ON + "settle\n")
    client = one.cluster.leader().clients["ha"]
    before = client.read(paths.incarnation("hv2"))
    revoked = {**before.value, "is_revoked": True}
    path = paths.incarnation("hv2")
    client.commit((Put(path=path, value=revoked, version=before.version),))
    assert rules(one) == {"fence"}


def test_a_node_that_is_switched_off_while_it_is_heard():
    one = play(ON + "settle\n")
    leader = one.cluster.leader()
    world = one.cluster.world_of(leader, leader.ha)
    world.machines.switch_off("hv2", None, by_s=world.clock.monotonic_s() + 1)
    assert rules(one) == {"fence"}


def fence_of(node, life):
    return Fence(
        node=node,
        incarnation=life,
        revoked_at_s=0,
        why="a test",
        lease_s=6.0,
        watchdog_s=None,
        storage_addresses=(),
    )


def test_a_death_that_is_proven_while_its_guests_run():
    one = play(ON + "settle\n")
    client = one.cluster.leader().clients["ha"]
    life = client.read(paths.incarnation("hv2")).value["id"]
    proof = Proof(incarnation=life, kind=ProofKind.BMC, evidence="a test", at_s=0)
    client.commit((Create(path=paths.proof("hv2"), value=encode(proof)),))
    assert rules(one) == {"proof"}


def test_a_life_that_is_being_fenced_and_is_heard():
    one = play(ON + "settle\n")
    client = one.cluster.leader().clients["ha"]
    life = client.read(paths.incarnation("hv2")).value["id"]
    client.commit((Create(path=paths.fence("hv2"), value=encode(fence_of("hv2", life))),))
    one.play("wait 2\n")
    assert rules(one) == {"heard"}


def test_a_guest_that_is_given_away_by_who_does_not_run_it():
    one = play(ON + "settle\n")
    home = one.result()["vms"]["app1"]["node"]
    to = next(node for node in one.cluster.nodes if node != home)
    client = one.cluster.leader().clients["ha"]
    before, life = client.read(paths.placement("app1")), client.read(paths.incarnation(home))
    value = {**before.value, "owner": to}
    client.commit(
        (
            Check(path=paths.incarnation(home), version=life.version),
            Put(path=paths.placement("app1"), value=value, version=before.version),
        )
    )
    one.play("wait 20\n")
    assert rules(one) == {"proof"}


def test_a_guest_that_is_declared_anew_is_no_second_start():
    without = {name: data for name, data in BASE.items() if name != "vms/app2.yaml"}
    one = play(ON + "settle\n", commits={"without": without, "again": BASE})
    home = one.result()["vms"]["app2"]["node"]
    one.play(f"bmc {home} off\ncommit without\nsettle\ncommit again; power {home} off\nwait 20\n")
    assert one.result()["vms"]["app2"]["state"] == "running"
    assert one.result()["vms"]["app2"]["node"] != home
    assert events(one, "death_proven") == []
    assert rules(one) == set()


def test_a_guard_that_ends_its_guests_without_a_reason():
    one = play(ON + "settle\n")
    one.cluster.nodes["hv1"].guard._perform((lease.KillGuests(why="a whim"),))
    assert rules(one) == {"kill"}


def test_guests_of_a_strict_group_on_one_node():
    files = changed("groups/web.yaml", "strict: false", "strict: true")
    one = play(ON + "settle\n", files)
    where = {name: vm["node"] for name, vm in one.result()["vms"].items()}
    domain = one.cluster.nodes[where["web1"]].guests.domains["web1"].domain
    one.cluster.checkers.runs("web1", where["web1"], now=False)
    one.cluster.checkers.runs("web1", where["web2"], now=True)
    one.cluster.rules.on_start(domain.name, where["web2"])
    assert "strict-group" in rules(one)


def test_a_guest_whose_state_turns_as_no_event_leads():
    one = play(ON + "settle\n")
    client = one.cluster.leader().clients["planner"]
    before = client.read(paths.placement("web1"))
    value = {**before.value, "state": "unknown"}
    client.commit((Put(path=paths.placement("web1"), value=value, version=before.version),))
    # That a reader may show it does not mean that a record may say it.
    assert rules(one) == {"states"}


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
