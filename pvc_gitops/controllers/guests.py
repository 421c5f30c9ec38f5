"""The one mechanism that starts and stops guests: the owner's agent makes reality match the records.

`guest_acts` decides: one guest in, one act out. A start goes (DESIGN section 6): a transaction that sets
`starting` under this node's unrevoked incarnation; nobody else watches the disks; the domain is made
paused; the incarnation is read again after a sync; resume. A domain that is found paused is destroyed
and started anew, never resumed: nobody knows what it has missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final, assert_never

from pvc_gitops.appliers import vm
from pvc_gitops.controllers import counted_on, migrate, turns
from pvc_gitops.controllers.guest_acts import (
    Act,
    AskDown,
    Begin,
    Complain,
    Crashed,
    End,
    Follow,
    Guest,
    GuestMemory,
    Keep,
    Note,
    Rest,
    Start,
    decide,
    is_wanted,
)
from pvc_gitops.controllers.records import check_incarnation, put, read
from pvc_gitops.controllers.turns import Everybody
from pvc_gitops.controllers.view import View
from pvc_gitops.controllers.watchers import check_disks, check_unused
from pvc_gitops.errors import (
    HypervisorError,
    PoolError,
    PrereqError,
    PvcError,
    StoreConflict,
    WorldError,
)
from pvc_gitops.ha.counted_on import at_start
from pvc_gitops.ha.restarts import (
    GOOD_RUN_S,
    RETRY_FIRST_S,
    Next,
    after_end,
    after_failed_start,
    backoff_s,
)
from pvc_gitops.model import guest_states, paths
from pvc_gitops.model.document import Kind
from pvc_gitops.model.guest_states import GuestEvent
from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.records import (
    GuestPhase,
    IncarnationRecord,
    Phase,
    PlacementRecord,
    Ready,
)
from pvc_gitops.model.recovery import Ha
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world import names
from pvc_gitops.world.ports import Domain, World

# Somebody else has its disks open: this is no start that failed. Who was killed elsewhere is a watcher
# for half a minute; after two minutes people should know.
REFUSALS_MAX: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestsDone:
    """What a tick did to the guests of this node."""

    memory: Mapping[VmName, GuestMemory]
    has_acted: bool
    faults: tuple[str, ...]
    due_at_s: float | None


@dataclass(slots=True, kw_only=True)
class _Round:
    """One tick's collected consequences."""

    world: World
    view: View
    incarnation: IncarnationRecord
    memory: dict[VmName, GuestMemory] = field(default_factory=dict)
    everybody: Everybody | None = None  # read when somebody would begin
    faults: list[str] = field(default_factory=list)
    due: list[float] = field(default_factory=list)
    has_acted: bool = False


def tick(world: World, view: View, memory: Mapping[VmName, GuestMemory]) -> GuestsDone:
    """One act for every guest that this node owns; then the domains that nobody gave us."""
    if view.domains is None or view.incarnation is None or view.incarnation.is_over:
        return GuestsDone(memory=memory, has_acted=False, faults=(), due_at_s=None)
    done = _Round(world=world, view=view, incarnation=view.incarnation)
    for name, placement in view.placements.items():
        if migrate.is_on_its_way(world.me.node, placement, view.guests.get(name)):
            done.memory[name] = memory.get(name, GuestMemory())  # `travel` looks after it
        elif owns(world, placement):
            _one(done, name, placement, memory.get(name, GuestMemory()))
    for other, facts in sorted(view.domains.items()):
        if facts.domain is not None and not _is_mine(view, world, other):
            _stranger(done, other, facts.name)
    return GuestsDone(
        memory=done.memory,
        has_acted=done.has_acted,
        faults=tuple(done.faults),
        due_at_s=min(done.due, default=None),
    )


def owns(world: World, placement: PlacementRecord) -> bool:
    """May this node start it? Nobody else may."""
    return placement.owner == world.me.node


def _is_mine(view: View, world: World, name: str) -> bool:
    placement = view.placements.get(VmName(name))
    return placement is not None and world.me.node in (placement.owner, placement.incoming)


