"""Moves begun by the leading HA manager: what operators asked for (drains, single wishes, returns), and
guests away from nodes that lost their storage.

Git, planning and its budgets have no part in it: a node is emptied with all of them down. An order is one
transaction that checks both lives, claims the guest and sets `incoming`; the agents of the two nodes do
the rest (`controllers.migrate`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import field
from typing import Final

from pvc_gitops.controllers import intents as wishes
from pvc_gitops.controllers import ledger, recover
from pvc_gitops.controllers.ledger import Note
from pvc_gitops.controllers.records import check_incarnation, put, read
from pvc_gitops.controllers.recover import Scene
from pvc_gitops.errors import StoreConflict
from pvc_gitops.ha import moves
from pvc_gitops.ha.moves import CutOff, Emptying, Going, Order, Orders
from pvc_gitops.model import paths
from pvc_gitops.model.codec import encode
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import NodeName, PlanId, VmName, address
from pvc_gitops.model.intents import Intent, IntentKind
from pvc_gitops.model.ledger import EntryKind
from pvc_gitops.model.moves import END_HERE, DrainState, Moves
from pvc_gitops.model.plan import MoveMethod
from pvc_gitops.model.records import Claim, GuestPhase, IncarnationRecord, PlacementRecord
from pvc_gitops.model.recovery import Ha
from pvc_gitops.model.spec import VirtualMachine
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.scheduler.asks import ask_of, rule_of
from pvc_gitops.scheduler.board import Board, Guest, Host
from pvc_gitops.scheduler.capacity import host
from pvc_gitops.world.ports import Create, Leadership, World

RETRY_FIRST_S: Final = 10.0
RETRY_MAX_S: Final = 300.0
ELSEWHERE_S: Final = 10.0  # so long a guest that may be moved again goes to another node only
TRIES_MAX: Final = 3  # of a single wish; a drain goes on trying
_MOVABLE: Final = (GuestPhase.RUNNING, GuestPhase.STOPPED, GuestPhase.FAILED, GuestPhase.WAITING)
_ENDABLE: Final = (GuestPhase.RUNNING, GuestPhase.WAITING)
_EMPTYING: Final = (IntentKind.DRAIN, IntentKind.MAINTENANCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """A move that was begun, and how often moves of its guest failed before."""

    to: NodeName
    failures: int = 0
    rest_until_s: float = 0.0
    why: str = ""  # of the last failure


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersMemory:
    """What the leader remembers. All of it may be lost: then what failed is tried again at once."""

    tries: Mapping[VmName, Try] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One moment, as the HA manager sees it."""

    scene: Scene
    intents: tuple[Intent, ...]
    incarnations: Mapping[NodeName, IncarnationRecord]
    online: frozenset[NodeName]  # whose heartbeats move, and of whom nobody doubts
    claims: tuple[Claim, ...]
    cut_off: frozenset[NodeName] = frozenset()  # who just said that it lost its storage
    sound: frozenset[NodeName] = frozenset()  # who just said that Ceph answers it


def emptied(intents: Iterable[Intent]) -> dict[NodeName, Intent]:
    """Nodes that take nobody in, and whose guests leave; the first wish of each."""
    found: dict[NodeName, Intent] = {}
    for intent in sorted(intents, key=lambda each: (each.made_at_s, each.id)):
        kind, _, name = intent.subject.partition("/")
        if intent.kind in _EMPTYING and kind == Kind.NODE:
            found.setdefault(NodeName(name), intent)
    return found


def in_maintenance(intents: Iterable[Intent]) -> frozenset[NodeName]:
    """Nodes that somebody is working on: nothing is done about what they lack meanwhile."""
    return frozenset(
        NodeName(intent.subject.partition("/")[2])
        for intent in intents
        if intent.kind is IntentKind.MAINTENANCE and intent.subject.startswith(f"{Kind.NODE}/")
    )


