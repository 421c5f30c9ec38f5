"""pvc-ha: one tick. Fence nodes that fell silent, give their guests to others. Never reads git (D9).
All candidates also try all the time what a fence would need (`ready`).

All candidates watch the heartbeats all the time, each on its own clock, so that a new leader need not
begin by looking. What is under way stands in `/pvc/ha/fence`: whoever leads goes on with it. Acts on
the world are jobs of this process and die with it; every write checks the role's epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from pvc_gitops.controllers import fences, holding, orders, ready, recover, recoveries, shut_out
from pvc_gitops.controllers.beats import read_beats, read_incarnations
from pvc_gitops.controllers.fence_acts import Machine
from pvc_gitops.controllers.fences import FenceMemory
from pvc_gitops.controllers.observe import lease_s, read_applied, read_intents
from pvc_gitops.controllers.orders import OrdersMemory
from pvc_gitops.controllers.ready import ReadyMemory
from pvc_gitops.controllers.records import put, read, read_all
from pvc_gitops.controllers.recover import Scene
from pvc_gitops.controllers.recoveries import RecoveryMemory, Sight
from pvc_gitops.controllers.shut_out import ShutOutMemory
from pvc_gitops.controllers.watch import NodeWatch
from pvc_gitops.errors import StoreConflict, StoreError
from pvc_gitops.ha import cold_start
from pvc_gitops.ha.cold_start import Light
from pvc_gitops.ha.cut_off import Hearing, heard
from pvc_gitops.ha.fencing import BmcState, NodeView, Wait, acts, is_back, is_dead, may_recover
from pvc_gitops.model import paths, soundness
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ha import Fence, Proof, Roll
from pvc_gitops.model.ids import Address, NodeName, VmName
from pvc_gitops.model.intents import Intent, IntentKind
from pvc_gitops.model.inventory import NodeFacts, NodeState, StorageReach
from pvc_gitops.model.records import (
    Applied,
    Claim,
    Formation,
    IncarnationRecord,
    PlacementRecord,
)
from pvc_gitops.model.spec import NodeRole
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import Delete, Leadership, World

ROLE: Final = "ha"
BEATS_EVERY_S: Final = (
    1.0  # as often as they are written: every second of delay is a second of outage
)
WITHOUT_STORE_S: Final = 1.0
# After a conflict the next look is taken at once, and later each time that it meets another: a record
# that cannot be written must keep neither this process nor the store busy.
CONFLICT_S: Final = 0.1
CONFLICT_MAX_S: Final = 1.0
WATCHED: Final = (paths.PLACEMENT, paths.FENCES)


@dataclass(frozen=True, slots=True, kw_only=True)
class HaMemory:
    """What a candidate remembers. An empty one is always right, only slower."""

    due_at_s: float = 0.0
    is_woken: bool = True
    is_watching: bool = False
    watch: NodeWatch = field(default_factory=NodeWatch)
    epoch: int | None = None  # while leading
    aside: str = ""  # why it does not stand for election
    fences: Mapping[NodeName, FenceMemory] = field(default_factory=dict)
    recovery: RecoveryMemory = field(default_factory=RecoveryMemory)
    told: Mapping[NodeName, str] = field(default_factory=dict)  # troubles, as last said
    ready: ReadyMemory = field(default_factory=ReadyMemory)
    light: Light = Light()
    orders: OrdersMemory = field(default_factory=OrdersMemory)
    shut_out: ShutOutMemory = field(default_factory=ShutOutMemory)
    hearing: Hearing = field(default_factory=Hearing)
    conflicts: int = 0  # one after the other


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One moment of the store."""

    scene: Scene
    incarnations: Mapping[NodeName, IncarnationRecord]
    fences: Mapping[NodeName, Fence]
    proofs: Mapping[NodeName, Proof]
    claims: tuple[Claim, ...]
    intents: tuple[Intent, ...]
    states: Mapping[NodeName, NodeState]
    roll: Roll | None
    reports: Mapping[NodeName, NodeFacts]  # with the state of now
    is_cold: bool = False