def _one(done: _Round, name: VmName, placement: PlacementRecord, memory: GuestMemory) -> None:
    assert done.view.domains is not None
    guest = Guest(
        name=name,
        now_s=done.view.now_s,
        record=done.view.guests.get(name),
        placement=placement,
        facts=done.view.domains.get(name),
        incarnation=done.incarnation,
        memory=memory,
    )
    act = decide(guest)
    if not isinstance(act, Rest | Complain | Keep | Follow):
        done.has_acted = True
    try:
        done.memory[name] = _perform(done, guest, act)
    except StoreConflict:
        # Somebody else wrote the record meanwhile: the next tick reads it and decides anew.
        done.memory[name] = replace(memory, start=None) if isinstance(act, Begin) else memory
        done.has_acted = True
    except (HypervisorError, PoolError, PrereqError) as error:
        what = f"{error.operation}: " if isinstance(error, WorldError) else ""
        done.faults.append(f"guest {name}: {what}{error.reason}")
        done.due.append(done.view.now_s + RETRY_FIRST_S)
        done.has_acted = False
        done.memory[name] = memory


def _perform(  # noqa: C901, PLR0911, PLR0912  one case an act
    done: _Round, guest: Guest, act: Act
) -> GuestMemory:
    world, memory = done.world, guest.memory
    match act:
        case Rest():
            if act.until_s is not None:
                done.due.append(act.until_s)
            return memory
        case Complain():
            done.faults.append(act.fault)
            return memory
        case Note():
            if act.event is GuestEvent.DOWN:
                note(world, guest, act.event, act.why, restarts=0, tried=(), rests=False)
                return GuestMemory()
            note(world, guest, act.event, act.why, ready=at_start(_policy(guest).ready))
            return replace(memory, stop_asked_at_s=None, up_since_s=guest.now_s)
        case Crashed():
            return _crashed(done, guest)
        case Begin():
            return _in_turn(done, guest)
        case Follow():
            return _follow(done, guest)
        case AskDown():
            if guest.placement.state is not GuestPhase.STOPPING:
                note(world, guest, GuestEvent.ASKED_DOWN, "")
            world.hypervisor.shutdown(guest.domain)
            if memory.stop_asked_at_s is not None:
                return replace(memory, asked_again_at_s=guest.now_s)
            return replace(memory, stop_asked_at_s=guest.now_s, asked_again_at_s=None)
        case End():
            world.journal.event("guest_destroyed", vm=guest.name, why=act.why)
            world.hypervisor.destroy(guest.domain)
            return replace(memory, start=None, stop_asked_at_s=None)
        case Keep():
            return _keep(done, guest)
        case other:
            assert_never(other)


def note(
    world: World,
    guest: Guest,
    event: GuestEvent | None,
    why: str,
    *,
    ready: Ready | None = None,
    restarts: int | None = None,
    tried: tuple[NodeName, ...] | None = None,
    rests: bool | None = None,
) -> None:
    """Write what happened into the placement; None of the last three, or no event: it stays. A no-op
    where it says so."""
    before = guest.placement
    state = before.state if event is None else guest_states.after(before.state, event)
    after = replace(
        before,
        state=state,
        why=why,
        ready=ready,
        restarts=before.restarts if restarts is None else restarts,
        tried=before.tried if tried is None else tried,
        rests=before.rests if rests is None else rests,
    )
    if after == before:
        return
    after = replace(after, since_s=world.clock.now_s())
    world.store.commit(
        (
            check_incarnation(world.me.node, guest.incarnation),
            put(paths.placement(guest.name), after, before.version),
        )
    )
    if before.state is not state:
        world.journal.event("vm_state", vm=guest.name, before=before.state, state=state, why=why)
    elif before.ready is not ready:
        world.journal.event("vm_ready", vm=guest.name, ready=ready, why=why)


def _policy(guest: Guest) -> Ha:
    assert guest.record is not None
    return Ha.from_spec(guest.record.spec["ha"])


def _crashed(done: _Round, guest: Guest) -> GuestMemory:
    memory, record = guest.memory, guest.record
    assert record is not None
    then = after_end(
        _policy(guest),
        done.world.probes.ending(guest.domain),
        restarts=guest.placement.restarts,
        ran_s=0.0 if memory.up_since_s is None else guest.now_s - memory.up_since_s,
        takes_changes=record.pending_since_s is not None,
    )
    _follows(done, guest, then)
    return GuestMemory(retry_at_s=guest.now_s + then.wait_s)


def _follows(done: _Round, guest: Guest, then: Next) -> None:
    note(done.world, guest, then.event, then.why, restarts=then.restarts, rests=then.rests)
    if then.event is GuestEvent.GIVEN_UP and guest.placement.state is not GuestPhase.FAILED:
        done.world.journal.event("guest_failed", vm=guest.name, why=then.why)
    if not then.rests:
        done.due.append(guest.now_s + then.wait_s)


