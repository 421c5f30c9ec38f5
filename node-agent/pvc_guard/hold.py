"""A hold: operators work on the cluster, and no guard ends guests meanwhile (DESIGN section 8). Pure.

It is in force here once this incarnation's record names it: from then on nobody takes our silence for
death. It ends by our own clock, since it is meant for times without a network. At its end we are armed
again first, and say so afterwards: a record that still names a hold only makes others wait longer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pvc_guard.life import Guard, Hold, Lease
from pvc_guard.words import HoldRecorded, HoldSeen, RecordHold

LONGEST_S: Final = 4 * 3600.0  # whatever the store says
# A hold that was ended by word while our lease was over: time for a heartbeat to come through. Our record
# still names the hold, so nobody counts on our death yet.
RELEASE_S: Final = 3.0
RETRY_S: Final = 1.0


def seen(lease: Lease, guard: Guard, event: HoldSeen) -> Lease:
    """Take note of what the store wants."""
    before = lease.hold
    if event.id is not None and event.left_s > 0:
        until_s = guard.now_s + min(event.left_s, LONGEST_S)
        return replace(lease, hold=Hold(id=event.id, until_s=until_s))
    if before is None:
        return lease
    if lease.is_held(guard.now_s) and guard.lease is None:
        until_s = min(before.until_s, guard.now_s + RELEASE_S)
        return replace(lease, hold=replace(before, until_s=until_s))
    return replace(lease, hold=None)


def keep_record(lease: Lease, guard: Guard) -> tuple[Lease, tuple[RecordHold, ...]]:
    """Ask for a record that says what is so, until it does."""
    now_s = guard.now_s
    if lease.hold is not None and now_s >= lease.hold.until_s:
        lease = replace(lease, hold=None)
    wanted = "" if lease.hold is None else lease.hold.id
    asked_s = lease.record_asked_at_s
    if lease.recorded == wanted or (asked_s is not None and now_s - asked_s < RETRY_S):
        return lease, ()
    ask = RecordHold(incarnation=lease.incarnation, id=wanted, asked_at_s=now_s)
    return replace(lease, recorded=None, record_asked_at_s=now_s), (ask,)


def recorded(lease: Lease, event: HoldRecorded) -> Lease:
    """Only the answer to the last wish tells what the record says now."""
    if event.incarnation != lease.incarnation or event.asked_at_s != lease.record_asked_at_s:
        return lease
    return replace(lease, recorded=event.id)