def tick(world: World, memory: HaMemory) -> HaMemory:
    """Watch; as leader, do what is missing."""
    now_s = world.clock.monotonic_s()
    try:
        if not world.store.is_connected():
            return replace(memory, due_at_s=now_s + WITHOUT_STORE_S)
        memory = _observe(world, memory, now_s)
        memory = replace(memory, ready=ready.tick(world, memory.ready, memory.watch))
        if _must_stand_aside(world, memory, now_s):
            memory = _synced(world, memory, now_s)
            if why := _must_stand_aside(world, memory, now_s):
                return _aside(world, memory, why)
        memory = replace(memory, aside="") if memory.aside else memory
        lead = world.store.lead(ROLE, world.me.node)
        if lead is None:
            return replace(memory, epoch=None, fences={}, is_woken=False)
        if memory.epoch != lead.epoch:
            world.journal.event("leader", role=ROLE, epoch=lead.epoch)
            memory = replace(memory, epoch=lead.epoch, fences={}, recovery=RecoveryMemory())
        memory = _lead(world, replace(memory, is_woken=False), lead, now_s)
        return replace(memory, conflicts=0) if memory.conflicts else memory
    except StoreConflict as error:
        world.journal.event("ha_conflict", path=error.target)
        conflicts = memory.conflicts + 1
        pause_s = min(CONFLICT_MAX_S, CONFLICT_S * 2 ** min(conflicts - 2, 8))
        due_at_s = now_s if conflicts == 1 else now_s + pause_s
        return replace(memory, due_at_s=due_at_s, conflicts=conflicts)
    except StoreError:
        return replace(memory, due_at_s=now_s + WITHOUT_STORE_S)


def _observe(world: World, memory: HaMemory, now_s: float) -> HaMemory:
    if not memory.is_watching:
        for path in WATCHED:
            world.store.watch(path)
        memory = replace(memory, is_watching=True)
    watch = memory.watch.observe(now_s, read_beats(world.store))
    light = memory.light.look(now_s)
    return replace(memory, watch=watch, light=light, due_at_s=now_s + BEATS_EVERY_S)


def _synced(world: World, memory: HaMemory, now_s: float) -> HaMemory:
    """What a candidate saw may have been old: the server that it read from was behind. Nobody is taken
    for silent by that."""
    world.store.sync()
    return replace(memory, watch=memory.watch.observe(now_s, read_beats(world.store)))


def _must_stand_aside(world: World, memory: HaMemory, now_s: float) -> str:
    """Why this process must not lead: nobody fences its own node. It would take its own power away, and
    be gone before it could give it back; where its vote is the last one, nobody else could."""
    life = read(world.store, paths.incarnation(world.me.node), IncarnationRecord)
    if life is None:
        return ""
    if life.is_revoked:
        return "its own node is being fenced"
    watch = memory.watch
    is_known = watch.is_settled(now_s, life.lease_s)
    if is_known and watch.is_silent(world.me.node, now_s, life.lease_s):
        return "its own node is silent"
    return ""


def _aside(world: World, memory: HaMemory, why: str) -> HaMemory:
    world.store.resign(ROLE)
    if why != memory.aside:
        world.journal.event("ha_stands_aside", why=why)
    return replace(memory, aside=why, epoch=None, fences={}, is_woken=False)


# --- leading ----------------------------------------------------------------------------------------


