"""All decisions of the guard: when the lease is valid, when the guests die, when a life begins anew.

Pure, standard library only, imported by the simulator as it is. One immutable `Guard`, one total
function `step(guard, event) -> (guard, actions)`. Its invariants (DESIGN section 8):

* The lease runs from the moment an acknowledged heartbeat was *sent*. Nothing else renews it.
* A lease that has ended, or whose incarnation was revoked, is never renewed: all guests are killed,
  the slice is shown empty *after* the kill, and only then a new incarnation is opened.
* The watchdog is petted only while the lease is valid or the slice is empty.
* "Left" is said only when the slice is empty, and whatever appears in it afterwards is killed.

    Opening --Opened--> Holding --lease over, Revoked--> Killing --SliceEmpty--> Opening (new incarnation)
                        Holding --ShutDown--> Leaving --SliceEmpty--> Parting --Said--> Left
                                              Leaving --lease over--> Killing --SliceEmpty--> Parting

How it is played (by `pvc_guard.main` on a node, by the simulator in memory):

    guard, actions = begin(boot_id=…, timing=Timing(lease_s=6.0, heartbeat_s=1.0), now_s=…,
                           is_slice_empty=…, saved=None)       # or the Saved of the process before
    several times a second, in this order:
        guard, actions = step(guard, SliceEmpty(now_s=t) or SlicePopulated(now_s=t))    # just looked
        guard, actions = step(guard, Tick(now_s=t))
    when an answer comes:
        guard, actions = step(guard, Acknowledged(now_s=t, incarnation=i, sent_at_s=s))   and so on

`now_s` is CLOCK_BOOTTIME at the moment the event is handed over, so that a process that was stopped
for a minute sees that its lease is over before it looks at an answer from before. The actions:

    OpenIncarnation   write the node's incarnation record anew with this id, not revoked, unless the
                      record has this id already and is revoked -> Opened or Failed, or Revoked
    WriteHeartbeat    one transaction: the incarnation's record still has the version under which it
                      was opened; set the lease record -> Acknowledged, Failed, or Revoked if the record
                      is revoked or names another incarnation
    KillGuests        every process of machine.slice, at once; look at the slice afterwards
    PetWatchdog       the kernel's watchdog device, where there is one
    SayLeft           set guests_left to False in the record if it still has this id -> Said or Failed

An action that is not answered is asked for again; all of them are safe to repeat. An agent may start or
resume a guest only while `lease_until_s` of the same incarnation as in its transaction lies ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, assert_never

# A heartbeat without an answer for this long is also sent over the second connection: h + Z + 1 <= L
# leaves exactly one second for noticing (DESIGN section 8, timing 1).
PATIENCE_S: Final = 1.0
# How often an open, a kill or a last word is asked for again. A kill takes 50 ms (measured).
RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """L and h. A changed lease_s comes into force with the next incarnation, which records it."""

    lease_s: float
    heartbeat_s: float


class Via(StrEnum):
    """Which of the guard's connections carries a heartbeat."""

    FIRST = "first"  # to this node's own server, or the first of the list
    SECOND = "second"  # to another server


# --- where the guard stands -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease of one incarnation, as its guard knows it."""

    incarnation: str
    lease_s: float
    acknowledged_s: float  # when the last acknowledged heartbeat was sent
    counter: int  # of the last heartbeat sent
    beat_at_s: float  # when the last heartbeat was sent
    unanswered_since_s: float | None  # the first heartbeat sent after the last acknowledged one

    @property
    def until_s(self) -> float:
        return self.acknowledged_s + self.lease_s


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
    """The lease is valid; guests may run."""

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


