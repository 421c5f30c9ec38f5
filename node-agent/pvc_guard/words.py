"""What happens to the guard, and what it does: the events and actions of `lease.step`. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Via(StrEnum):
    """Which of the guard's connections carries a heartbeat."""

    FIRST = "first"  # to this node's own server, or the first of the list
    SECOND = "second"  # to another server


# --- what happens to it ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time passes."""

    now_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEmpty:
    """Just looked: no process of a guest is there."""

    now_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePopulated:
    """Just looked: guests are there, or it could not be seen that none is."""

    now_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The store has the new incarnation."""

    now_s: float
    incarnation: str
    sent_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The store has a heartbeat. `sent_at_s`: just before it was handed to the connection."""

    now_s: float
    incarnation: str
    sent_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A write was refused or its outcome is not known; whichever write it was, over which connection."""

    now_s: float
    via: Via


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """The store says that this incarnation is revoked, or that another one has taken its place."""

    now_s: float
    incarnation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutDown:
    """The machine is going down in an orderly way. Not sent when only the guard is restarted."""

    now_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The store has the last word, or has a record that is not ours."""

    now_s: float
    incarnation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoQuorum:
    """A coordinator's guard says, freshly and in truth, that its server is in no quorum.

    `out_for_s`: for how long, as far as it knows. `asked_at_s`: to which question this is the answer.
    """

    now_s: float
    asked_at_s: float
    of: str
    out_for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldSeen:
    """The store has a hold that lasts for another `left_s`; None: it has none."""

    now_s: float
    id: str | None
    left_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRecorded:
    """Our record names this hold, or none (""), since the write that was asked for then."""

    now_s: float
    incarnation: str
    id: str
    asked_at_s: float


Event = (
    Tick
    | SliceEmpty
    | SlicePopulated
    | Opened
    | Acknowledged
    | Failed
    | Revoked
    | ShutDown
    | Said
    | NoQuorum
    | HoldSeen
    | HoldRecorded
)


# --- what it does ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIncarnation:
    """Write the incarnation record. `lease_s` goes into it."""

    incarnation: str
    lease_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteHeartbeat:
    """Write the counter, checking the incarnation."""

    incarnation: str
    counter: int
    via: Via


@dataclass(frozen=True, slots=True, kw_only=True)
class KillGuests:
    """Every guest of this node, at once."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PetWatchdog:
    """The machine may live on for another W seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SayLeft:
    """The last word of this incarnation: no guests."""

    incarnation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOthers:
    """Ask every coordinator's guard whether its server is in a quorum."""

    asked_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordHold:
    """Write into the record of this incarnation which hold it observes, "" for none."""

    incarnation: str
    id: str
    asked_at_s: float


Action = (
    OpenIncarnation | WriteHeartbeat | KillGuests | PetWatchdog | SayLeft | AskOthers | RecordHold
)
