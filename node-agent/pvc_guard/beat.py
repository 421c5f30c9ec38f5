"""Heartbeats: when they are sent, over which connection, and what an answer renews. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, assert_never

from pvc_guard.asking import answered, ask
from pvc_guard.hold import keep_record, recorded, seen
from pvc_guard.life import Guard, Lease
from pvc_guard.words import (
    Acknowledged,
    Action,
    Failed,
    HoldRecorded,
    HoldSeen,
    NoQuorum,
    Tick,
    Via,
    WriteHeartbeat,
)

# A heartbeat without an answer for this long is also sent over the second connection: h + Z + 1 <= L
# leaves exactly one second for noticing (DESIGN section 8, timing 1).
PATIENCE_S: Final = 1.0

About = Tick | Acknowledged | Failed | NoQuorum | HoldSeen | HoldRecorded


def beat(lease: Lease, guard: Guard, event: About) -> tuple[Lease, tuple[Action, ...]]:
    """What an event does to a lease that is not over, or held."""
    actions: tuple[Action, ...] = ()
    match event:
        case Tick():
            lease, record = keep_record(lease, guard)
            lease, writes = _next_heartbeat(lease, guard)
            actions = (*record, *writes)
        case Acknowledged():
            if event.incarnation == lease.incarnation and event.sent_at_s <= guard.now_s:
                lease = _renewed(lease, event.sent_at_s)
        case Failed():
            if event.via is not Via.SECOND:  # the next beat tries both again
                lease, actions = _send(lease, lease.counter + 1, (Via.SECOND,))
        case NoQuorum():
            lease = answered(lease, guard, event)
        case HoldSeen():
            lease = seen(lease, guard, event)
        case HoldRecorded():
            lease = recorded(lease, event)
        case other:
            assert_never(other)
    return lease, actions


def _next_heartbeat(lease: Lease, guard: Guard) -> tuple[Lease, tuple[Action, ...]]:
    if guard.now_s < lease.beat_at_s + guard.timing.heartbeat_s:
        return lease, ()
    since = lease.unanswered_since_s
    is_late = since is not None and guard.now_s - since >= PATIENCE_S
    sent = replace(
        lease,
        beat_at_s=guard.now_s,
        unanswered_since_s=guard.now_s if since is None else since,
    )
    if not is_late:
        return _send(sent, lease.counter + 1, (Via.FIRST,))
    sent, questions = ask(sent, guard)
    sent, writes = _send(sent, lease.counter + 1, (Via.FIRST, Via.SECOND))
    return sent, (*writes, *questions)


def _send(lease: Lease, counter: int, ways: tuple[Via, ...]) -> tuple[Lease, tuple[Action, ...]]:
    writes = tuple(
        WriteHeartbeat(incarnation=lease.incarnation, counter=counter, via=via) for via in ways
    )
    return replace(lease, counter=counter), writes


def _renewed(lease: Lease, sent_at_s: float) -> Lease:
    # Answers may overtake one another on two connections; an older one takes nothing back.
    acknowledged_s = max(lease.acknowledged_s, sent_at_s)
    # Heartbeats sent after the acknowledged one are still without an answer.
    unanswered = lease.beat_at_s if lease.beat_at_s > acknowledged_s else None
    return replace(
        lease,
        acknowledged_s=acknowledged_s,
        unanswered_since_s=unanswered,
        is_by_asking=lease.is_by_asking and sent_at_s < lease.acknowledged_s,
    )