def _in_turn(done: _Round, guest: Guest) -> GuestMemory:
    """Begin, unless others come first."""
    everybody = done.everybody = done.everybody or turns.look(done.world, done.view)
    memory, now_s = guest.memory, guest.now_s
    if memory.held_since_s is None:
        memory = replace(memory, held_since_s=now_s, beats=everybody.beats)
    me, since_s = done.world.me.node, memory.held_since_s
    assert since_s is not None
    held = turns.held(everybody, guest.name, guest.incarnation, me=me, first=memory.beats)
    if held is None:
        return _begin(done, guest)
    if now_s >= since_s + held.patience_s:
        done.world.journal.event("guest_goes_ahead", vm=guest.name, why=held.why)
        return replace(_begin(done, guest), held_since_s=since_s, beats=memory.beats)
    before = guest.placement
    done.has_acted = (before.state, before.why) != (GuestPhase.WAITING, held.why)
    note(done.world, guest, GuestEvent.HINDERED, held.why)
    done.due.append(min(now_s + turns.BEAT_S, since_s + held.patience_s))
    return memory


def _begin(done: _Round, guest: Guest) -> GuestMemory:
    world, view, before = done.world, done.view, guest.placement
    domain = _domain(view, guest, before.starts + 1)
    if isinstance(domain, str):
        done.has_acted = (before.state, before.why) != (GuestPhase.WAITING, domain)
        note(world, guest, GuestEvent.HINDERED, domain)
        done.due.append(view.now_s + RETRY_FIRST_S)
        return guest.memory
    start = Start(starts=before.starts + 1, incarnation=guest.incarnation.id)
    after = replace(
        before,
        state=guest_states.after(before.state, GuestEvent.BEGUN),
        starts=start.starts,
        incarnation=start.incarnation,
        why="",
        since_s=world.clock.now_s(),
        ready=None,
        rests=False,
    )
    world.store.commit(
        (
            check_incarnation(world.me.node, guest.incarnation),
            put(paths.placement(guest.name), after, before.version),
        )
    )
    world.journal.event("vm_state", vm=guest.name, before=before.state, state=after.state, why="")
    others = _disks_of_others(view, guest.name)
    own = guest.incarnation.storage_addresses

    def work(progress: object) -> None:
        del progress
        check_disks(world, domain, own_addresses=own, in_use_here=others)
        world.hypervisor.create_paused(domain)

    world.jobs.start(start.key(guest.name), work)
    return replace(guest.memory, start=start, stop_asked_at_s=None)


def _domain(view: View, guest: Guest, starts: int) -> Domain | str:
    assert guest.record is not None
    if view.core_mtu_bytes is None:
        return "the cluster's document is not applied yet"
    domain = vm.domain_of(
        guest.record,
        networks=view.networks_called,
        core_mtu_bytes=view.core_mtu_bytes,
        starts=starts,
    )
    if isinstance(domain, str):
        return domain
    ready = {names.bridge(vni) for vni in view.bridges or ()}
    missing = sorted({nic.bridge for nic in domain.nics} - ready)
    return f"{missing[0]} is not up on this node yet" if missing else domain


def _disks_of_others(view: View, name: str) -> Mapping[tuple[str, str], str]:
    return {
        (disk.pool, disk.image): other
        for other, facts in (view.domains or {}).items()
        if other != name and facts.domain is not None
        for disk in facts.domain.disks
    }


def _follow(done: _Round, guest: Guest) -> GuestMemory:
    world, start = done.world, guest.memory.start
    assert start is not None
    key = start.key(guest.name)
    job = world.jobs.state(key)
    if job is not None and not job.is_done:
        return guest.memory
    done.has_acted = True
    if job is None:
        return replace(guest.memory, start=None)
    world.jobs.forget(key)
    if job.error is not None:
        return _start_failed(done, guest, job.error)
    if not _may_resume(done, guest, start):
        world.hypervisor.destroy(guest.name)
        return replace(guest.memory, start=None)
    world.hypervisor.resume(guest.name)
    world.journal.event("guest_started", vm=guest.name, start=start.starts)
    note(world, guest, GuestEvent.STARTED, "", ready=at_start(_policy(guest).ready))
    return GuestMemory(up_since_s=guest.now_s)


def _may_resume(done: _Round, guest: Guest, start: Start) -> bool:
    """The last look before the guest's first instruction."""
    store, me = done.world.store, done.world.me.node
    store.sync()
    now = read(store, paths.incarnation(me), IncarnationRecord)
    placement = read(store, paths.placement(guest.name), PlacementRecord)
    return (
        now is not None
        and now.id == start.incarnation
        and not now.is_over
        and placement is not None
        and owns(done.world, placement)
        and placement.starts == start.starts
        and guest.record is not None
        and is_wanted(guest.record)
    )


