"""Intents over the socket: made, refused, shown, warned of, over; and what roles say of them."""

from __future__ import annotations

import pytest
from simulated_world import BASE
from test_desk import Agent

from pvc_gitops.cli.show import health, status_text
from pvc_gitops.controllers import steps, view
from pvc_gitops.controllers.steps import StepsMemory
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.ledger import Entry
from pvc_gitops.sim import desk
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.play import Player

HOUR_S = 3600
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB"
ROLE = b"""apiVersion: pvc/v1
kind: Role
metadata: {name: web}
spec:
  operate: {select: {addresses: ["vm/web*"]}, verbs: [stop, start]}
"""


def entries(one):
    tree = one.player.cluster.tree
    names = sorted(tree.children.get(paths.LEDGER_ENTRIES, ()))
    found = [decode(Entry, tree.records[f"{paths.LEDGER_ENTRIES}/{n}"].value) for n in names]
    return [entry for entry in found if entry.kind.startswith("intent")]


@pytest.fixture
def one():
    return Agent(commits={})


def freeze(one, **more):
    return one.ask("intent", kind="freeze", subject="cluster", reason="a look", **more)


def test_an_intent_has_an_author_a_reason_an_end_and_a_ledger_entry(one):
    made = freeze(one, operator="alice", for_s=2 * HOUR_S).answer
    assert (made.id, made.by, made.reason) == ("freeze-1", "alice", "a look")
    assert made.expires_at_s == made.made_at_s + 2 * HOUR_S
    assert one.ask("intents").answer == [made]
    (entry,) = entries(one)
    assert (entry.kind, entry.by) == ("intent", "alice")
    assert "a look" in entry.text


def test_no_id_is_given_twice(one):
    names = [freeze(one).answer.id for _ in range(2)]
    for name in names:
        assert one.ask("end-intent", id=name).answer.id == name
    again = freeze(one).answer.id
    power = one.ask("intent", kind="power", subject="vm/web1", data={"power": "stop"}).answer
    assert [*names, again, power.id] == ["freeze-1", "freeze-2", "freeze-3", "power-web1-4"]
    assert [entry.kind for entry in entries(one)] == [
        *("intent", "intent", "intent-ended", "intent-ended", "intent", "intent")
    ]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"kind": "dance", "subject": "cluster"}, "no intent is a 'dance'"),
        ({"kind": "freeze", "subject": "vm/web1"}, "freeze is about cluster"),
        ({"kind": "drain", "subject": "cluster"}, "drain is about node/NAME"),
        ({"kind": "drain", "subject": "node/hv9"}, "has no node/hv9"),
        ({"kind": "hold", "subject": "cluster"}, "hold needs an end"),
        ({"kind": "hold", "subject": "cluster", "for_s": 5 * HOUR_S}, "at most 4 h"),
        ({"kind": "freeze", "subject": "cluster", "for_s": 0}, "more than nothing"),
        ({"kind": "freeze", "subject": "cluster", "for_s": "2h"}, "for_s is seconds"),
        ({"kind": "freeze", "subject": "cluster", "for_s": True}, "for_s is seconds"),
        ({"kind": "freeze", "subject": "cluster", "reason": "a\nb"}, "one line"),
        ({"kind": "power", "subject": "vm/web1"}, "power is start or stop"),
        ({"kind": "place", "subject": "vm/web1", "data": {"node": "hv9"}}, "no node 'hv9'"),
        ({"kind": "approve", "subject": "all of it"}, "no effect of a plan"),
        ({"kind": "retry", "subject": "HEAD"}, "no commit"),
    ],
)
def test_what_is_no_intent_is_refused_and_leaves_nothing(one, asked, words):
    assert words in one.ask("intent", **asked).refusal[1]
    assert one.ask("intents").answer == []
    assert entries(one) == []


def test_ending_what_is_not_there_says_where_to_look(one):
    code, message, hint = one.ask("end-intent", id="freeze-9").refusal
    assert (code, "freeze-9" in message, "pvc intent list" in hint) == ("no-intent", True, True)


def test_the_leader_ends_what_is_over_and_writes_it_down(one):
    freeze(one, for_s=HOUR_S)
    one.player.play(f"wait {HOUR_S + 2}\n")
    assert one.ask("intents").answer == []
    assert one.player.cluster.tree.children[paths.INTENTS] == set()
    made, ended = entries(one)
    assert (ended.kind, ended.by) == ("intent-ended", "planner")
    assert ended.at_s - made.at_s == pytest.approx(HOUR_S, abs=3)