def tick(
    world: World, lead: Leadership, memory: OrdersMemory, look: Look, now_s: float
) -> OrdersMemory:
    """Begin what can begin, end what is over, say what is under way. Raises StoreError, StoreConflict."""
    away = emptied(look.intents)
    tries = _learnt(look.scene.placements, memory.tries, now_s)
    going = [each for intent in look.intents for each in _wanted(world, lead, look, intent, tries)]
    cut_off = [_cut_off(look, node) for node in sorted(look.cut_off & look.online)]
    if not away and not going and not cut_off:
        _say(world, lead, Moves())
        return replace(memory, tries=_kept(tries, look))
    ending = frozenset[VmName]().union(*(each.ending for each in cut_off))
    found = moves.orders(
        _scene(
            look,
            away,
            tries,
            now_s,
            bound={each.vm for each in going if each.to is not None},
            ending=ending,
        ),
        [
            Emptying(node=node, intent=intent.id)
            for node, intent in sorted(away.items())
            if node in look.online
        ],
        [each for each in going if each.to not in away],
        cut_off,
    )
    for order in found.begin:
        if _begin(world, lead, look, order):
            before = tries.get(order.vm)
            failures = 0 if before is None else before.failures
            tries[order.vm] = Try(to=order.to, failures=failures)
    _say(world, lead, _record(look, away, found, tries))
    return replace(memory, tries=_kept(tries, look))


def _learnt(
    placements: Mapping[VmName, PlacementRecord], tries: Mapping[VmName, Try], now_s: float
) -> dict[VmName, Try]:
    """What came of moves that were begun."""
    found: dict[VmName, Try] = {}
    for name, each in tries.items():
        placement = placements.get(name)
        if placement is None or placement.owner == each.to:
            continue
        if placement.incoming is None and not each.rest_until_s:
            failures = each.failures + 1
            wait_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** (failures - 1))
            found[name] = replace(
                each, failures=failures, rest_until_s=now_s + wait_s, why=placement.why
            )
        else:
            found[name] = each
    return found


def _kept(tries: Mapping[VmName, Try], look: Look) -> dict[VmName, Try]:
    """Nothing is remembered of guests that nobody wants moved any more."""
    is_wanted = bool(look.cut_off) or any(
        intent.kind in (*_EMPTYING, IntentKind.MIGRATE, IntentKind.RETURN)
        for intent in look.intents
    )
    return dict(tries) if is_wanted else {}


# --- what is wanted ----------------------------------------------------------------------------------


def _wanted(
    world: World, lead: Leadership, look: Look, intent: Intent, tries: Mapping[VmName, Try]
) -> list[Going]:
    """Of single wishes and returns; one that is over is ended."""
    placements = look.scene.placements
    if intent.kind is IntentKind.MIGRATE:
        name = VmName(intent.subject.partition("/")[2])
        placement, over = placements.get(name), ""
        to = NodeName(intent.data["node"]) if intent.data.get("node") else None
        if placement is None:
            over = "the guest is gone"
        elif placement.incoming is None and _has_come(placement, to, intent.data["from"]):
            over = f"it is on {placement.owner}"
        elif name in tries and tries[name].failures >= TRIES_MAX:
            over = f"given up: {tries[name].why}"
        if over:
            _end(world, lead, intent, over)
            return []
        method = intent.data.get("method")
        how = MoveMethod(method) if method else None
        return [Going(vm=name, to=to, intent=intent.id, method=how)]
    if intent.kind is IntentKind.RETURN:
        home = NodeName(intent.subject.partition("/")[2])
        away = [
            name
            for name, placement in sorted(placements.items())
            if placement.owner != home and intent.data["drain"] == placement.moved_for
        ]
        if not away:
            _end(world, lead, intent, f"all are back on {home}")
        return [Going(vm=name, to=home, intent=intent.id) for name in away]
    return []


def _has_come(placement: PlacementRecord, to: NodeName | None, source: str) -> bool:
    return placement.owner != source if to is None else placement.owner == to


def _end(world: World, lead: Leadership, intent: Intent, why: str) -> None:
    ops, note = wishes.ending(intent, why, "ha")
    now_s = world.clock.now_s()
    world.store.commit((*lead.checks, *ops, *ledger.appending(world.store, [note], now_s)))
    world.journal.event("intent_ended", id=intent.id, why=why)


# --- the scene ---------------------------------------------------------------------------------------


