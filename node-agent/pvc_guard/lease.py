"""All decisions of the guard: when the lease is valid, when the guests die, when a life begins anew.

Pure, standard library only, imported by the simulator as it is. One immutable `Guard`, one total
function `step(guard, event) -> (guard, actions)`. Its invariants (DESIGN section 8):

* The lease runs from the moment an acknowledged heartbeat was *sent*, or from the moment of asking a
  majority of coordinators that turned out to be in no quorum (`asking`). Nothing else renews it.
* A lease that has ended, or whose incarnation was revoked, is never renewed: all guests are killed,
  the slice is shown empty *after* the kill, and only then a new incarnation is opened. Only while a hold
  is in force (`hold`) guests outlive a lease, and a heartbeat may renew it.
* The watchdog is petted only while the lease is valid, a hold is in force, or the slice is empty.
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
    AskOthers         ask every coordinator's guard -> NoQuorum for each that answers so
    RecordHold        write `hold` into the record if it still has this id and is not revoked ->
                      HoldRecorded, Failed or Revoked

`HoldSeen` is told whenever the store's hold was looked at: every few seconds.

An action that is not answered is asked for again; all of them are safe to repeat. An agent may start or
resume a guest only while `lease_until_s` of the same incarnation as in its transaction lies ahead.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, assert_never

from pvc_guard.beat import beat
from pvc_guard.life import (
    After,
    Guard,
    Hold,
    Holding,
    Killing,
    Lease,
    Leaving,
    Left,
    Life,
    Opening,
    Parting,
    Timing,
)
from pvc_guard.saved import Saved, out_of_json, saved, saved_of_json, to_json
from pvc_guard.words import (
    Acknowledged,
    Action,
    AskOthers,
    Event,
    Failed,
    HoldRecorded,
    HoldSeen,
    KillGuests,
    NoQuorum,
    Opened,
    OpenIncarnation,
    PetWatchdog,
    RecordHold,
    Revoked,
    Said,
    SayLeft,
    ShutDown,
    SliceEmpty,
    SlicePopulated,
    Tick,
    Via,
    WriteHeartbeat,
)

# All that whoever plays the guard needs.
__all__ = [
    "Acknowledged",
    "Action",
    "After",
    "AskOthers",
    "Event",
    "Failed",
    "Guard",
    "Hold",
    "HoldRecorded",
    "HoldSeen",
    "Holding",
    "KillGuests",
    "Killing",
    "Lease",
    "Leaving",
    "Left",
    "Life",
    "NoQuorum",
    "OpenIncarnation",
    "Opened",
    "Opening",
    "Parting",
    "PetWatchdog",
    "RecordHold",
    "Revoked",
    "Said",
    "Saved",
    "SayLeft",
    "ShutDown",
    "SliceEmpty",
    "SlicePopulated",
    "Step",
    "Tick",
    "Timing",
    "Via",
    "WriteHeartbeat",
    "begin",
    "out_of_json",
    "saved",
    "saved_of_json",
    "step",
    "to_json",
]

# How often an open, a kill or a last word is asked for again. A kill takes 50 ms (measured).
RETRY_S: Final = 1.0

Step = tuple[Guard, tuple[Action, ...]]


# --- beginning ------------------------------------------------------------------------------------


def begin(
    *,
    boot_id: str,
    timing: Timing,
    now_s: float,
    is_slice_empty: bool,
    saved: Saved | None,
    coordinators: frozenset[str] = frozenset(),
) -> Step:
    """The first state of a guard process.

    It goes on with the lease of the process before if that is still valid, or held, in this very boot: a
    restart of the guard kills nobody. Guests without a valid lease may have been started elsewhere
    meanwhile. `coordinators`: those whose servers can form a quorum; with none nobody is asked.
    """
    lease = None if saved is None or saved.boot_id != boot_id else saved.lease()
    if lease is not None and (now_s < lease.until_s or lease.is_held(now_s)):
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
        boot_id=boot_id,
        timing=timing,
        now_s=now_s,
        is_slice_empty=is_slice_empty,
        coordinators=coordinators,
        life=life,
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
    return guard.lease is not None or guard.held is not None or guard.is_slice_empty


def _end_lease(guard: Guard) -> Step:
    life = guard.life
    is_over = guard.lease is None and guard.held is None
    if isinstance(life, Holding | Leaving) and is_over:
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
        case (
            Tick()
            | Opened()
            | Revoked()
            | SliceEmpty()
            | Acknowledged()
            | Failed()
            | Said()
            | NoQuorum()
            | HoldSeen()
            | HoldRecorded()
        ):
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
        case Tick() | Acknowledged() | Failed() | NoQuorum() | HoldSeen() | HoldRecorded():
            lease, actions = beat(life.lease, guard, event)
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
        case Tick() | Acknowledged() | Failed() | NoQuorum() | HoldSeen() | HoldRecorded():
            lease, actions = beat(life.lease, guard, event)
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
        case (
            Tick()
            | SlicePopulated()
            | Opened()
            | Acknowledged()
            | Failed()
            | Revoked()
            | Said()
            | NoQuorum()
            | HoldSeen()
            | HoldRecorded()
        ):
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
            | NoQuorum()
            | HoldSeen()
            | HoldRecorded()
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
            | NoQuorum()
            | HoldSeen()
            | HoldRecorded()
        ):
            return guard, ()
        case other:
            assert_never(other)


# --- the parts ------------------------------------------------------------------------------------


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
