"""The tables of states: total, a reason for every hole, and nothing that is never reached."""

from __future__ import annotations

from itertools import product

import pytest

from pvc_gitops.errors import InvariantViolation
from pvc_gitops.model import guest_states, node_states
from pvc_gitops.model.guest_states import GuestEvent
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.node_states import NodeEvent, Standing, history, state_of
from pvc_gitops.model.records import GuestPhase
from pvc_gitops.model.state_tables import Impossible

TABLES = pytest.mark.parametrize(
    "table", [node_states.TABLE, guest_states.TABLE], ids=lambda table: table.name
)
EVENTS = {"node": NodeEvent, "guest": GuestEvent}
# Declared guests wait, adopted ones run.
FIRST = {"node": {NodeState.ABSENT}, "guest": {GuestPhase.WAITING, GuestPhase.RUNNING}}
# Readers show it of a guest whose owner is silent; its record goes on saying what it says.
NEVER_LEFT = {"node": set(), "guest": {GuestPhase.UNKNOWN}}


@TABLES
def test_every_event_in_every_state_has_an_entry(table):
    events = EVENTS[table.name]
    assert set(table.entries) == set(product(table.states, events))
    assert [row.event for row in table.rows] == list(events)


@TABLES
def test_what_cannot_happen_says_why_and_raises(table):
    holes = {at: e for at, e in table.entries.items() if isinstance(e, Impossible)}
    assert holes
    for (state, event), hole in holes.items():
        assert len(hole.why) > 10
        with pytest.raises(InvariantViolation, match=f"{event} while {state}"):
            table.next(state, event)


@TABLES
def test_every_state_is_reached_and_left(table):
    reached = set(FIRST[table.name])
    while more := {to for at, _, to in table.edges() if at in reached} - reached:
        reached |= more
    assert reached == set(table.states)
    left = {at for at, _, to in table.edges() if at is not to}
    assert left == set(table.states) - NEVER_LEFT[table.name]


@TABLES
def test_every_state_and_event_has_a_meaning(table):
    assert set(table.meanings) == {*table.states, *EVENTS[table.name]}
    assert all(table.meanings.values())


@pytest.mark.parametrize(
    ("standing", "state"),
    [
        (Standing(has_joined=False), NodeState.ABSENT),
        (Standing(has_joined=False, is_silent=True), NodeState.ABSENT),
        (Standing(has_joined=True), NodeState.ONLINE),
        (Standing(has_joined=True, is_silent=True), NodeState.UNKNOWN),
        (Standing(has_joined=True, is_silent=True, has_left=True), NodeState.LEFT),
        (Standing(has_joined=True, is_silent=True, is_fenced=True), NodeState.FENCING),
        # Its new life beats already, and its fence stands.
        (Standing(has_joined=True, is_fenced=True), NodeState.FENCING),
        (Standing(has_joined=True, has_left=True, is_fenced=True), NodeState.FENCING),
        (Standing(has_joined=True, is_fenced=True, is_proven_dead=True), NodeState.FENCED),
        # A proof of an older incarnation, from before this fence, is none.
        (Standing(has_joined=True, is_proven_dead=True), NodeState.ONLINE),
        (Standing(has_joined=True, is_sound=False), NodeState.DEGRADED),
        (Standing(has_joined=True, is_closed=True), NodeState.MAINTENANCE),
        (Standing(has_joined=True, is_silent=True, is_closed=True), NodeState.UNKNOWN),
    ],
)
def test_a_nodes_state_is_what_the_records_tell_has_happened(standing, state):
    assert state_of(standing) is state


def test_whatever_the_records_say_is_a_story_that_can_happen():
    for flags in product((False, True), repeat=6):
        joined, silent, left, fenced, proven, closed = flags
        standing = Standing(
            has_joined=joined,
            is_silent=silent,
            has_left=left,
            is_fenced=fenced,
            is_proven_dead=proven,
            is_closed=closed,
        )
        assert state_of(standing) in NodeState
        assert len(set(history(standing))) == len(list(history(standing)))


def test_an_ended_life_is_revoked_once_and_proven_once():
    with pytest.raises(InvariantViolation, match="once"):
        node_states.after(NodeState.FENCING, NodeEvent.REVOKED)
    with pytest.raises(InvariantViolation, match="once"):
        node_states.after(NodeState.FENCED, NodeEvent.PROVEN_DEAD)
    assert node_states.after(NodeState.FENCED, NodeEvent.RELEASED) is NodeState.ONLINE