def _scene(
    look: Look,
    away: Mapping[NodeName, Intent],
    tries: Mapping[VmName, Try],
    now_s: float,
    *,
    bound: Container[VmName],
    ending: Container[VmName],
) -> moves.Scene:
    """`bound`: guests that somebody wants on a certain node; `ending`: whose node lost its storage."""
    of = look.scene
    rules = {name: rule_of(group) for name, group in of.groups.items()}
    seats: dict[NodeName, list[Guest]] = {}
    busy: dict[VmName, tuple[NodeName, NodeName]] = {}
    methods: dict[VmName, MoveMethod | None] = {}
    arriving: list[tuple[Guest, NodeName]] = []
    for name, placement in sorted(of.placements.items()):
        if placement.owner not in look.online or name not in of.guests:
            continue
        guest = _asked(of, name)
        if name not in bound:
            guest = _elsewhere(guest, tries.get(name), of.takers, now_s)
        if name in ending:
            guest = _where_storage_is(guest, look.sound)
        methods[name] = _method(of, guest, placement)
        if placement.incoming is None:
            seats.setdefault(placement.owner, []).append(guest)
            continue
        busy[name] = (placement.owner, placement.incoming)
        arriving += [(guest, placement.owner), (guest, placement.incoming)]
    open_to_all = of.takers - away.keys()
    hosts = [host(of.nodes[n], of.hardware.get(n), of.cluster) for n in sorted(open_to_all)]
    every = {*seats, *away, *(node for _, node in arriving)} & look.online
    hosts += [_filled(node, seats, arriving) for node in sorted(every - open_to_all)]
    board = Board(hosts, rules)
    for node, guests in seats.items():
        for guest in guests:
            board.put(guest, node)
    for guest, node in arriving:
        if node in board.hosts:
            board.put(guest, node)
    return moves.Scene(
        board=board,
        guests=seats,
        methods=methods,
        busy=busy,
        resting=frozenset(_resting(look, tries, now_s)),
        strategy=of.cluster.strategy,
    )


def _filled(
    node: NodeName,
    seats: Mapping[NodeName, list[Guest]],
    arriving: Iterable[tuple[Guest, NodeName]],
) -> Host:
    """Room for those who are there, and for nobody else."""
    own = [*seats.get(node, ()), *(guest for guest, at in arriving if at == node)]
    return Host(
        name=node,
        memory_mib=sum(guest.memory_mib for guest in own),
        vcpus=sum(guest.vcpus for guest in own),
        vfs=sum(guest.vfs for guest in own),
    )


def _asked(of: Scene, name: VmName) -> Guest:
    vm = _vm(of, name)
    sriov = frozenset(n.name for n in of.networks.values() if n.type == "sriov")
    return ask_of(vm, of.groups, sriov) or Guest.disabled(name)


def _elsewhere(guest: Guest, last: Try | None, takers: frozenset[NodeName], now_s: float) -> Guest:
    """Every second time not where it could not go the last time, if there is anywhere else; room or a
    rule may leave only that one, so a little later it may go there again."""
    if last is None or last.failures % 2 == 0 or now_s >= last.rest_until_s + ELSEWHERE_S:
        return guest
    allowed = (guest.nodes if guest.is_strict and guest.nodes else takers) - {last.to}
    return replace(guest, nodes=allowed, is_strict=True) if allowed else guest


def _where_storage_is(guest: Guest, sound: frozenset[NodeName]) -> Guest:
    allowed = guest.nodes & sound if guest.is_strict and guest.nodes else sound
    return replace(guest, nodes=allowed or guest.nodes, is_strict=True)


def _cut_off(look: Look, node: NodeName) -> CutOff:
    """Whom its owner is asked to end: who is started again elsewhere when a node dies, and has a disk
    that it cannot reach here."""
    of = look.scene
    return CutOff(
        node=node,
        ending=frozenset(
            name
            for name, placement in of.placements.items()
            if placement.owner == node
            and placement.incoming is None
            and placement.state in _ENDABLE
            and recover.must_run_elsewhere(of, name)
            and _vm(of, name).disks
            and not _asked(of, name).vfs
            and len(placement.tried) < _relocations_max(of, name)
        ),
    )


def _relocations_max(of: Scene, name: VmName) -> int:
    return Ha.from_spec(of.guests[name].spec["ha"]).relocations_max


def _vm(of: Scene, name: VmName) -> VirtualMachine:
    record = of.guests[name]
    return VirtualMachine.from_spec(record.name, record.spec)


