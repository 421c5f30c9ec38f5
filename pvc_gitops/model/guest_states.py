"""The states of a guest's placement, what happens to it, and where that leads (DESIGN section 8).

Whoever writes a placement's state takes it from here; what it waits for, or why it failed, is its `why`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pvc_gitops.model.records import GuestPhase
from pvc_gitops.model.state_tables import Row, Table


class GuestEvent(StrEnum):
    """What happens to a guest that has a placement."""

    HINDERED = "hindered"
    BEGUN = "begun"
    STARTED = "started"
    NOT_STARTED = "not-started"
    ENDED = "ended"
    RESTED = "rested"
    GIVEN_UP = "given-up"
    ASKED_DOWN = "asked-down"
    DOWN = "down"
    OWNER_DEAD = "owner-dead"
    ARRIVED = "arrived"
    CAME = "came"
    CHANGED = "changed"
    OWNER_SILENT = "owner-silent"


_S, _E = GuestPhase, GuestEvent
# A guest of a node that rebooted is still called running, starting or stopping when the next agent
# looks: the records are of another life of the node.
_NO_PROCESS: Final = (
    *(_S.WAITING, _S.STARTING, _S.RUNNING, _S.STOPPING, _S.STOPPED, _S.RECOVERING, _S.FAILED),
)
_WRITTEN: Final = (*_NO_PROCESS, _S.MIGRATING)
_SHOWN: Final = "readers show it while the owner is silent; no record says it"

MEANINGS: Final[dict[GuestPhase | GuestEvent, str]] = {
    _S.WAITING: "it is to be started; its record says what it waits for",
    _S.STARTING: "its owner's agent starts it",
    _S.RUNNING: "its vCPUs run at its owner",
    _S.MIGRATING: "it has arrived at its owner, whole and paused, and is to go on there",
    _S.STOPPING: "it was asked to power off",
    _S.STOPPED: "it does not run, and is not to",
    _S.RECOVERING: "its owner is proven dead; its record says where it goes, or what is missing",
    _S.FAILED: "its owner gave up starting it, or it may not be started again; its record says why",
    _S.UNKNOWN: "its owner is silent: nobody knows; shown, never written",
    _E.HINDERED: "what it needs at its owner is not there yet",
    _E.BEGUN: "its owner's agent takes up a start",
    _E.STARTED: "its vCPUs run, or are found running in this life of its owner",
    _E.NOT_STARTED: "a start failed, and is tried again",
    _E.ENDED: "its process is gone without our doing, and it is started again",
    _E.RESTED: "it powered itself off, and is left so",
    _E.GIVEN_UP: "it came to nothing as often as its limits allow",
    _E.ASKED_DOWN: "it is asked to power off",
    _E.DOWN: "it is to be off, and has no process",
    _E.OWNER_DEAD: "its owner's death is proven: HA gives it to another, or says what is missing",
    _E.ARRIVED: "a live migration ended, and its record follows it",
    _E.CAME: "it was shut down here, or lost on its way: its owner, new or old, is to start it",
    _E.CHANGED: "a plan changed it, or an operator asks again: it is judged anew",
    _E.OWNER_SILENT: "its owner's heartbeat stands still",
}

TABLE: Final = Table(
    "guest",
    GuestPhase,
    (
        Row(
            event=_E.HINDERED,
            leads=dict.fromkeys(_NO_PROCESS, _S.WAITING),
            otherwise="it has all that it needs, or nobody asked",
        ),
        Row(
            event=_E.BEGUN,
            leads=dict.fromkeys(_NO_PROCESS, _S.STARTING),
            otherwise="a copy that has arrived goes on; it is not started",
        ),
        Row(
            event=_E.STARTED,
            # Stopping: it is wanted again, and did not listen. Waiting, failed, recovering: its agent
            # died between the start and the record.
            leads=dict.fromkeys(
                (
                    *(_S.WAITING, _S.STARTING, _S.RUNNING, _S.MIGRATING, _S.STOPPING),
                    *(_S.STOPPED, _S.RECOVERING, _S.FAILED),
                ),
                _S.RUNNING,
            ),
            otherwise=_SHOWN,
        ),
        Row(
            event=_E.NOT_STARTED,
            leads=dict.fromkeys((_S.STARTING, _S.WAITING, _S.FAILED), _S.WAITING),
            otherwise="no start of it is under way",
        ),
        Row(
            event=_E.ENDED,
            leads={_S.RUNNING: _S.WAITING},
            otherwise="it did not run",
        ),
        Row(
            event=_E.RESTED,
            leads={_S.RUNNING: _S.STOPPED},
            otherwise="it did not run",
        ),
        Row(
            event=_E.GIVEN_UP,
            leads=dict.fromkeys((_S.STARTING, _S.WAITING, _S.RUNNING, _S.FAILED), _S.FAILED),
            otherwise="nothing of it was tried",
        ),
        Row(
            event=_E.ASKED_DOWN,
            leads=dict.fromkeys(_WRITTEN, _S.STOPPING),
            otherwise=_SHOWN,
        ),
        Row(
            event=_E.DOWN,
            leads=dict.fromkeys(_WRITTEN, _S.STOPPED),
            otherwise=_SHOWN,
        ),
        Row(
            event=_E.OWNER_DEAD,
            leads=dict.fromkeys(_WRITTEN, _S.RECOVERING),
            otherwise=_SHOWN,
        ),
        Row(
            event=_E.ARRIVED,
            leads={_S.RUNNING: _S.MIGRATING},
            otherwise="only what runs goes alive",
        ),
        Row(
            event=_E.CAME,
            leads=dict.fromkeys(
                (*_NO_PROCESS, _S.MIGRATING),
                _S.WAITING,
            ),
            otherwise=_SHOWN,
        ),
        Row(
            event=_E.CHANGED,
            leads=dict.fromkeys((_S.FAILED, _S.STOPPED, _S.WAITING), _S.WAITING),
            otherwise="nothing of it has to be judged anew",
        ),
        Row(
            event=_E.OWNER_SILENT,
            leads=dict.fromkeys(GuestPhase, _S.UNKNOWN),
        ),
    ),
    MEANINGS,
)


def after(state: GuestPhase, event: GuestEvent) -> GuestPhase:
    """Where an event leads. Raises InvariantViolation where it cannot happen."""
    return TABLE.next(state, event)