def _lead(world: World, memory: HaMemory, lead: Leadership, now_s: float) -> HaMemory:
    if read(world.store, paths.FORMAT, Formation) is None:
        return memory
    memory = _synced(world, memory, now_s)
    look = _look(world, memory, now_s)
    if look is None:
        return memory
    holding.tell(world, lead, holding.holds(look.intents, world.clock.now_s()))
    _enroll(world, memory, lead, look, now_s)
    for node in sorted(look.incarnations):
        memory = _fence(world, memory, lead, look, node, now_s=now_s)
        look = _again(world, look, node)
    memory = _recover(world, memory, lead, look, now_s)
    memory = replace(memory, hearing=heard(memory.hearing, look.reports, now_s))
    memory = replace(memory, orders=_order(world, memory, lead, look, now_s))
    known = shut_out.Known(lives=look.incarnations, fences=look.fences, online=_online(look))
    return replace(memory, shut_out=shut_out.tick(world, lead, memory.shut_out, known, now_s))


def _order(
    world: World, memory: HaMemory, lead: Leadership, look: _Look, now_s: float
) -> OrdersMemory:
    """Moves that operators asked for, and away from nodes that lost their storage."""
    is_held = bool(holding.holds(look.intents, world.clock.now_s()))
    lost = memory.hearing.lost - orders.in_maintenance(look.intents)
    return orders.tick(
        world,
        lead,
        memory.orders,
        orders.Look(
            scene=look.scene,
            intents=look.intents,
            incarnations=look.incarnations,
            online=_online(look),
            claims=look.claims,
            cut_off=frozenset() if is_held else lost,
            sound=memory.hearing.sound,
        ),
        now_s,
    )


def _online(look: _Look) -> frozenset[NodeName]:
    """Whose heartbeats move, and of whom nobody doubts."""
    return frozenset(
        name
        for name, state in look.states.items()
        if state is NodeState.ONLINE and name not in look.fences
    )


def _look(world: World, memory: HaMemory, now_s: float) -> _Look | None:
    store = world.store
    applied: dict[Address, Applied] = read_applied(store)
    lease = lease_s(applied)
    if not memory.watch.is_settled(now_s, lease):
        return None
    incarnations = read_incarnations(store)
    found = {NodeName(n): f for n, f in read_all(store, paths.FENCES, Fence).items()}
    proofs = {name: read(store, paths.proof(name), Proof) for name in found}
    states = {
        name: memory.watch.state(
            name, incarnation, now_s, lease, fence=found.get(name), proof=proofs.get(name)
        )
        for name, incarnation in incarnations.items()
    }
    told = {name: read(store, paths.report(name), NodeFacts) for name in incarnations}
    reports = {
        name: replace(facts, state=states[name])
        for name, facts in told.items()
        if facts is not None
    }
    away = soundness.by_storage(reports, (StorageReach.SILENT, StorageReach.LOST))
    intents = tuple(read_intents(store, world.clock.now_s()).values())
    emptied = orders.emptied(intents)
    scene = recover.scene(
        applied,
        {VmName(n): p for n, p in read_all(store, paths.PLACEMENT, PlacementRecord).items()},
        {name: None if facts is None else facts.hardware for name, facts in told.items()},
        takers=[
            n
            for n, s in states.items()
            if s is NodeState.ONLINE and n not in {*found, *emptied, *away}
        ],
    )
    if scene is None:
        return None
    look = _Look(
        scene=scene,
        incarnations=incarnations,
        fences=found,
        proofs={name: proof for name, proof in proofs.items() if proof is not None},
        claims=tuple(read_all(store, paths.CLAIMS, Claim).values()),
        intents=intents,
        states=states,
        roll=read(store, paths.ROLL, Roll),
        reports=reports,
    )
    return replace(look, is_cold=cold_start.is_cold(look.roll, _boots(look)))


def _again(world: World, look: _Look, node: NodeName) -> _Look:
    """With what was just decided about a node: it takes the next one's turn."""
    fence = read(world.store, paths.fence(node), Fence)
    if fence == look.fences.get(node):
        return look
    others = {name: each for name, each in look.fences.items() if name != node}
    return replace(look, fences=others if fence is None else {**others, node: fence})