Event = (
    Tick | SliceEmpty | SlicePopulated | Opened | Acknowledged | Failed | Revoked | ShutDown | Said
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


Action = OpenIncarnation | WriteHeartbeat | KillGuests | PetWatchdog | SayLeft
Step = tuple[Guard, tuple[Action, ...]]


# --- beginning ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What one guard process leaves to the next of the same boot."""

    boot_id: str
    incarnation: str
    lease_s: float
    acknowledged_s: float
    counter: int


def saved(guard: Guard) -> Saved | None:
    """What to leave behind now. None where there is no lease to go on with."""
    lease = guard.lease
    if lease is None:
        return None
    return Saved(
        boot_id=guard.boot_id,
        incarnation=lease.incarnation,
        lease_s=lease.lease_s,
        acknowledged_s=lease.acknowledged_s,
        counter=lease.counter,
    )


def begin(
    *, boot_id: str, timing: Timing, now_s: float, is_slice_empty: bool, saved: Saved | None
) -> Step:
    """The first state of a guard process.

    It goes on with the lease of the process before if that is still valid in this very boot: a restart
    of the guard kills nobody. Guests without a valid lease may have been started elsewhere meanwhile.
    """
    if (
        saved is not None
        and saved.boot_id == boot_id
        and now_s < saved.acknowledged_s + saved.lease_s
    ):
        lease = Lease(
            incarnation=saved.incarnation,
            lease_s=saved.lease_s,
            acknowledged_s=saved.acknowledged_s,
            counter=saved.counter,
            beat_at_s=saved.acknowledged_s,
            unanswered_since_s=None,
        )
        life: Life = Holding(lease=lease)
        actions: tuple[Action, ...] = ()
    elif is_slice_empty:
        life, actions = _opening(boot_id, now_s), ()
    else:
        ended = saved.incarnation if saved is not None else None
        why = "guests without a valid lease were found when the guard began"
        life = Killing(incarnation=ended, why=why, killed_at_s=now_s, after=After.OPEN)
        actions = (KillGuests(why=why),)
    guard = Guard(
        boot_id=boot_id, timing=timing, now_s=now_s, is_slice_empty=is_slice_empty, life=life
    )
    return guard, actions


def _opening(boot_id: str, now_s: float, ended: str | None = None) -> Opening:
    # CLOCK_BOOTTIME never repeats within a boot, so the id is new without chance and without a counter
    # that could be lost; a life that follows within the same millisecond counts on from the one before.
    number = round(now_s * 1000)
    if ended is not None and ended.startswith(f"{boot_id}."):
        number = max(number, int(ended.rpartition(".")[2]) + 1)
    return Opening(incarnation=f"{boot_id}.{number}", asked_at_s=None)


# --- the one function -----------------------------------------------------------------------------


def step(guard: Guard, event: Event) -> Step:
    """Take one event. Total: every event is lawful in every life.

    The lease is judged by the event's own time before anything else, so an answer that was read late
    never renews a lease that has ended meanwhile.
    """
    before = guard
    guard = replace(guard, now_s=max(guard.now_s, event.now_s))
    if isinstance(event, SliceEmpty | SlicePopulated):
        guard = replace(guard, is_slice_empty=isinstance(event, SliceEmpty))
    guard, ended = _end_lease(guard)
    # An event that finds the lease over came too late; an empty slice seen before the kill, above all,
    # says nothing about the time after it. Only the wish to shut down stands.
    guard, actions = (
        (guard, ()) if ended and not isinstance(event, ShutDown) else _live(guard, event)
    )
    pet: tuple[Action, ...] = (
        (PetWatchdog(),) if isinstance(event, Tick) and _may_pet(guard) else ()
    )
    assert guard.now_s >= before.now_s  # the clock of a lease only runs forward
    return guard, (*ended, *actions, *pet)


def _may_pet(guard: Guard) -> bool:
    return guard.lease is not None or guard.is_slice_empty


def _end_lease(guard: Guard) -> Step:
    life = guard.life
    if isinstance(life, Holding | Leaving) and guard.lease is None:
        after = After.OPEN if isinstance(life, Holding) else After.LEAVE
        return _kill(guard, life.lease.incarnation, "the lease ended", after)
    return guard, ()


def _live(guard: Guard, event: Event) -> Step:
    match guard.life:
        case Opening() as life:
            return _while_opening(guard, life, event)
        case Holding() as life:
            return _while_holding(guard, life, event)
        case Killing() as life:
            return _while_killing(guard, life, event)
        case Leaving() as life:
            return _while_leaving(guard, life, event)
        case Parting() as life:
            return _while_parting(guard, life, event)
        case Left() as life:
            return _while_left(guard, life, event)
        case other:
            assert_never(other)


def _while_opening(guard: Guard, life: Opening, event: Event) -> Step:
    match event:
        case Tick() if _is_due(life.asked_at_s, guard.now_s):
            ask = OpenIncarnation(incarnation=life.incarnation, lease_s=guard.timing.lease_s)
            return replace(guard, life=replace(life, asked_at_s=guard.now_s)), (ask,)
        case Opened() if event.incarnation == life.incarnation and _is_fresh(guard, event):
            lease = Lease(
                incarnation=life.incarnation,
                lease_s=guard.timing.lease_s,
                acknowledged_s=event.sent_at_s,
                counter=0,
                beat_at_s=event.sent_at_s,
                unanswered_since_s=None,
            )
            return replace(guard, life=Holding(lease=lease)), ()
        case Revoked() if event.incarnation == life.incarnation:
            # Written, its answer lost, and revoked since: no guest ran under it.
            return replace(guard, life=_opening(guard.boot_id, guard.now_s, life.incarnation)), ()
        case SlicePopulated():
            return _kill(guard, life.incarnation, "a guest appeared without a lease", After.OPEN)
        case ShutDown():
            return _part(guard, life.incarnation)
        case Tick() | Opened() | Revoked() | SliceEmpty() | Acknowledged() | Failed() | Said():
            return guard, ()
        case other:
            assert_never(other)


def _while_holding(guard: Guard, life: Holding, event: Event) -> Step:
    match event:
        case ShutDown():
            # Also where the slice was empty when last looked at: the last word needs a look that
            # is younger than the wish.
            return replace(guard, life=Leaving(lease=life.lease)), ()
        case Revoked() if event.incarnation == life.lease.incarnation:
            # It can never be renewed, and others wait for its end: waiting longer helps nobody.
            return _kill(guard, event.incarnation, "the incarnation was revoked", After.OPEN)
        case Tick() | Acknowledged() | Failed():
            lease, actions = _beat(life.lease, guard, event)
            return replace(guard, life=Holding(lease=lease)), actions
        case Revoked() | SliceEmpty() | SlicePopulated() | Opened() | Said():
            return guard, ()
        case other:
            assert_never(other)


def _while_leaving(guard: Guard, life: Leaving, event: Event) -> Step:
    match event:
        case SliceEmpty():
            return _part(guard, life.lease.incarnation)
        case Revoked() if event.incarnation == life.lease.incarnation:
            return _kill(guard, event.incarnation, "the incarnation was revoked", After.LEAVE)
        case Tick() | Acknowledged() | Failed():
            lease, actions = _beat(life.lease, guard, event)
            return replace(guard, life=Leaving(lease=lease)), actions
        case Revoked() | SlicePopulated() | Opened() | ShutDown() | Said():
            return guard, ()
        case other:
            assert_never(other)


def _while_killing(guard: Guard, life: Killing, event: Event) -> Step:
    match event:
        case SliceEmpty() if life.after is After.OPEN:
            return replace(guard, life=_opening(guard.boot_id, guard.now_s, life.incarnation)), ()
        case SliceEmpty():
            return _part(guard, life.incarnation)
        case Tick() if _is_due(life.killed_at_s, guard.now_s):
            return _kill(guard, life.incarnation, life.why, life.after)
        case ShutDown():
            return replace(guard, life=replace(life, after=After.LEAVE)), ()
        case Tick() | SlicePopulated() | Opened() | Acknowledged() | Failed() | Revoked() | Said():
            return guard, ()
        case other:
            assert_never(other)


def _while_parting(guard: Guard, life: Parting, event: Event) -> Step:
    match event:
        case SlicePopulated():
            # The last word may be in the store already; a guest now would make it a lie.
            return _kill(guard, life.incarnation, "a guest appeared while leaving", After.LEAVE)
        case Said() if event.incarnation == life.incarnation:
            return replace(guard, life=Left(incarnation=life.incarnation)), ()
        case Tick() if _is_due(life.said_at_s, guard.now_s):
            return _part(guard, life.incarnation)
        case (
            Tick()
            | SliceEmpty()
            | Opened()
            | Acknowledged()
            | Failed()
            | Revoked()
            | ShutDown()
            | Said()
        ):
            return guard, ()
        case other:
            assert_never(other)


def _while_left(guard: Guard, life: Left, event: Event) -> Step:
    match event:
        case SlicePopulated():
            return _kill(guard, life.incarnation, "a guest appeared after leaving", After.LEAVE)
        case (
            Tick()
            | SliceEmpty()
            | Opened()
            | Acknowledged()
            | Failed()
            | Revoked()
            | ShutDown()
            | Said()
        ):
            return guard, ()
        case other:
            assert_never(other)


# --- the parts ------------------------------------------------------------------------------------


def _beat(
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


def _kill(guard: Guard, incarnation: str | None, why: str, after: After) -> Step:
    life = Killing(incarnation=incarnation, why=why, killed_at_s=guard.now_s, after=after)
    return replace(guard, life=life), (KillGuests(why=why),)


def _part(guard: Guard, incarnation: str | None) -> Step:
    if incarnation is None:
        return replace(guard, life=Left(incarnation=None)), ()
    life = Parting(incarnation=incarnation, said_at_s=guard.now_s)
    return replace(guard, life=life), (SayLeft(incarnation=incarnation),)


def _is_due(last_s: float | None, now_s: float) -> bool:
    return last_s is None or now_s - last_s >= RETRY_S


def _is_fresh(guard: Guard, event: Opened) -> bool:
    """The lease that an opening gives must not be over when its answer is read; asked again then."""
    return event.sent_at_s <= guard.now_s < event.sent_at_s + guard.timing.lease_s


# --- as JSON --------------------------------------------------------------------------------------


def to_json(guard: Guard) -> dict[str, object]:
    """The guard's file under /run, read by the next guard process and by this node's agent.

    `lease_until_s` is CLOCK_BOOTTIME, None without a valid lease; `saved` is for the next process.
    """
    lease, keep = guard.lease, saved(guard)
    return {
        "boot_id": guard.boot_id,
        "life": type(guard.life).__name__.lower(),
        "why": guard.life.why if isinstance(guard.life, Killing) else "",
        "incarnation": None if lease is None else lease.incarnation,
        "lease_until_s": None if lease is None else lease.until_s,
        "is_slice_empty": guard.is_slice_empty,
        "saved": None
        if keep is None
        else {
            "boot_id": keep.boot_id,
            "incarnation": keep.incarnation,
            "lease_s": keep.lease_s,
            "acknowledged_s": keep.acknowledged_s,
            "counter": keep.counter,
        },
    }


def saved_of_json(value: Mapping[str, object]) -> Saved | None:
    """What the process before left. Raises ValueError where it cannot be read whole."""
    keep = value.get("saved")
    if keep is None:
        return None
    match keep:
        case {
            "boot_id": str(boot_id),
            "incarnation": str(incarnation),
            "lease_s": int() | float() as lease_s,
            "acknowledged_s": int() | float() as acknowledged_s,
            "counter": int(counter),
        }:
            return Saved(
                boot_id=boot_id,
                incarnation=incarnation,
                lease_s=float(lease_s),
                acknowledged_s=float(acknowledged_s),
                counter=counter,
            )
        case _:
            raise ValueError("the saved lease is not what a guard writes")