def test_a_drain_does_not_end_by_itself(one):
    one.ask("intent", kind="drain", subject="node/hv3", for_s=HOUR_S)
    one.player.play(f"wait {2 * HOUR_S}\n")
    assert [intent.id for intent in one.ask("intents").answer] == ["drain-hv3-1"]


def test_an_end_that_does_something_is_told_half_an_hour_before(one):
    freeze(one, for_s=HOUR_S)

    def warned():
        return [line for line in one.ask("status").answer.waiting if "freeze-1 ends" in line[1]]

    assert warned() == []
    one.player.play(f"wait {HOUR_S // 2 + 60}\n")
    ((subject, what, command),) = warned()
    assert subject == "cluster"
    assert "29 min" in what or "28 min" in what
    assert "follows the branch again" in what
    assert "freeze-1" in command
    soon = [e for e in one.player.cluster.events if e["kind"] == "intent_ends_soon"]
    assert [event["id"] for event in soon] == ["freeze-1"]  # once


def test_status_shows_every_intent_and_its_first_line_a_freeze(one):
    freeze(one, operator="alice")
    one.ask("intent", kind="power", subject="vm/web1", data={"power": "stop"}, reason="disk")
    state = one.ask("status").answer
    text = status_text(state, one.ask("inventory").answer, width=120)
    assert (health(state).word, health(state).clause) == ("HEALTHY", "frozen by alice")
    assert "frozen by alice" in text.splitlines()[0]
    assert 'freeze-1  freeze  by alice, until ended  "a look"' in text
    assert "power-web1-2  power vm/web1 power stop  by root" in text


def test_the_inventory_holds_what_is_in_force(one):
    freeze(one)
    assert list(one.ask("inventory").answer.intents) == ["freeze-1"]


# --- who may -----------------------------------------------------------------------------------------


def with_roles():
    alice = BASE["operators/alice.yaml"].decode()
    return {
        **BASE,
        "roles/web.yaml": ROLE,
        "operators/alice.yaml": f"{alice.rstrip()}\n  roles: [admin]\n".encode(),
        "operators/bob.yaml": (
            "apiVersion: pvc/v1\nkind: Operator\nmetadata: {name: bob}\n"
            f"spec: {{keys: ['{KEY}'], roles: [web]}}\n"
        ).encode(),
    }


def test_a_role_says_what_its_operator_may_want():
    one = Agent(files=with_roles())
    stop = {"kind": "power", "data": {"power": "stop"}}
    assert one.ask("intent", operator="bob", subject="vm/web1", **stop).answer.by == "bob"
    code, message, _ = one.ask("intent", operator="bob", subject="vm/db1", **stop).refusal
    assert code == "not-allowed"
    assert "bob may not stop vm/db1" in message
    for kind in ("freeze", "halt"):
        refused = one.ask("intent", operator="bob", kind=kind, subject="cluster").refusal
        assert f"may not {kind} cluster" in refused[1]
        assert one.ask("intent", operator="alice", kind=kind, subject="cluster").answer
    assert one.ask("end-intent", operator="bob", id="freeze-2").refusal[0] == "not-allowed"
    assert one.ask("rollback", operator="bob").refusal[0] == "not-allowed"
    assert one.ask("release", operator="bob", commit="abcdef0").refusal[0] == "not-allowed"
    approve = {"kind": "approve", "subject": "0" * 8}
    assert one.ask("intent", operator="bob", **approve).refusal[0] == "not-allowed"


# --- a halt is strict ------------------------------------------------------------------------------


@pytest.mark.parametrize("is_halted", [False, True])
def test_no_step_begins_after_a_halt_was_acknowledged_whenever_the_agent_looked(is_halted):
    """The agent's picture is older than the halt: its transaction does not pass."""
    player = Player(SimCluster(BASE), dict)
    cluster = player.cluster
    player.play("power hv1 on; power hv2 on; power hv3 on\nwait 61\n")
    node = cluster.nodes["hv1"]
    while not any(event["kind"] == "plan_published" for event in cluster.events):
        cluster.kernel.run_until(cluster.kernel.now_s + 0.005)
    node.agent.pause()
    world = cluster.world_of(node, node.agent)
    seen = view.take(world)
    assert not seen.is_halted
    if is_halted:
        desk.wish(cluster, "halt", ["on"])
        assert view.take(world).is_halted
    before = len(cluster.events)
    steps.tick(world, seen, StepsMemory())
    begun = [e for e in cluster.events[before:] if e["kind"] == "step_running"]
    assert bool(begun) is not is_halted