def _fence(
    world: World,
    memory: HaMemory,
    lead: Leadership,
    look: _Look,
    node: NodeName,
    *,
    now_s: float,
) -> HaMemory:
    fence, mine = look.fences.get(node), memory.fences.get(node)
    if fence is not None:
        if mine is None or mine.incarnation != fence.incarnation:
            mine = FenceMemory(incarnation=fence.incarnation, known_since_s=now_s)
        mine, fence = fences.collect(world, lead, fence, mine, now_s)
        memory = replace(memory, fences={**memory.fences, node: mine})
        fence = read(world.store, paths.fence(node), Fence)
    machine = _machine(look.scene, node)
    seen = fences.view(
        world, mine, machine, seen=_view(world, memory, look, node, fence, now_s=now_s), now_s=now_s
    )
    trouble = "" if mine is None else mine.trouble
    for act in acts(seen):
        fences.perform(world, lead, seen, machine, act)
        if isinstance(act, Wait):
            trouble = act.trouble or trouble
            if act.until_s is not None:
                memory = replace(memory, due_at_s=min(memory.due_at_s, max(now_s, act.until_s)))
        else:
            memory = replace(memory, due_at_s=now_s)  # see what came of it
    return _told(world, memory, node, trouble)


def _told(world: World, memory: HaMemory, node: NodeName, trouble: str) -> HaMemory:
    if trouble == memory.told.get(node, ""):
        return memory
    if trouble:
        world.journal.event("fence_waits", of=node, why=trouble)
    return replace(memory, told={**memory.told, node: trouble})


def _view(
    world: World,
    memory: HaMemory,
    look: _Look,
    node: NodeName,
    fence: Fence | None,
    *,
    now_s: float,
) -> NodeView:
    incarnation = look.incarnations.get(node)
    since_s = memory.watch.still_since_s(node)
    return NodeView(
        node=node,
        now_s=now_s,
        state=look.states[node],
        silent_s=0.0 if since_s is None else now_s - since_s,
        incarnation=incarnation,
        fence=fence,
        proof=look.proofs.get(node),
        fence_delay_s=look.scene.cluster.fence_delay_s,
        is_held=bool(holding.holds(look.intents, world.clock.now_s())) or _is_put_aside(look, node),
        may_decide=node != world.me.node and _may_decide(world, memory, look, node),
        cold_start_s=look.scene.cluster.cold_start_s,
        has_lost=bool(recover.lost_by(look.scene, node)),
        known_s=0.0,
        bmc=BmcState.NONE,
        is_blocking=False,
        wants_bmc=_wants_bmc(look, node),
    )


def _is_put_aside(look: _Look, node: NodeName) -> bool:
    """Is it in maintenance, and nobody's owner? Then it may be switched off, and nobody waits for it."""
    in_maintenance = any(
        intent.kind is IntentKind.MAINTENANCE and intent.subject == f"{Kind.NODE}/{node}"
        for intent in look.intents
    )
    if not in_maintenance:
        return False
    placements = look.scene.placements.values()
    return not any(node in (each.owner, each.incoming) for each in placements)


def _may_decide(world: World, memory: HaMemory, look: _Look, node: NodeName) -> bool:
    """So many at a time as the document says, with a look at everything in between; their proofs run side
    by side. Those that may only boot slower are waited for, but for the sake of the first tier."""
    cluster, now_s = look.scene.cluster, world.clock.monotonic_s()
    lately = [
        name
        for name, mine in memory.fences.items()
        if name in look.fences and now_s < mine.known_since_s + cluster.fence_delay_s
    ]
    unknown = [name for name in look.fences if name not in memory.fences]
    if len(lately) + len(unknown) >= cluster.fences_at_once:
        return False
    if _is_coordinator(look, node) and _too_many_votes(look):
        return False
    if not _is_waited_for(memory, look, node, now_s):
        return True
    return recover.FIRST_TIER in recover.tiers_of(look.scene, recover.lost_by(look.scene, node))


