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

from pvc_gitops.controllers import fences, holding, orders, ready, recover
from pvc_gitops.controllers.beats import read_beats, read_incarnations
from pvc_gitops.controllers.fences import FenceMemory, Machine
from pvc_gitops.controllers.observe import lease_s, read_applied, read_intents
from pvc_gitops.controllers.orders import OrdersMemory
from pvc_gitops.controllers.ready import ReadyMemory
from pvc_gitops.controllers.records import read, read_all
from pvc_gitops.controllers.recover import Scene
from pvc_gitops.controllers.watch import NodeWatch
from pvc_gitops.errors import StoreConflict, StoreError
from pvc_gitops.ha.fencing import BmcState, NodeView, Wait, acts, is_back, is_dead, may_recover
from pvc_gitops.model import paths
from pvc_gitops.model.ha import Fence, Proof
from pvc_gitops.model.ids import Address, NodeName, VmName
from pvc_gitops.model.intents import Intent
from pvc_gitops.model.inventory import NodeFacts, NodeState
from pvc_gitops.model.records import (
    Applied,
    Claim,
    Formation,
    GuestPhase,
    IncarnationRecord,
    PlacementRecord,
)
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import Delete, Leadership, World

ROLE: Final = "ha"
BEATS_EVERY_S: Final = (
    1.0  # as often as they are written: every second of delay is a second of outage
)
WITHOUT_STORE_S: Final = 1.0
FIRST_TIER: Final = 1  # is not kept waiting by a cold start
WATCHED: Final = (paths.PLACEMENT, paths.FENCES)


@dataclass(frozen=True, slots=True, kw_only=True)
class HaMemory:
    """What a candidate remembers. An empty one is always right, only slower."""

    due_at_s: float = 0.0
    is_woken: bool = True
    is_watching: bool = False
    watch: NodeWatch = field(default_factory=NodeWatch)
    epoch: int | None = None  # while leading
    fences: Mapping[NodeName, FenceMemory] = field(default_factory=dict)
    came_at_s: Mapping[VmName, float] = field(default_factory=dict)  # recovered, by when
    told: Mapping[NodeName, str] = field(default_factory=dict)  # troubles, as last said
    ready: ReadyMemory = field(default_factory=ReadyMemory)
    orders: OrdersMemory = field(default_factory=OrdersMemory)


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


def tick(world: World, memory: HaMemory) -> HaMemory:
    """Watch; as leader, do what is missing."""
    now_s = world.clock.monotonic_s()
    try:
        if not world.store.is_connected():
            return replace(memory, due_at_s=now_s + WITHOUT_STORE_S)
        memory = _observe(world, memory, now_s)
        memory = replace(memory, ready=ready.tick(world, memory.ready, memory.watch))
        lead = world.store.lead(ROLE, world.me.node)
        if lead is None:
            return replace(memory, epoch=None, fences={}, is_woken=False)
        if memory.epoch != lead.epoch:
            world.journal.event("leader", role=ROLE, epoch=lead.epoch)
            memory = replace(memory, epoch=lead.epoch, fences={}, came_at_s={})
        return _lead(world, replace(memory, is_woken=False), lead, now_s)
    except StoreConflict as error:
        world.journal.event("ha_conflict", path=error.target)
        return replace(memory, due_at_s=now_s)
    except StoreError:
        return replace(memory, due_at_s=now_s + WITHOUT_STORE_S)


def _observe(world: World, memory: HaMemory, now_s: float) -> HaMemory:
    if not memory.is_watching:
        for path in WATCHED:
            world.store.watch(path)
        memory = replace(memory, is_watching=True)
    watch = memory.watch.observe(now_s, read_beats(world.store))
    return replace(memory, watch=watch, due_at_s=now_s + BEATS_EVERY_S)


# --- leading ----------------------------------------------------------------------------------------


def _lead(world: World, memory: HaMemory, lead: Leadership, now_s: float) -> HaMemory:
    if read(world.store, paths.FORMAT, Formation) is None:
        return memory
    world.store.sync()
    look = _look(world, memory, now_s)
    if look is None:
        return memory
    holding.tell(world, lead, holding.holds(look.intents, world.clock.now_s()))
    for node in sorted(look.incarnations):
        memory = _fence(world, memory, lead, look, node, now_s=now_s)
        look = _again(world, look, node)
    memory = _recover(world, memory, lead, look, now_s)
    return replace(memory, orders=_order(world, memory, lead, look, now_s))


def _order(
    world: World, memory: HaMemory, lead: Leadership, look: _Look, now_s: float
) -> OrdersMemory:
    """Moves that operators asked for."""
    return orders.tick(
        world,
        lead,
        memory.orders,
        orders.Look(
            scene=look.scene,
            intents=look.intents,
            incarnations=look.incarnations,
            online=frozenset(
                name
                for name, state in look.states.items()
                if state is NodeState.ONLINE and name not in look.fences
            ),
            claims=look.claims,
        ),
        now_s,
    )


