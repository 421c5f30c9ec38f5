"""A guest on its way between two nodes, carried out by the agents of both (`ha.migration` decides).

Every change of ownership is one transaction that checks both lives: the source's, so that nothing of a
fenced node gives anything away, and the destination's, so that nothing is given to a node whose copy its
guard has ended.
"""

from __future__ import annotations

from typing import Final, assert_never

from pvc_gitops.controllers.records import check_incarnation, put, read
from pvc_gitops.errors import HypervisorError, StoreConflict
from pvc_gitops.ha import cut_off, migration
from pvc_gitops.ha.migration import (
    Arriving,
    AskDown,
    CallOff,
    End,
    GiveUp,
    GoOn,
    HandOver,
    Leave,
    Leaving,
    Lost,
    Rest,
    Runs,
    Send,
    Transfer,
)
from pvc_gitops.model import guest_states, paths
from pvc_gitops.model.document import Kind
from pvc_gitops.model.guest_states import GuestEvent
from pvc_gitops.model.ha import Proof
from pvc_gitops.model.ids import NodeName, VmName, address
from pvc_gitops.model.inventory import GuestState, StorageReach
from pvc_gitops.model.moves import END_HERE
from pvc_gitops.model.plan import MoveMethod
from pvc_gitops.model.records import (
    Applied,
    Claim,
    GuestPhase,
    IncarnationRecord,
    Phase,
    PlacementRecord,
    Wanted,
)
from pvc_gitops.model.spec import VirtualMachine
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import ARRIVED, Check, Delete, DomainFacts, Op, World