def _start_failed(done: _Round, guest: Guest, error: Exception) -> GuestMemory:
    if not isinstance(error, PvcError):
        raise error  # a bug of ours; the loop counts it
    why = error.reason if isinstance(error, WorldError) else str(error)
    if isinstance(error, PrereqError):
        return _refused(done, guest, why)
    then = after_failed_start(_policy(guest), why, restarts=guest.placement.restarts)
    _follows(done, guest, then)
    return GuestMemory(
        retry_at_s=guest.now_s + then.wait_s,
        held_since_s=guest.memory.held_since_s,
        beats=guest.memory.beats,
    )


def _refused(done: _Round, guest: Guest, why: str) -> GuestMemory:
    """Another place would be refused as well: this counts for nothing but people's eyes."""
    refusals = guest.memory.refusals + 1
    has_failed = refusals >= REFUSALS_MAX
    event = GuestEvent.GIVEN_UP if has_failed else GuestEvent.NOT_STARTED
    note(done.world, guest, event, f"start {refusals} refused: {why}")
    wait_s = backoff_s(refusals)
    done.due.append(guest.now_s + wait_s)
    return GuestMemory(
        refusals=refusals,
        retry_at_s=guest.now_s + wait_s,
        held_since_s=guest.memory.held_since_s,
        beats=guest.memory.beats,
    )


def _keep(done: _Round, guest: Guest) -> GuestMemory:
    memory, before = guest.memory, guest.placement
    up_since_s = guest.now_s if memory.up_since_s is None else memory.up_since_s
    memory = replace(memory, up_since_s=up_since_s)
    if (before.restarts or before.tried) and guest.now_s - up_since_s >= GOOD_RUN_S:
        note(done.world, guest, None, before.why, ready=before.ready, restarts=0, tried=())
        done.has_acted = True
        return memory
    return _changed(done, guest, _asked(done, guest, memory, up_s=guest.now_s - up_since_s))


def _asked(done: _Round, guest: Guest, memory: GuestMemory, *, up_s: float) -> GuestMemory:
    """May others count on it by now?"""
    assert guest.record is not None
    asked = counted_on.tick(
        done.world,
        done.view,
        guest.name,
        guest.record,
        guest.placement,
        domain=guest.domain,
        up_s=up_s,
        next_at_s=memory.ask_at_s,
    )
    if asked.due_at_s is not None:
        done.due.append(asked.due_at_s)
    if asked.verdict is not None:
        found = asked.verdict
        note(done.world, guest, None, found.why, ready=found.ready)
        done.has_acted = True
    return replace(memory, ask_at_s=asked.next_at_s)


def _changed(done: _Round, guest: Guest, memory: GuestMemory) -> GuestMemory:
    """What its record says by now, as far as it takes that while it runs."""
    assert guest.facts is not None
    have = guest.facts.domain
    assert guest.record is not None
    if have is None:
        return memory
    is_current = have.digest == guest.record.digest
    want = _domain(done.view, guest, have.starts)
    if isinstance(want, str):
        if not is_current:
            done.faults.append(f"guest {guest.name} cannot take its change: {want}")
        return memory
    if is_current and not done.view.heals(Kind.VM):
        return memory  # somebody changed the domain: the report says so
    for command in vm.commands(want, have):
        done.has_acted = True
        if is_current:
            world = done.world
            world.journal.event("drift_healed", vm=guest.name, command=type(command).__name__)
        if isinstance(command, vm.AttachDisk):
            check_unused(done.world, command.disk)
        vm.execute(command, guest.domain, done.world)
        done.world.journal.event("guest_changed", vm=guest.name, command=type(command).__name__)
    return memory


def _stranger(done: _Round, name: str, domain: str) -> None:
    """A domain of ours that no placement gives to this node. Destroyed only on fresh evidence."""
    world = done.world
    world.store.sync()
    placement = read(world.store, paths.placement(VmName(name)), PlacementRecord)
    record = done.view.guests.get(VmName(name))
    if placement is not None and world.me.node in (placement.owner, placement.incoming):
        done.has_acted = True
        return
    is_going = record is not None and record.phase is Phase.REMOVING
    if placement is None and not is_going:
        done.faults.append(
            f"guest {name} runs here, but no record places it anywhere; nothing is done to it"
        )
        return
    why = "it is being removed" if placement is None else f"it belongs to {placement.owner}"
    world.journal.event("guest_destroyed", vm=name, why=why)
    try:
        world.hypervisor.destroy(domain)
    except HypervisorError as error:
        done.faults.append(f"guest {name}: {error.operation}: {error.reason}")
        return
    done.has_acted = True
