"""Who may log in: the rendered list, the agent that keeps it, the door of the socket behind it."""

from __future__ import annotations

import pytest
from test_desk import Agent

from pvc_gitops.controllers.operators import HEADER, authorized_keys
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address
from pvc_gitops.model.records import Applied, Asked, Phase
from pvc_gitops.world.names import AUTHORIZED_KEYS

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
OTHER = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAA="
FORCED = 'restrict,command="/usr/bin/pvc agent-stdio --operator {}" {}\n'


def operator(name, *keys, phase=Phase.PRESENT):
    return Applied(
        address=Address(f"operator/{name}"),
        kind=Kind.OPERATOR,
        name=name,
        spec={"keys": list(keys)},
        tags=(),
        incarnation=1,
        uuid="u",
        phase=phase,
        needs=(),
        commit=None,
        plan=None,
        wanted=None,
        nics={},
        disks={},
    )


def test_every_key_runs_one_command_in_the_name_of_its_operator():
    text = authorized_keys((operator("bob", OTHER), operator("ann", f"{KEY} ann@x", OTHER)))
    assert text == HEADER + "".join(
        FORCED.format(*each) for each in (("ann", KEY), ("ann", OTHER), ("bob", OTHER))
    )


def test_who_is_being_removed_has_no_key():
    assert authorized_keys((operator("ann", KEY, phase=Phase.REMOVING),)) == HEADER
    assert authorized_keys(()) == HEADER


@pytest.mark.parametrize(
    "text",
    [
        f'command="sh" {KEY}',
        f"no-pty {KEY}",
        f"\n{KEY}",
        f"# {KEY}",
        "ssh-ed25519",
        "ssh-ed25519\nAAAA",
        f"cert-authority,{KEY}",
    ],
)
def test_what_is_not_a_plain_key_is_left_out(text):
    assert authorized_keys((operator("ann", text),)) == HEADER


def test_a_comment_cannot_begin_a_line():
    text = f'{KEY} x\ncommand="sh" {OTHER}'
    assert authorized_keys((operator("ann", text),)) == HEADER + FORCED.format("ann", KEY)


def test_a_name_cannot_end_the_command():
    assert authorized_keys((operator('a"', KEY), operator("a b", KEY), operator("", KEY))) == HEADER


def test_every_node_keeps_the_list_and_an_operator_who_goes_is_refused_on_an_open_connection():
    one = Agent(commits={})
    cluster = one.player.cluster
    alice = FORCED.format("alice", KEY)
    assert {node.files[AUTHORIZED_KEYS] for node in cluster.nodes.values()} == {HEADER + alice}

    assert one.ask("hello", operator="alice").answer.operator == "alice"
    assert one.ask("hello").answer.operator is None
    assert one.ask("look-at-git", operator="alice").answer
    asked = decode(Asked, cluster.tree.records[paths.ASKED].value)
    assert (asked.by, asked.operator) == ("hv1", "alice")
    for stranger in ("mallory", "../x", ""):
        assert one.ask("status", operator=stranger).refusal[0] == "no-operator"

    del cluster.tree.records[f"{paths.OWNED}/operator:alice"]
    cluster.tree.children[paths.OWNED].remove("operator:alice")
    assert one.ask("status", operator="alice").refusal[0] == "no-operator"
    one.agent_tick()
    assert one.node.files[AUTHORIZED_KEYS] == HEADER


def test_without_the_store_the_last_list_stays():
    one = Agent()
    before = one.node.files[AUTHORIZED_KEYS]
    one.player.play("store hv1 off\nwait 120\n")
    one.agent_tick()
    assert one.node.files[AUTHORIZED_KEYS] == before != HEADER