RETRY_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveMemory:
    """What one of the two agents remembers of a move. All of it may be lost."""

    order: tuple[str, int]  # where to, and since when: another order is another move
    domain: str  # what libvirt knows it by
    stop_asked_at_s: float | None = None  # for the first time
    asked_again_at_s: float | None = None
    doubt_since_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a tick did to one guest on its way. `memory` None: its move is over."""

    memory: MoveMemory | None
    has_acted: bool = False
    fault: str = ""
    due_at_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Traveller:
    """One guest on its way, as one tick of one of its two nodes sees it."""

    world: World
    now_s: float
    name: VmName
    placement: PlacementRecord
    record: Applied | None
    facts: DomainFacts | None
    incarnation: IncarnationRecord
    memory: MoveMemory
    storage: StorageReach = StorageReach.UNKNOWN  # of this node


def is_on_its_way(me: NodeName, placement: PlacementRecord, record: Applied | None) -> bool:
    """Is it for this file, and not for the everyday of a guest that stays?"""
    if placement.incoming is not None:
        return me in (placement.owner, placement.incoming)
    has_arrived = placement.owner == me and placement.state is GuestPhase.MIGRATING
    return has_arrived and _is_wanted(record)


def remembered(
    placement: PlacementRecord, facts: DomainFacts | None, name: VmName, memory: MoveMemory | None
) -> MoveMemory:
    """What is known of this move; of another one nothing."""
    order = (placement.incoming or placement.owner, placement.since_s)
    if memory is not None and memory.order == order:
        return memory
    return MoveMemory(order=order, domain=name if facts is None else facts.name)


def tick(guest: Traveller) -> Moved:
    """The next act of this node. Raises StoreError."""
    world, name, placement = guest.world, guest.name, guest.placement
    act = _attend if placement.owner != world.me.node else _leave
    if placement.incoming is None:
        act = _arrive
    try:
        return act(guest)
    except StoreConflict:
        # Somebody else wrote a record meanwhile: the next tick reads it and decides anew.
        return Moved(memory=guest.memory, has_acted=True)
    except HypervisorError as error:
        return Moved(
            memory=guest.memory,
            fault=f"guest {name}: {error.operation}: {error.reason}",
            due_at_s=guest.now_s + RETRY_S,
        )


# --- the source --------------------------------------------------------------------------------------


def _leave(guest: Traveller) -> Moved:
    world, memory, now_s = guest.world, guest.memory, guest.now_s
    to = guest.placement.incoming
    assert to is not None
    there = read(world.store, paths.incarnation(to), IncarnationRecord)
    transfer, error = _transfer(guest)
    state = None if guest.facts is None else guest.facts.state
    is_over = there is None or there.is_over
    if guest.placement.method == END_HERE:
        act = cut_off.give_up(
            now_s=now_s,
            state=state,
            is_wanted=_is_wanted(guest.record),
            storage=guest.storage,
            is_destination_over=is_over,
        )
    else:
        act = _travel(guest, state, transfer, error, is_over=is_over)
    match act:
        case Rest():
            return _rest(guest, act)
        case Send():
            assert guest.record is not None
            vm = VirtualMachine.from_spec(guest.name, guest.record.spec)
            world.journal.event("guest_leaves", vm=guest.name, to=to)
            world.hypervisor.send(memory.domain, to, max_downtime_s=vm.max_downtime_s)
            return Moved(memory=memory, due_at_s=now_s + migration.LOOK_S)
        case AskDown():
            world.hypervisor.shutdown(memory.domain)
            if memory.stop_asked_at_s is not None:
                memory = replace(memory, asked_again_at_s=now_s)
            else:
                memory = replace(memory, stop_asked_at_s=now_s)
            return Moved(memory=memory, has_acted=True)
        case End():
            return _end(guest, act)
        case HandOver():
            assert there is not None
            _hand_over(guest, there, is_whole=act.is_whole)
        case CallOff():
            _call_off(guest, act.why)
        case other:
            assert_never(other)
    world.hypervisor.forget_sending(memory.domain)
    return Moved(memory=None, has_acted=True)


def _travel(
    guest: Traveller,
    state: GuestState | None,
    transfer: Transfer,
    error: str,
    *,
    is_over: bool,
) -> Leave:
    memory = guest.memory
    return migration.leave(
        Leaving(
            now_s=guest.now_s,
            state=state,
            method=MoveMethod(guest.placement.method),
            is_wanted=_is_wanted(guest.record),
            transfer=transfer,
            error=error,
            is_destination_over=is_over,
            stop_asked_at_s=memory.stop_asked_at_s,
            asked_again_at_s=memory.asked_again_at_s,
            stop_timeout_s=_stop_timeout_s(guest.record),
            doubt_since_s=memory.doubt_since_s,
        )
    )


def _transfer(guest: Traveller) -> tuple[Transfer, str]:
    sending = guest.world.hypervisor.sending(guest.memory.domain)
    if sending is None:
        return Transfer.NONE, ""
    if not sending.is_done:
        return Transfer.UNDER_WAY, ""
    return (Transfer.FAILED, sending.error) if sending.error else (Transfer.DONE, "")


def _hand_over(guest: Traveller, there: IncarnationRecord, *, is_whole: bool) -> None:
    """From here on the destination alone is the owner. Acknowledged before anything of it runs there."""
    before, to = guest.placement, guest.placement.incoming
    assert to is not None
    if is_whole:
        event, why = GuestEvent.ARRIVED, ""
    elif _is_wanted(guest.record):
        is_ended = before.method == END_HERE
        has_lost = f"{before.owner} has lost its storage"
        event, why = GuestEvent.CAME, has_lost if is_ended else f"moved from {before.owner}"
    else:
        event, why = GuestEvent.DOWN, ""
    after = replace(
        before,
        owner=to,
        incoming=None,
        method="",
        order="",
        moved_for=before.order,
        incarnation=there.id if is_whole else None,
        state=guest_states.after(before.state, event),
        why=why,
        since_s=guest.world.clock.now_s(),
        tried=(*before.tried, before.owner) if before.method == END_HERE else before.tried,
    )
    _commit(guest, after, check_incarnation(to, there))
    guest.world.journal.event("guest_handed_over", vm=guest.name, to=to, is_whole=is_whole)


def _call_off(guest: Traveller, why: str) -> None:
    before = guest.placement
    is_here = guest.facts is not None
    after = replace(
        before,
        incoming=None,
        method="",
        order="",
        state=before.state if is_here else guest_states.after(before.state, GuestEvent.CAME),
        why=f"not moved to {before.incoming}: {why}",
        since_s=guest.world.clock.now_s(),
    )
    _commit(guest, after)
    guest.world.journal.event("guest_not_moved", vm=guest.name, to=before.incoming, why=why)


# --- the destination ---------------------------------------------------------------------------------


def _attend(guest: Traveller) -> Moved:
    world, source = guest.world, guest.placement.owner
    proof = read(world.store, paths.proof(source), Proof)
    life = read(world.store, paths.incarnation(source), IncarnationRecord)
    is_dead = proof is not None and life is not None and proof.incarnation == life.id
    act = migration.attend(is_source_dead=is_dead, has_domain=guest.facts is not None)
    match act:
        case Rest():
            return Moved(memory=guest.memory, due_at_s=guest.now_s + migration.LOOK_S)
        case End():
            return _end(guest, act)
        case GiveUp():
            assert proof is not None
            before = guest.placement
            after = replace(
                before,
                incoming=None,
                method="",
                order="",
                why=f"{source} died before it had gone to {before.incoming}",
                since_s=world.clock.now_s(),
            )
            _commit(guest, after, Check(path=paths.proof(source), version=proof.version))
            world.journal.event("guest_given_up", vm=guest.name, source=source)
            return Moved(memory=None, has_acted=True)
        case other:
            assert_never(other)


def _arrive(guest: Traveller) -> Moved:
    world = guest.world
    facts = guest.facts
    if facts is None:
        # It may have come after the hypervisor was asked, and before the records were read.
        facts = next((f for f in _ours_now(guest) if f.name == guest.memory.domain), None)
    act = migration.arrive(
        Arriving(
            now_s=guest.now_s,
            state=None if facts is None else facts.state,
            has_all=facts is not None and facts.reason == ARRIVED,
            doubt_since_s=guest.memory.doubt_since_s,
        )
    )
    match act:
        case Rest():
            return _rest(guest, act)
        case GoOn():
            if not _may_go_on(guest):
                return Moved(memory=guest.memory, has_acted=True)
            world.hypervisor.resume(guest.memory.domain)
            _settle(guest, GuestEvent.STARTED, "")
            world.journal.event("guest_migrated", vm=guest.name, node=world.me.node)
        case Runs():
            _settle(guest, GuestEvent.STARTED, "")
        case Lost():
            _settle(guest, GuestEvent.CAME, act.why)
        case End():
            return _end(guest, act)
        case other:
            assert_never(other)
    return Moved(memory=None, has_acted=True)


def _ours_now(guest: Traveller) -> tuple[DomainFacts, ...]:
    found = guest.world.hypervisor.domains().values()
    return tuple(each for each in found if each.domain is not None)


def _may_go_on(guest: Traveller) -> bool:
    """The last look before its first instruction here."""
    store, me = guest.world.store, guest.world.me.node
    store.sync()
    now = read(store, paths.incarnation(me), IncarnationRecord)
    placement = read(store, paths.placement(guest.name), PlacementRecord)
    return (
        now is not None
        and now.id == guest.placement.incarnation
        and not now.is_over
        and placement is not None
        and (placement.owner, placement.incoming) == (me, None)
        and placement.state is GuestPhase.MIGRATING
    )


def _settle(guest: Traveller, event: GuestEvent, why: str) -> None:
    state = guest_states.after(guest.placement.state, event)
    after = replace(guest.placement, state=state, why=why, since_s=guest.world.clock.now_s())
    _commit(guest, after)
    guest.world.journal.event(
        "vm_state", vm=guest.name, before=guest.placement.state, state=state, why=why
    )


# --- both --------------------------------------------------------------------------------------------


def _rest(guest: Traveller, act: Rest) -> Moved:
    memory = guest.memory
    if act.is_in_doubt and memory.doubt_since_s is None:
        memory = replace(memory, doubt_since_s=guest.now_s)
    return Moved(memory=memory, due_at_s=act.until_s)


def _end(guest: Traveller, act: End) -> Moved:
    guest.world.journal.event("guest_destroyed", vm=guest.name, why=act.why)
    name = guest.memory.domain if guest.facts is None else guest.facts.name
    guest.world.hypervisor.destroy(name)
    return Moved(memory=guest.memory, has_acted=True)


def _commit(guest: Traveller, after: PlacementRecord, *checks: Check) -> None:
    """The record, under this node's life, and the claim of the move with it."""
    store = guest.world.store
    ops: list[Op] = [check_incarnation(guest.world.me.node, guest.incarnation), *checks]
    ops.append(put(paths.placement(guest.name), after, guest.placement.version))
    claim = read(store, paths.claim(address(Kind.VM, guest.name)), Claim)
    if claim is not None and not claim.plan and guest.placement.incoming is not None:
        ops.append(Delete(path=paths.claim(claim.address), version=claim.version))
    store.commit(tuple(ops))


def _is_wanted(record: Applied | None) -> bool:
    return record is not None and record.phase is Phase.PRESENT and record.wanted is Wanted.RUNNING


def _stop_timeout_s(record: Applied | None) -> float:
    if record is None:
        return 0.0
    return VirtualMachine.from_spec(record.name, record.spec).stop_timeout_s