def _look(world: World, memory: HaMemory, now_s: float) -> _Look | None:
    store = world.store
    applied: dict[Address, Applied] = read_applied(store)
    lease = lease_s(applied)
    if not memory.watch.is_settled(now_s, lease):
        return None
    incarnations = read_incarnations(store)
    states = {
        name: memory.watch.state(name, incarnation, now_s, lease)
        for name, incarnation in incarnations.items()
    }
    found = {NodeName(n): f for n, f in read_all(store, paths.FENCES, Fence).items()}
    reports = {name: read(store, paths.report(name), NodeFacts) for name in incarnations}
    intents = tuple(read_intents(store, world.clock.now_s()).values())
    emptied = orders.emptied(intents)
    scene = recover.scene(
        applied,
        {VmName(n): p for n, p in read_all(store, paths.PLACEMENT, PlacementRecord).items()},
        {name: None if facts is None else facts.hardware for name, facts in reports.items()},
        takers=[
            n for n, s in states.items() if s is NodeState.ONLINE and n not in {*found, *emptied}
        ],
    )
    if scene is None:
        return None
    proofs = {name: read(store, paths.proof(name), Proof) for name in found}
    return _Look(
        scene=scene,
        incarnations=incarnations,
        fences=found,
        proofs={name: proof for name, proof in proofs.items() if proof is not None},
        claims=tuple(read_all(store, paths.CLAIMS, Claim).values()),
        intents=intents,
        states=states,
    )


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
    watch = memory.watch
    seen = watch.seen.get(node)
    since_s = watch.since_s if seen is None or seen.moved_at_s is None else seen.moved_at_s
    return NodeView(
        node=node,
        now_s=now_s,
        state=look.states[node],
        silent_s=0.0 if since_s is None else now_s - since_s,
        incarnation=incarnation,
        fence=fence,
        proof=look.proofs.get(node),
        fence_delay_s=look.scene.cluster.fence_delay_s,
        is_held=bool(holding.holds(look.intents, world.clock.now_s())),
        may_decide=_may_decide(world, memory, look, node),
        cold_start_s=look.scene.cluster.cold_start_s,
        has_lost=bool(recover.lost_by(look.scene, node)),
        known_s=0.0,
        bmc=BmcState.NONE,
        is_blocking=False,
    )


def _may_decide(world: World, memory: HaMemory, look: _Look, node: NodeName) -> bool:
    """One node at a time; and after a cold start those that boot slower are waited for, but for the
    sake of the first tier."""
    undecided = [
        name
        for name, fence in look.fences.items()
        if name not in look.proofs or look.proofs[name].incarnation != fence.incarnation
    ]
    if undecided:
        return False
    seen = memory.watch.seen.get(node)
    was_seen = seen is not None and seen.moved_at_s is not None
    if was_seen or world.clock.monotonic_s() >= look.scene.cluster.cold_start_s:
        return True
    return FIRST_TIER in recover.tiers_of(look.scene, recover.lost_by(look.scene, node))


def _machine(scene: Scene, node: NodeName) -> Machine:
    declared = scene.nodes.get(node)
    if declared is None:
        return Machine(bmc=None, addresses=())
    return Machine(bmc=declared.bmc, addresses=tuple(sorted(declared.addresses.values())))


# --- recovery ---------------------------------------------------------------------------------------


def _recover(
    world: World, memory: HaMemory, lead: Leadership, look: _Look, now_s: float
) -> HaMemory:
    dead: dict[NodeName, tuple[VmName, ...]] = {}
    for node, fence in sorted(look.fences.items()):
        seen = _view(world, memory, look, node, fence, now_s=now_s)
        if is_dead(seen):
            _free_claims(world, lead, look, node)
        if may_recover(seen) and not is_back(seen):
            names = recover.lost_by(look.scene, node)
            dead[node] = tuple(
                n
                for n in names
                if _is_of_the_dead(look, node, n) and not _has_second_owner(look, n)
            )
    came = {name: now_s - at_s for name, at_s in memory.came_at_s.items()}
    if not any(dead.values()):
        return replace(memory, came_at_s=_still_coming(look, memory))
    found = recover.decide(look.scene, dead, came)
    came_at_s = _still_coming(look, memory)
    for node, names in sorted(dead.items()):
        for name in names:
            before = look.scene.placements[name]
            if name in found.places:
                to = found.places[name]
                recover.move(world, lead, name, before, to, proof=look.proofs[node])
                came_at_s[name] = now_s
            elif name in found.waiting:
                recover.say(world, lead, name, before, found.waiting[name])
    return replace(memory, came_at_s=came_at_s)


def _is_of_the_dead(look: _Look, node: NodeName, name: VmName) -> bool:
    """Was it last started by the incarnation that is proven dead, or by one before it, or not at all?

    A node has one incarnation at a time, and begins one only when no guest of the last is left.
    """
    current = look.incarnations[node].id
    started = look.scene.placements[name].incarnation
    return started != current or started == look.proofs[node].incarnation


def _has_second_owner(look: _Look, name: VmName) -> bool:
    """Is it on its way to a node that is not proven dead too? That node gives it up first."""
    incoming = look.scene.placements[name].incoming
    if incoming is None or incoming not in look.incarnations:
        return False
    proof = look.proofs.get(incoming)
    return proof is None or proof.incarnation != look.incarnations[incoming].id


def _still_coming(look: _Look, memory: HaMemory) -> dict[VmName, float]:
    return {
        name: at_s
        for name, at_s in memory.came_at_s.items()
        if name in look.scene.placements
        and look.scene.placements[name].state is not GuestPhase.RUNNING
    }


def _free_claims(world: World, lead: Leadership, look: _Look, node: NodeName) -> None:
    """What the dead incarnation was changing is free again: the next plan looks at what it left."""
    proof = look.proofs[node]
    for claim in look.claims:
        if claim.node == node and claim.incarnation == proof.incarnation:
            gone = Delete(path=paths.claim(claim.address), version=claim.version)
            world.store.commit((*lead.checks, gone))
            world.journal.event("claim_freed", address=claim.address, of=node)
