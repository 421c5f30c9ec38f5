"""A guest on its way between two nodes: what each of them may do next (DESIGN section 6).

While `incoming` is set both nodes count as owner. The guest runs at its source, or stands still; at its
destination it never runs before the destination is the owner. Only the source gives it away, once no
process of it is left there; it says whether what lies at the destination is the whole of it. Where it
cannot say so (its agent died meanwhile, the last answer was lost) the copy may be older than the disk is,
and the guest is started anew instead. While the source lives, nobody but the source clears `incoming`;
when the source is proven dead, the destination drops its half and clears it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pvc_gitops.model.inventory import GuestState
from pvc_gitops.model.plan import MoveMethod
from pvc_gitops.model.values import dataclass

# How long a half that neither runs nor ends is looked at before it is ended: libvirt gives up a silent
# peer after 8 s and lets the source go on.
DOUBT_S: Final = 15.0
LOOK_S: Final = 1.0
# A guest that is only booting hears no power button: it is pressed again until somebody listens.
ASK_AGAIN_S: Final = 10.0


class Transfer(StrEnum):
    """The hypervisor's migration, as far as this process began it."""

    NONE = "none"
    UNDER_WAY = "under way"
    DONE = "done"  # the copy is whole, and the process here has ended
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """The source's view of a guest that is to leave. Times are on its own clock."""

    now_s: float
    state: GuestState | None  # of its domain here; None: there is none
    method: MoveMethod
    is_wanted: bool  # it should run
    transfer: Transfer
    error: str  # of a failed transfer
    is_destination_over: bool  # that life of the destination is revoked or has ended
    stop_asked_at_s: float | None  # for the first time
    asked_again_at_s: float | None
    stop_timeout_s: float
    doubt_since_s: float | None  # since when its domain neither runs nor ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """Nothing; look again at `until_s`."""

    until_s: float
    is_in_doubt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Begin the live migration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskDown:
    """Ask it to power off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Destroy the domain here."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Make the destination the owner. `is_whole`: what lies there, paused, goes on where it was."""

    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOff:
    """It stays: clear `incoming`."""

    why: str


Leave = Rest | Send | AskDown | End | HandOver | CallOff


def leave(of: Leaving) -> Leave:
    """What the source does next."""
    if of.transfer is Transfer.UNDER_WAY:
        return Rest(until_s=of.now_s + LOOK_S)
    if of.state is None:
        if of.is_destination_over:
            return CallOff(why="the node that it was to go to is gone; it is started anew")
        return HandOver(is_whole=of.transfer is Transfer.DONE)
    if of.state is GuestState.RUNNING:
        return _running(of)
    if of.state is GuestState.CRASHED:
        return End(why="it crashed")
    return _standing(of)


def _running(of: Leaving) -> Leave:
    """It is here and nowhere else: the destination cannot be its owner."""
    if of.transfer is Transfer.FAILED:
        return CallOff(why=of.error)
    if of.is_destination_over:
        return CallOff(why="the node that it was to go to is gone")
    if of.transfer is Transfer.DONE:
        return Rest(until_s=of.now_s + LOOK_S)  # an old look: it was here a moment ago
    if of.method is MoveMethod.LIVE and of.is_wanted:
        return Send()
    return _stopping(of)


def _stopping(of: Leaving) -> Leave:
    if of.stop_asked_at_s is None:
        return AskDown()
    end_s = of.stop_asked_at_s + of.stop_timeout_s
    if of.now_s >= end_s:
        return End(why=f"it did not power off within {of.stop_timeout_s:.0f} s")
    if of.state is not GuestState.RUNNING:
        return Rest(until_s=end_s)  # it has heard
    again_s = (of.asked_again_at_s or of.stop_asked_at_s) + ASK_AGAIN_S
    return AskDown() if of.now_s >= again_s else Rest(until_s=min(end_s, again_s))


def _standing(of: Leaving) -> Leave:
    """Paused or powering off: by itself, or by a migration whose end nobody has told."""
    if of.state is GuestState.STOPPING and of.stop_asked_at_s is not None:
        return _stopping(of)
    since_s = of.now_s if of.doubt_since_s is None else of.doubt_since_s
    if of.now_s >= since_s + DOUBT_S:
        return End(why=f"it neither ran nor ended for {DOUBT_S:.0f} s of its move")
    return Rest(until_s=min(since_s + DOUBT_S, of.now_s + LOOK_S), is_in_doubt=True)


# --- at the destination ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Arriving:
    """A guest that its source has handed over whole, as its new owner sees it."""

    now_s: float
    state: GuestState | None
    has_all: bool  # the hypervisor says that nothing of it is missing
    doubt_since_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoOn:
    """Let it run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """It runs: say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """There is nothing to go on with: it is started anew."""

    why: str


Arrive = Rest | GoOn | Runs | Lost | End


def arrive(of: Arriving) -> Arrive:
    """What the new owner does next."""
    match of.state:
        case None:
            return Lost(why="nothing of it has arrived")
        case GuestState.RUNNING:
            return Runs()
        case GuestState.PAUSED if of.has_all:
            return GoOn()
        case GuestState.CRASHED:
            return End(why="it crashed on its way")
        case _:
            since_s = of.now_s if of.doubt_since_s is None else of.doubt_since_s
            if of.now_s >= since_s + DOUBT_S:
                return End(why=f"it is not whole after {DOUBT_S:.0f} s")
            return Rest(until_s=of.now_s + LOOK_S, is_in_doubt=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """The source is proven dead before it gave the guest away: clear `incoming`, for autonomy to place
    it."""


def attend(*, is_source_dead: bool, has_domain: bool) -> Rest | End | GiveUp:
    """What the destination does before it is the owner."""
    if not is_source_dead:
        return Rest(until_s=0.0)
    if has_domain:
        return End(why="its source is dead and has not said that this is all of it")
    return GiveUp()
