"""Where the guard stands: its lease, its lives. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """L and h. A changed lease_s comes into force with the next incarnation, which records it."""

    lease_s: float
    heartbeat_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Operators work on the cluster: for so long nobody is fenced, and no guard ends guests."""

    id: str
    until_s: float  # by this machine's own clock, whoever can be reached then


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """The coordinators' guards were asked whether their servers are in a quorum."""

    asked_at_s: float
    out: frozenset[str] = frozenset()  # those whose answer counts, so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease of one incarnation, as its guard knows it."""

    incarnation: str
    lease_s: float
    acknowledged_s: float  # when the last acknowledged heartbeat was sent, or see `is_by_asking`
    counter: int  # of the last heartbeat sent
    beat_at_s: float  # when the last heartbeat was sent
    unanswered_since_s: float | None  # the first heartbeat sent after the last acknowledged one
    is_by_asking: bool = False  # then `acknowledged_s` is when a majority was asked
    asking: Asking | None = None  # the latest one
    hold: Hold | None = None  # as last seen in the store
    recorded: str | None = ""  # the hold that our record names, "" for none; None: not known
    record_asked_at_s: float | None = None

    @property
    def until_s(self) -> float:
        return self.acknowledged_s + self.lease_s

    def is_held(self, now_s: float) -> bool:
        """A hold is in force here when our record has it: from then on silence proves nothing."""
        hold = self.hold
        return hold is not None and self.recorded == hold.id and now_s < hold.until_s


class After(StrEnum):
    """What follows when the guests are dead."""

    OPEN = "open"  # a new incarnation
    LEAVE = "leave"  # the machine goes down


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The slice is empty, no lease is held; a new incarnation is being asked for."""

    incarnation: str
    asked_at_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """The lease is valid, or a hold is in force; guests may run."""

    lease: Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Killing:
    """No lease; the guests are being killed until the slice is empty."""

    incarnation: str | None  # the one that ended or was never opened, if this guard knows it
    why: str
    killed_at_s: float
    after: After


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """The machine goes down; the lease is kept until the last guest is gone."""

    lease: Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """The slice is empty and the machine goes down; "left" is being said."""

    incarnation: str | None
    said_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The last word was said, or there was nothing to say it about. The process may end."""

    incarnation: str | None


Life = Opening | Holding | Killing | Leaving | Parting | Left


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Everything the guard remembers."""

    boot_id: str
    timing: Timing
    now_s: float  # the latest moment it was told
    is_slice_empty: bool  # as last looked
    coordinators: frozenset[str]  # whom to ask whether there is a quorum
    life: Life

    @property
    def incarnation(self) -> str | None:
        """Of which the lease is valid as of `now_s`, else None."""
        lease = self.lease
        return None if lease is None else lease.incarnation

    @property
    def lease(self) -> Lease | None:
        """The lease as long as it is valid as of `now_s`, else None."""
        if isinstance(self.life, Holding | Leaving) and self.now_s < self.life.lease.until_s:
            return self.life.lease
        return None

    @property
    def held(self) -> Lease | None:
        """The lease, valid or not, while a hold is in force, else None."""
        if isinstance(self.life, Holding | Leaving) and self.life.lease.is_held(self.now_s):
            return self.life.lease
        return None
