"""The states of a node, what happens to it, and where that leads (DESIGN section 8).

The records tell what has happened: `history` reads it from them, the table says what it comes to.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.state_tables import Row, Table
from pvc_gitops.model.values import dataclass


class NodeEvent(StrEnum):
    """What happens to a node."""

    JOINED = "joined"
    BEAT = "beat"
    SILENT = "silent"
    SAID_LEFT = "said-left"
    REVOKED = "revoked"
    PROVEN_DEAD = "proven-dead"
    RELEASED = "released"
    IMPAIRED = "impaired"
    MENDED = "mended"
    CLOSED = "closed"
    OPENED = "opened"


_S, _E = NodeState, NodeEvent
_AT_WORK: Final = (_S.ONLINE, _S.DEGRADED, _S.MAINTENANCE)

MEANINGS: Final[dict[NodeState | NodeEvent, str]] = {
    _S.ABSENT: "declared, and never joined",
    _S.ONLINE: "its heartbeat moves",
    _S.DEGRADED: "its heartbeat moves, and something of it has failed, as its note says: it is used;"
    " without its storage it gets no new guests, and its own go elsewhere where there is room",
    _S.MAINTENANCE: "its heartbeat moves, and an operator has taken it out of service",
    _S.UNKNOWN: "its heartbeat stands still; its guests may be running",
    _S.FENCING: "its incarnation is revoked, and its death not proven yet",
    _S.FENCED: "its death is proven; its guests may start elsewhere; it is not released yet",
    _S.LEFT: "its guard's last word was: no guests",
    _E.JOINED: "its guard opens an incarnation",
    _E.BEAT: "its counter moves",
    _E.SILENT: "its counter has stood still for the lease and a second",
    _E.SAID_LEFT: "its guard says that no guests are left",
    _E.REVOKED: "HA revokes its incarnation",
    _E.PROVEN_DEAD: "the death of the revoked incarnation is written down with its evidence",
    _E.RELEASED: "it is back and clean: HA lifts the blocklist's entries and ends the fence",
    _E.IMPAIRED: "it reports a fault that not all nodes have",
    _E.MENDED: "it reports none any more",
    _E.CLOSED: "an operator takes it out of service",
    _E.OPENED: "an operator takes it into service again",
}


def _staying(*states: NodeState) -> dict[NodeState, NodeState]:
    return {state: state for state in states}


TABLE: Final = Table(
    "node",
    NodeState,
    (
        Row(
            event=_E.JOINED,
            # A node that comes back while it is being fenced is fenced all the same: its guests may
            # have been given away by now, and its storage addresses are blocked.
            leads=dict.fromkeys((_S.ABSENT, _S.ONLINE, _S.UNKNOWN, _S.LEFT), _S.ONLINE)
            | {_S.DEGRADED: _S.ONLINE}
            | _staying(_S.MAINTENANCE, _S.FENCING, _S.FENCED),
        ),
        Row(
            event=_E.BEAT,
            leads=_staying(*_AT_WORK, _S.FENCING, _S.FENCED, _S.LEFT) | {_S.UNKNOWN: _S.ONLINE},
            otherwise="it has no incarnation whose counter could move",
        ),
        Row(
            event=_E.SILENT,
            leads=dict.fromkeys((*_AT_WORK, _S.UNKNOWN), _S.UNKNOWN)
            | _staying(_S.FENCING, _S.FENCED, _S.LEFT),
            otherwise="it has no counter that could stand still",
        ),
        Row(
            event=_E.SAID_LEFT,
            leads=dict.fromkeys((*_AT_WORK, _S.UNKNOWN, _S.LEFT), _S.LEFT)
            | _staying(_S.FENCING, _S.FENCED),
            otherwise="it has no incarnation that could end",
        ),
        Row(
            event=_E.REVOKED,
            leads={_S.UNKNOWN: _S.FENCING, _S.LEFT: _S.FENCING},
            otherwise="only a node that is silent or has left is revoked, and only once",
        ),
        Row(
            event=_E.PROVEN_DEAD,
            leads={_S.FENCING: _S.FENCED},
            otherwise="a proof begins with the revocation, and is written once",
        ),
        Row(
            event=_E.RELEASED,
            leads={_S.FENCED: _S.ONLINE},
            otherwise="a fence ends with a proof and a new life",
        ),
        Row(
            event=_E.IMPAIRED,
            leads={_S.ONLINE: _S.DEGRADED}
            | _staying(_S.DEGRADED, _S.MAINTENANCE, _S.FENCING, _S.FENCED),
            otherwise="a node that does not answer says nothing of itself",
        ),
        Row(
            event=_E.MENDED,
            leads={_S.DEGRADED: _S.ONLINE}
            | _staying(_S.ONLINE, _S.MAINTENANCE, _S.FENCING, _S.FENCED),
            otherwise="a node that does not answer says nothing of itself",
        ),
        Row(
            event=_E.CLOSED,
            leads=dict.fromkeys(_AT_WORK, _S.MAINTENANCE)
            | _staying(_S.ABSENT, _S.UNKNOWN, _S.FENCING, _S.FENCED, _S.LEFT),
        ),
        Row(
            event=_E.OPENED,
            leads={_S.MAINTENANCE: _S.ONLINE}
            | _staying(
                *(_S.ABSENT, _S.ONLINE, _S.DEGRADED, _S.UNKNOWN, _S.FENCING, _S.FENCED, _S.LEFT)
            ),
        ),
    ),
    MEANINGS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the records, and whoever watches the heartbeats, know of a node now."""

    has_joined: bool
    is_silent: bool = False
    has_left: bool = False
    is_fenced: bool = False  # a fence of it stands
    is_proven_dead: bool = False  # the incarnation that the fence is about
    is_sound: bool = True  # nothing of it has failed
    is_closed: bool = False  # by an operator


def history(of: Standing) -> Iterator[NodeEvent]:
    """What must have happened, in order."""
    if of.has_joined:
        yield NodeEvent.JOINED
        if of.has_left:
            yield NodeEvent.SAID_LEFT
        elif of.is_silent or of.is_fenced:  # HA saw it silent, whatever another watcher sees
            yield NodeEvent.SILENT
        elif not of.is_sound:
            yield NodeEvent.IMPAIRED
        if of.is_fenced:
            yield NodeEvent.REVOKED
        if of.is_fenced and of.is_proven_dead:
            yield NodeEvent.PROVEN_DEAD
    if of.is_closed:
        yield NodeEvent.CLOSED


def state_of(standing: Standing) -> NodeState:
    """Its state now."""
    return TABLE.fold(NodeState.ABSENT, history(standing))


def after(state: NodeState, event: NodeEvent) -> NodeState:
    """Where an event leads. Raises InvariantViolation where it cannot happen."""
    return TABLE.next(state, event)