def _wants_bmc(look: _Look, node: NodeName) -> bool:
    life, proof = look.incarnations.get(node), look.proofs.get(node)
    if life is None or proof is None or proof.incarnation != life.id:
        return False
    return recoveries.needs_more_than_time(look.scene, node, life, proof)


def _is_waited_for(memory: HaMemory, look: _Look, node: NodeName, now_s: float) -> bool:
    """Is it silent since everything was off, and may only boot slower?"""
    seen = memory.watch.seen.get(node)
    return cold_start.is_waited_for(
        None if seen is None else seen.moved_at_s,
        memory.light,
        now_s,
        grace_s=look.scene.cluster.cold_start_s,
        is_cold=look.is_cold,
    )


def _is_coordinator(look: _Look, node: NodeName) -> bool:
    declared = look.scene.nodes.get(node)
    return declared is not None and declared.role is NodeRole.COORDINATOR


def _too_many_votes(look: _Look) -> bool:
    """Would another fence of a coordinator be undecided beside as many as a quorum can spare?"""
    votes = sum(1 for name in look.scene.nodes if _is_coordinator(look, name))
    undecided = [
        name
        for name, fence in look.fences.items()
        if _is_coordinator(look, name)
        and (name not in look.proofs or look.proofs[name].incarnation != fence.incarnation)
    ]
    return len(undecided) >= max(1, (votes - 1) // 2)


def _boots(look: _Look) -> Mapping[NodeName, str]:
    """Of the coordinators that are heard now."""
    return {
        name: look.incarnations[name].boot_id
        for name, state in look.states.items()
        if state is NodeState.ONLINE and _is_coordinator(look, name)
    }


def _enroll(world: World, memory: HaMemory, lead: Leadership, look: _Look, now_s: float) -> None:
    """Keep the roll, but for as long as a cold start may go on."""
    since_s, boots = memory.light.since_s, _boots(look)
    is_early = since_s is None or now_s < since_s + look.scene.cluster.cold_start_s
    before = look.roll
    if (look.is_cold and is_early) or not boots or (before and before.boots == boots):
        return
    version = None if before is None else before.version
    world.store.commit((*lead.checks, put(paths.ROLL, Roll(boots=boots), version)))


def _machine(scene: Scene, node: NodeName) -> Machine:
    declared = scene.nodes.get(node)
    if declared is None:
        return Machine(bmc=None, addresses=())
    return Machine(bmc=declared.bmc, addresses=tuple(sorted(declared.addresses.values())))


# --- recovery ---------------------------------------------------------------------------------------


def _recover(
    world: World, memory: HaMemory, lead: Leadership, look: _Look, now_s: float
) -> HaMemory:
    dead: dict[NodeName, Proof] = {}
    for node, fence in sorted(look.fences.items()):
        seen = _view(world, memory, look, node, fence, now_s=now_s)
        if is_dead(seen):
            _free_claims(world, lead, look, node)
        if may_recover(seen) and not is_back(seen):
            dead[node] = look.proofs[node]
    sight = Sight(
        scene=look.scene,
        lives=look.incarnations,
        dead=dead,
        waited_for=frozenset(n for n in dead if _is_waited_for(memory, look, n, now_s)),
        claims=look.claims,
    )
    after = recoveries.tick(world, memory.recovery, lead, sight, now_s)
    return replace(memory, recovery=after)


def _free_claims(world: World, lead: Leadership, look: _Look, node: NodeName) -> None:
    """What the dead incarnation was changing is free again: the next plan looks at what it left."""
    proof = look.proofs[node]
    for claim in look.claims:
        if claim.node == node and claim.incarnation == proof.incarnation:
            gone = Delete(path=paths.claim(claim.address), version=claim.version)
            world.store.commit((*lead.checks, gone))
            world.journal.event("claim_freed", address=claim.address, of=node)
