"""What its owner does about a guest that ended, or that did not start, by `spec.ha`. Pure.

In place as often as `max_restarts` says, the later the longer after; then it has failed there, and
`ha.recovery` may give it to another node. What keeps a guest from starting (a disk, memory, a watcher)
mostly comes back without anybody's doing: it is tried again now and then. A guest that starts and ends
again and again is left alone: each round may do harm to what it has on its disks.
"""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.guest_states import GuestEvent
from pvc_gitops.model.inventory import Ending
from pvc_gitops.model.recovery import Ha
from pvc_gitops.model.values import dataclass

RETRY_FIRST_S: Final = 2.0
RETRY_MAX_S: Final = 60.0
# A guest that ran this long had a good start: its next crash counts as the first again.
GOOD_RUN_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What follows. `event` and `why` are for its placement record."""

    event: GuestEvent
    why: str
    restarts: int  # since its last good run, with this one
    rests: bool  # nothing follows until somebody asks for it
    wait_s: float  # before the next start


def after_end(
    policy: Ha, ending: Ending, *, restarts: int, ran_s: float, takes_changes: bool
) -> Next:
    """Its process is gone, without our doing.

    Args:
        policy: what its document says.
        ending: how, as far as the hypervisor knows.
        restarts: ends and failed starts since its last good run.
        ran_s: for how long it ran, as far as its owner knows.
        takes_changes: whether changes wait for its next start. A reboot from inside ends it then, and
            looks like a power-off.
    """
    has_left = ending is Ending.POWERED_OFF and not takes_changes
    how = "it powered itself off" if has_left else "its process ended"
    if has_left and policy.stays_off:
        return _rests(GuestEvent.RESTED, f"{how}, and ha.on_power_off is leave")
    if not policy.restart:
        return _rests(GuestEvent.GIVEN_UP, f"{how}, and ha.restart is false")
    count = 1 if ran_s >= GOOD_RUN_S else restarts + 1
    if count > policy.restarts_max:
        why = f"{how}; restarts without a good run since: {count - 1}"
        return Next(event=GuestEvent.GIVEN_UP, why=why, restarts=count, rests=True, wait_s=0.0)
    # The first restart is at once; a guest that keeps ending waits longer each time.
    wait_s = 0.0 if count == 1 else backoff_s(count - 1)
    why = f"{how}; start {count + 1} follows"
    return Next(event=GuestEvent.ENDED, why=why, restarts=count, rests=False, wait_s=wait_s)


def after_failed_start(policy: Ha, error: str, *, restarts: int) -> Next:
    """It did not come up."""
    count = restarts + 1
    has_failed = count > policy.restarts_max
    return Next(
        event=GuestEvent.GIVEN_UP if has_failed else GuestEvent.NOT_STARTED,
        why=f"start {count} failed: {error}",
        restarts=count,
        rests=False,
        wait_s=RETRY_MAX_S if has_failed else backoff_s(count),
    )


def _rests(event: GuestEvent, why: str) -> Next:
    return Next(event=event, why=why, restarts=0, rests=True, wait_s=0.0)


def backoff_s(failures: int) -> float:
    """2, 4, 8 … up to a minute."""
    return float(min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** (failures - 1)))
