"""Heartbeats: when they are sent, over which connection, and what an answer renews. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, assert_never

from pvc_guard.life import Guard, Lease
from pvc_guard.words import Acknowledged, Action, Failed, Tick, Via, WriteHeartbeat

# A heartbeat without an answer for this long is also sent over the second connection: h + Z + 1 <= L
# leaves exactly one second for noticing (DESIGN section 8, timing 1).
PATIENCE_S: Final = 1.0


def beat(
    lease: Lease, guard: Guard, event: Tick | Acknowledged | Failed
) -> tuple[Lease, tuple[Action, ...]]:
    match event:
        case Tick():
            return _next_heartbeat(lease, guard)
        case Acknowledged():
            if event.incarnation != lease.incarnation or event.sent_at_s > guard.now_s:
                return lease, ()
            return _renewed(lease, event.sent_at_s), ()
        case Failed():
            if event.via is Via.SECOND:
                return lease, ()  # the next beat tries both again
            return _send(lease, lease.counter + 1, (Via.SECOND,))
        case other:
            assert_never(other)


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
    return _send(sent, lease.counter + 1, (Via.FIRST, Via.SECOND) if is_late else (Via.FIRST,))


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
    return replace(lease, acknowledged_s=acknowledged_s, unanswered_since_s=unanswered)
