"""No quorum anywhere is not a reason to kill: when answers of other guards renew a lease. Pure.

The claim (DESIGN section 8; the argument is RFD 6): for every renewal, at the moment of asking no
incarnation of this node had been revoked. So its lease is over L after a revocation at the latest,
however it was renewed, and proof (b) stands as it does for heartbeats.

* A lease that rests on a heartbeat: whoever revokes has seen our counter stand still for L + 1 s, longer
  than the lease that we still have when we ask.
* A lease that rests on asking: the same majority of coordinators' servers, or another one, has been in no
  quorum from the moment of asking before until now, so nobody could revoke meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pvc_guard.life import Asking, Guard, Lease
from pvc_guard.words import AskOthers, NoQuorum

# A server must have been out for so much longer than the question took: clocks of machines differ by at
# most 1 % each, and those that answer two questions in a row need to be out a little before the first.
RATE: Final = 1.02
AHEAD_S: Final = 0.25


def ask(lease: Lease, guard: Guard) -> tuple[Lease, tuple[AskOthers, ...]]:
    """With every heartbeat that goes both ways, as long as there is a lease to renew."""
    if guard.lease is None or not guard.coordinators:
        return lease, ()
    asking = Asking(asked_at_s=guard.now_s)
    return replace(lease, asking=asking), (AskOthers(asked_at_s=guard.now_s),)


def answered(lease: Lease, guard: Guard, event: NoQuorum) -> Lease:
    """Count an answer; with that of a majority the lease runs from the moment of asking."""
    asking = lease.asking
    if guard.lease is None or asking is None or event.asked_at_s != asking.asked_at_s:
        return lease
    if event.of not in guard.coordinators or not _counts(lease, asking, guard.now_s, event):
        return lease
    out = asking.out | {event.of}
    if 2 * len(out) <= len(guard.coordinators):
        return replace(lease, asking=replace(asking, out=out))
    if asking.asked_at_s <= lease.acknowledged_s:
        return replace(lease, asking=None)  # a heartbeat that was sent later has been acknowledged
    return replace(lease, acknowledged_s=asking.asked_at_s, is_by_asking=True, asking=None)


def _counts(lease: Lease, asking: Asking, now_s: float, event: NoQuorum) -> bool:
    since_s = lease.acknowledged_s if lease.is_by_asking else asking.asked_at_s - AHEAD_S
    return event.out_for_s >= (now_s - since_s) * RATE