def _method(of: Scene, guest: Guest, placement: PlacementRecord) -> MoveMethod | None:
    """By its own wish; one that does not run, or that holds a part of its node, is not moved alive."""
    wish = _vm(of, guest.name).migration_method
    if wish == "none":
        return None
    is_live = wish == "live" and placement.state is GuestPhase.RUNNING and not guest.vfs
    return MoveMethod.LIVE if is_live else MoveMethod.SHUTDOWN


def _resting(look: Look, tries: Mapping[VmName, Try], now_s: float) -> Iterable[VmName]:
    claimed = {claim.address for claim in look.claims}
    for name, placement in look.scene.placements.items():
        each = tries.get(name)
        is_tired = each is not None and each.rest_until_s > now_s
        is_claimed = address(Kind.VM, name) in claimed
        if is_tired or is_claimed or placement.state not in _MOVABLE:
            yield name


# --- records -----------------------------------------------------------------------------------------


def _begin(world: World, lead: Leadership, look: Look, order: Order) -> bool:
    """One order; False where something changed meanwhile."""
    store, now_s = world.store, world.clock.now_s()
    before = look.scene.placements[order.vm]
    source, there = look.incarnations.get(order.source), look.incarnations.get(order.to)
    if source is None or there is None or source.is_over or there.is_over:
        return False
    of = address(Kind.VM, order.vm)
    after = replace(
        before,
        incoming=order.to,
        method=order.method,
        order=order.intent,
        since_s=now_s,
    )
    claim = Claim(
        address=of,
        plan=PlanId(""),
        step=f"move of {order.vm} from {order.source} to {order.to}",
        node=order.source,
        incarnation=source.id,
    )
    how = "since that node lost its storage" if order.method == END_HERE else order.method
    author = next((i.by for i in look.intents if i.id == order.intent), f"ha on {world.me.node}")
    note = Note(
        kind=EntryKind.ACT,
        text=f"{order.vm} goes from {order.source} to {order.to}, {how}",
        by=author,
        addresses=(of,),
        data={"intent": order.intent},
    )
    try:
        store.commit(
            (
                *lead.checks,
                check_incarnation(order.source, source),
                check_incarnation(order.to, there),
                Create(path=paths.claim(of), value=encode(claim)),
                put(paths.placement(order.vm), after, before.version),
                *ledger.appending(store, [note], now_s),
            )
        )
    except StoreConflict:
        return False
    world.journal.event(
        "guest_ordered", vm=order.vm, source=order.source, to=order.to, method=order.method
    )
    return True


def _record(
    look: Look, away: Mapping[NodeName, Intent], found: Orders, tries: Mapping[VmName, Try]
) -> Moves:
    drains: dict[NodeName, DrainState] = {}
    begun = {order.vm: order.to for order in found.begin}
    for node, intent in sorted(away.items()):
        own = {n: p for n, p in sorted(look.scene.placements.items()) if p.owner == node}
        moving = {n: p.incoming or begun.get(n) for n, p in own.items()}
        staying = dict(found.staying.get(node, {}))
        for name, each in sorted(tries.items()):
            if name in own and not moving[name] and each.failures:
                staying[name] = each.why
        if node not in look.online:
            staying = dict.fromkeys(own, f"{node} does not answer")
        drains[node] = DrainState(
            intent=intent.id,
            left=tuple(own),
            moving={n: to for n, to in moving.items() if to is not None},
            staying=staying,
        )
    return Moves(
        drains=drains,
        refused=dict(sorted(found.refused.items())),
        cut_off={node: dict(sorted(each.items())) for node, each in sorted(found.cut_off.items())},
    )


def _say(world: World, lead: Leadership, now: Moves) -> None:
    """Written when it differs, and told when a node has become empty."""
    before = read(world.store, paths.MOVES, Moves)
    if replace(now, version=0) == (Moves() if before is None else replace(before, version=0)):
        return
    version = None if before is None else before.version
    world.store.commit((*lead.checks, put(paths.MOVES, now, version)))
    for node, drain in now.drains.items():
        was = None if before is None else before.drains.get(node)
        if drain.is_done and (was is None or not was.is_done):
            world.journal.event("node_drained", of=node, intent=drain.intent)
    for node, staying in now.cut_off.items():
        known = {} if before is None else before.cut_off.get(node, {})
        for name, why in staying.items():
            if known.get(name) != why:
                world.journal.event("guest_waits", vm=name, why=f"{node} lost its storage: {why}")
