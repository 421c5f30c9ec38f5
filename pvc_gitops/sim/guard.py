"""A node's guard: exactly `pvc_guard.lease`, its store, slice, watchdog and post simulated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pvc_gitops.errors import StoreConflict
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode, encode
from pvc_gitops.model.ha import HoldRecord
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.records import IncarnationRecord
from pvc_gitops.model.values import replace
from pvc_gitops.sim.clock import MachineClock
from pvc_gitops.sim.guards import Post
from pvc_gitops.sim.hardware import Guests
from pvc_gitops.sim.kernel import Event, Kernel
from pvc_gitops.sim.store import Tree
from pvc_gitops.world.ports import Check, Create, Op, Put
from pvc_guard import lease
from pvc_guard.talk import Notebook, Out, Witness

HEARTBEAT_S: Final = 1.0
# A hair more than a heartbeat, so that rounding never skips one.
TICK_S: Final = HEARTBEAT_S + 1 / 1024
# While guests are being killed or a life begins the real guard looks several times a second.
BUSY_TICK_S: Final = 0.25
LATE_LOOK_S: Final = 1.0  # how soon a stopped process reads what came, when it goes on
WATCHDOG_S: Final = 10.0


@dataclass(slots=True)
class SimGuard:
    """The process. Its saved state lies on the node's /run: it survives the process, not the boot."""

    kernel: Kernel
    clock: MachineClock
    tree: Tree
    node: NodeName
    guests: Guests
    lease_s: float
    can_reach: Callable[[], bool]
    delay_s: Callable[[lease.Via], float]  # until a write by that connection is acknowledged
    now_s: Callable[[], int]
    journal: Callable[..., None]
    on_watchdog: Callable[[], None]
    post: Post
    is_hindered: Callable[[], bool]  # nothing that it may renew its lease by can be reached
    on_kill: Callable[[str, float], None]  # why, and when it was last kept from its lease
    on_beat: Callable[[str], None]  # of which life a heartbeat was acknowledged
    boot_id: str = ""
    acknowledged_s: float | None = None  # by the kernel
    hindered_s: float = 0.0
    is_up: bool = False
    is_paused: bool = False
    guard: lease.Guard | None = None
    kept: lease.Saved | None = None
    kept_out: Out | None = None
    petted_s: float = 0.0
    watchdog_s: float | None = WATCHDOG_S  # of its hardware; None: it has none
    armed_s: float | None = None  # what it had when the machine booted
    watchdog: str = "simulated"  # its identity, as the kernel tells it
    _next: Event | None = None
    _opened_version: int = -1
    _was_empty: bool = True
    _notebook: Notebook | None = None
    _witness: Witness | None = None
    _unread: list[bytes] = field(default_factory=list)
    _has_seen_hold: bool = False

    def boot(self, boot_id: str) -> None:
        """The machine has come up; /run is empty."""
        self.boot_id, self.kept, self.kept_out = boot_id, None, None
        self.petted_s, self.armed_s = self.kernel.now_s, self.watchdog_s
        self.start()
        if self.armed_s is not None:
            self._watchdog(self.armed_s)

    def start(self) -> None:
        if self.is_up:
            return
        self.is_up, self.is_paused = True, False
        self.hindered_s = self.kernel.now_s
        self.guard, actions = lease.begin(
            boot_id=self.boot_id,
            timing=lease.Timing(lease_s=self.lease_s, heartbeat_s=HEARTBEAT_S),
            now_s=self._now(),
            is_slice_empty=not self.guests.domains,
            saved=self.kept,
            coordinators=frozenset(self.post.addresses),
        )
        self._notebook, self._witness = self.post.notebook(), self.post.witness(self.node)
        if self._witness is not None:
            self._witness.out = self.kept_out
        self._has_seen_hold = True
        self._was_empty = not self.guests.domains
        self._perform(actions)
        self._schedule(0.0)

    def die(self) -> None:
        if self.guard is not None:
            self.kept = lease.saved(self.guard)
            self.kept_out = None if self._witness is None else self._witness.out
        self.is_up, self.guard = False, None
        self._notebook, self._witness = None, None
        self._unread.clear()
        if self._next is not None:
            self._next.cancel()

    def pause(self) -> None:
        self.is_paused = self.is_up

    def resume(self) -> None:
        if self.is_paused:
            self.is_paused, self.hindered_s = False, self.kernel.now_s
            self._schedule(0.0)

    def can_renew_by_asking(self, quorum_lost_at_s: float) -> bool:
        """Has it a lease, and was there no quorum since it asked, if the lease rests on that (RFD 6)?"""
        life = None if self.guard is None else self.guard.life
        if not isinstance(life, lease.Holding | lease.Leaving):
            return False
        asked_s = self.kernel.now_s - (self._now() - life.lease.acknowledged_s)
        return not life.lease.is_by_asking or asked_s >= quorum_lost_at_s

    def shut_down(self) -> None:
        """The machine goes down in an orderly way."""
        if self.is_up:
            self._take(lease.ShutDown(now_s=self._now()))

    def has_left(self) -> bool:
        """Has it said its last word?"""
        return self.guard is not None and isinstance(self.guard.life, lease.Left)

    def _tick(self) -> None:
        self._next = None
        if not self.is_up or self.is_paused:
            return
        now_s = self._now()
        if self.is_hindered():
            self.hindered_s = self.kernel.now_s
        is_empty = not self.guests.domains
        assert self.guard is not None
        is_holding = isinstance(self.guard.life, lease.Holding)
        # While the lease is held a look at the slice matters only when it shows something new.
        if not is_holding or is_empty != self._was_empty:
            self._was_empty = is_empty
            look = lease.SliceEmpty if is_empty else lease.SlicePopulated
            self._take(look(now_s=now_s))
        self._take(lease.Tick(now_s=now_s))
        self._look_for_hold()
        unread, self._unread = self._unread, []
        for data in unread:
            self.hear(data)
        if self.is_up:
            is_calm = isinstance(self.guard.life, lease.Holding) and self.can_reach()
            self._schedule(TICK_S if is_calm else BUSY_TICK_S)

    def _take(self, event: lease.Event) -> None:
        if self.guard is None:
            return
        self.guard, actions = lease.step(self.guard, event)
        self._perform(actions)

    def _perform(self, actions: tuple[lease.Action, ...]) -> None:
        for action in actions:
            match action:
                case lease.OpenIncarnation():
                    self._open(action)
                case lease.WriteHeartbeat():
                    self._beat(action)
                case lease.KillGuests():
                    if self.guests.end_all():
                        self.journal("self_fenced", why=action.why)
                        self.on_kill(action.why, self.hindered_s)
                case lease.PetWatchdog():
                    self.petted_s = self.kernel.now_s
                case lease.SayLeft():
                    self._say_left(action)
                case lease.AskOthers():
                    assert self._notebook is not None
                    self.post.send(self, self._notebook.ask(action.asked_at_s))
                case lease.RecordHold():
                    self._record_hold(action)

    # --- what guards ask each other ---

    def asked(self, data: bytes, look: Callable[[], str | None]) -> bytes | None:
        """The answer to a datagram; None from a process that does not run."""
        if self._witness is None or not self.is_up or self.is_paused:
            return None
        return self._witness.answer(data, self._now(), look)

    def hear(self, data: bytes) -> None:
        """A datagram for us; one that finds the process stopped is read when it goes on."""
        if self.is_paused:
            self._unread.append(data)
        elif self._notebook is not None:
            found = self._notebook.take(data)
            if found is not None and found[0].is_out:
                answer, asked_at_s = found
                self._take(
                    lease.NoQuorum(
                        now_s=self._now(),
                        asked_at_s=asked_at_s,
                        of=answer.of,
                        out_for_s=answer.out_for_s,
                    )
                )

    # --- its transactions ---

    def _open(self, action: lease.OpenIncarnation) -> None:
        path = paths.incarnation(self.node)
        before = self.tree.records.get(path)
        record = IncarnationRecord(
            id=action.incarnation,
            boot_id=self.boot_id,
            started_at_s=self.now_s(),
            lease_s=action.lease_s,
            is_revoked=False,
            watchdog=None if self.armed_s is None else self.watchdog,
            watchdog_s=self.armed_s,
            storage_addresses=(self.guests.storage_address,),
            guests_left=True,
        )
        sent_s = self._now()
        ops: list[Op] = []
        if paths.node(self.node) not in self.tree.records:
            ops.append(Create(path=paths.node(self.node), value={}))
        ops.append(
            Create(path=path, value=encode(record))
            if before is None
            else Put(path=path, value=encode(record), version=before.version)
        )
        if not self._commit(ops):
            return
        self._opened_version = self.tree.records[path].version
        self.acknowledged_s = self.kernel.now_s  # a sign of life like a heartbeat
        self.journal("incarnation", incarnation=action.incarnation)
        opened = lease.Opened(now_s=self._now(), incarnation=action.incarnation, sent_at_s=sent_s)
        self._take(opened)

    def _beat(self, action: lease.WriteHeartbeat) -> None:
        incarnation = paths.incarnation(self.node)
        path = paths.lease(self.node)
        stamped = self.tree.records.get(incarnation)
        if self.can_reach() and stamped is not None:
            record = decode(IncarnationRecord, stamped.value)
            if record.is_revoked or record.id != action.incarnation:
                self._take(lease.Revoked(now_s=self._now(), incarnation=action.incarnation))
                return
        beat = {"counter": action.counter, "incarnation": action.incarnation}
        before = self.tree.records.get(path)
        sent_s = self._now()
        version = -1 if stamped is None else stamped.version
        ops: list[Op] = [Check(path=incarnation, version=version)]
        ops.append(
            Create(path=path, value=beat)
            if before is None
            else Put(path=path, value=beat, version=before.version)
        )
        if self._commit(ops):
            self.acknowledged_s = self.kernel.now_s
            self.on_beat(action.incarnation)
            answers_in_s = self.delay_s(action.via)
            if answers_in_s:
                boot = self.boot_id
                self.kernel.after(
                    answers_in_s, lambda: self._answered(boot, action.incarnation, sent_s)
                )
            else:
                self._answered(self.boot_id, action.incarnation, sent_s)

    def _answered(self, boot_id: str, incarnation: str, sent_s: float) -> None:
        """A heartbeat's acknowledgement; one that finds the process stopped waits to be read."""
        if self.boot_id != boot_id or not self.is_up:
            return
        if self.is_paused:
            self.kernel.after(LATE_LOOK_S, lambda: self._answered(boot_id, incarnation, sent_s))
            return
        self._take(lease.Acknowledged(now_s=self._now(), incarnation=incarnation, sent_at_s=sent_s))

    def _look_for_hold(self) -> None:
        if not self.can_reach():
            return
        stamped = self.tree.records.get(paths.HOLD)
        if stamped is None and not self._has_seen_hold:
            return
        self._has_seen_hold = stamped is not None
        hold = None if stamped is None else decode(HoldRecord, stamped.value)
        self._take(
            lease.HoldSeen(
                now_s=self._now(),
                id=None if hold is None else hold.id,
                left_s=0.0 if hold is None else float(hold.ends_at_s - self.now_s()),
            )
        )

    def _record_hold(self, action: lease.RecordHold) -> None:
        path = paths.incarnation(self.node)
        stamped = self.tree.records.get(path)
        if stamped is None or not self.can_reach():
            return
        record = decode(IncarnationRecord, stamped.value)
        if record.is_revoked or record.id != action.incarnation:
            self._take(lease.Revoked(now_s=self._now(), incarnation=action.incarnation))
            return
        named = replace(record, hold=action.id)
        if self._commit([Put(path=path, value=encode(named), version=stamped.version)]):
            self.journal("hold_observed", hold=action.id)
            self._take(
                lease.HoldRecorded(
                    now_s=self._now(),
                    incarnation=action.incarnation,
                    id=action.id,
                    asked_at_s=action.asked_at_s,
                )
            )

    def _say_left(self, action: lease.SayLeft) -> None:
        path = paths.incarnation(self.node)
        stamped = self.tree.records.get(path)
        if stamped is not None:
            record = decode(IncarnationRecord, stamped.value)
            if record.id == action.incarnation:
                left = replace(record, guests_left=False)
                if not self._commit([Put(path=path, value=encode(left), version=stamped.version)]):
                    return
        self._take(lease.Said(now_s=self._now(), incarnation=action.incarnation))

    def _commit(self, ops: list[Op]) -> bool:
        is_done = self.can_reach() and self._try(ops)
        if not is_done:
            self._take(lease.Failed(now_s=self._now(), via=lease.Via.SECOND))
        return is_done

    def _try(self, ops: list[Op]) -> bool:
        try:
            self.tree.check(ops)
        except StoreConflict:
            return False
        self.tree.apply(ops)
        return True

    # --- time ---

    def _now(self) -> float:
        return self.clock.now_s()

    def _schedule(self, delay_s: float) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next = self.kernel.after(self.clock.takes_s(delay_s), self._tick)

    def _watchdog(self, waits_s: float) -> None:
        """The hardware: nobody petted it for W, so the machine resets."""
        boot = self.boot_id

        def look() -> None:
            if self.boot_id != boot:
                return
            left_s = self.petted_s + waits_s - self.kernel.now_s
            if left_s <= 0:
                self.on_watchdog()
            else:
                self.kernel.after(left_s, look)

        self.kernel.after(waits_s, look)
