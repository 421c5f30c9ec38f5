"""What becomes of guests that lost their node, or that their node gave up: each tick of the HA leader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field

from pvc_gitops.controllers import ledger, recover
from pvc_gitops.controllers.ledger import Note
from pvc_gitops.controllers.recover import Scene
from pvc_gitops.controllers.turns import is_counted_on
from pvc_gitops.ha.evidence import Exposure, lacks
from pvc_gitops.ha.recovery import GivenUp
from pvc_gitops.model import paths
from pvc_gitops.model.ha import Proof
from pvc_gitops.model.ids import NodeName, VmName, address
from pvc_gitops.model.ledger import EntryKind
from pvc_gitops.model.records import Claim, GuestPhase, IncarnationRecord, PlacementRecord, Ready
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import Check, Leadership, World

_ON_THEIR_WAY = (GuestPhase.WAITING, GuestPhase.RECOVERING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the leader sees of one moment, besides the guests' records."""

    scene: Scene
    lives: Mapping[NodeName, IncarnationRecord]
    dead: Mapping[NodeName, Proof]  # and blocked, and not back
    waited_for: frozenset[NodeName]  # since everything was off, and they may only boot slower
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryMemory:
    """What one leader remembers. All of it may be lost: others then wait a little longer."""

    came_at_s: Mapping[VmName, float] = field(default_factory=dict)  # on their way up, since when
    told: frozenset[VmName] = frozenset()  # failed, and nothing follows


def tick(
    world: World, memory: RecoveryMemory, lead: Leadership, sight: Sight, now_s: float
) -> RecoveryMemory:
    """Give places to those who have none, and say what the others wait for. Raises StoreError."""
    memory = replace(
        memory,
        came_at_s=_coming(sight, memory, now_s),
        told=_told(world, memory, lead, sight),
    )
    lost: dict[NodeName, tuple[VmName, ...]] = {}
    for node in sorted(sight.dead):
        names = [name for name in recover.lost_by(sight.scene, node) if _is_free(sight, node, name)]
        hindered = {name: why for name in names if (why := _hindrance(sight, node, name))}
        for name, why in hindered.items():
            recover.say(world, lead, name, sight.scene.placements[name], why)
        lost[node] = tuple(name for name in names if name not in hindered)
    given_up = tuple(_given_up(sight))
    if not given_up and not any(lost.values()):
        return memory
    came_s = {name: now_s - at_s for name, at_s in memory.came_at_s.items()}
    found = recover.decide(sight.scene, lost, came_s, given_up)
    came_at_s = dict(memory.came_at_s)
    for node, mine in sorted(lost.items()):
        for name in mine:
            before = sight.scene.placements[name]
            if name in found.places:
                to = found.places[name]
                recover.move(world, lead, name, before, to, proof=sight.dead[node])
                came_at_s[name] = now_s
            elif name in found.waiting:
                recover.say(world, lead, name, before, found.waiting[name])
    for each in given_up:
        name, before = each.guest.name, sight.scene.placements[each.guest.name]
        if name in found.places:
            to, life = found.places[name], sight.lives[before.owner]
            recover.relocate(world, lead, name, before, to, life=life)
        else:
            recover.say_nowhere(world, lead, name, before, found.waiting[name])
    return replace(memory, came_at_s=came_at_s)


def _coming(sight: Sight, memory: RecoveryMemory, now_s: float) -> dict[VmName, float]:
    """Who was given to another node, or starts, and is not counted on yet."""
    found = {}
    for name, placement in sight.scene.placements.items():
        is_new = placement.incarnation is None and placement.starts > 0
        is_coming = (
            (placement.state in _ON_THEIR_WAY and is_new)
            or placement.state is GuestPhase.STARTING
            or placement.ready is Ready.AWAITED
        )
        if is_coming or name in memory.came_at_s:
            found[name] = memory.came_at_s.get(name, now_s)
        if is_counted_on(placement, sight.lives):
            found.pop(name, None)
    return found


def _is_free(sight: Sight, node: NodeName, name: VmName) -> bool:
    """Was it last started by the incarnation that is proven dead, or by one before it, or not at all;
    and is it not on its way to a node that is not proven dead too, which gives it up first?

    A node has one incarnation at a time, and begins one only when no guest of the last is left.
    """
    placement, current = sight.scene.placements[name], sight.lives[node].id
    is_of_the_dead = placement.incarnation in (None, sight.dead[node].incarnation)
    if not is_of_the_dead and placement.incarnation == current:
        return False
    incoming = placement.incoming
    if incoming is None or incoming not in sight.lives:
        return True
    proof = sight.dead.get(incoming)
    return proof is not None and proof.incarnation == sight.lives[incoming].id


def _hindrance(sight: Sight, node: NodeName, name: VmName) -> str:
    """Why a guest of a dead node must not, or not yet, start elsewhere; "" where it may."""
    life, proof = sight.lives[node], sight.dead[node]
    watchdog = life.watchdog if life.id == proof.incarnation else None
    why = lacks(proof.kind, watchdog, exposure(sight.scene, name))
    if why or node not in sight.waited_for:
        return why
    if recover.tiers_of(sight.scene, (name,)) == {recover.FIRST_TIER}:
        return ""
    grace_s = sight.scene.cluster.cold_start_s
    return f"waits until {node} has had {grace_s:g} s to boot, since everything was off"


def exposure(of: Scene, name: VmName) -> Exposure:
    """What of a guest the blocklist does not reach."""
    spec = of.guests[name].spec
    cards = {nic: spec["nics"][nic]["network"] for nic in sorted(spec["nics"])}
    return Exposure(
        has_disk=bool(spec["disks"]),
        host_devices=tuple(
            f"nic {nic}"
            for nic, network in cards.items()
            if network in of.networks and of.networks[network].type == "sriov"
        ),
    )


def needs_more_than_time(of: Scene, node: NodeName, life: IncarnationRecord, proof: Proof) -> bool:
    """Is there a guest of a dead node that its BMC should be asked for as well?"""
    return any(
        lacks(proof.kind, life.watchdog, exposure(of, name)) for name in recover.lost_by(of, node)
    )


def _given_up(sight: Sight) -> Iterator[GivenUp]:
    """Who has failed where it is, in the life that its node has now, and may go elsewhere."""
    claimed = {claim.address for claim in sight.claims}
    for name, placement in sorted(sight.scene.placements.items()):
        if placement.state is not GuestPhase.FAILED or placement.owner in sight.dead:
            continue
        life = sight.lives.get(placement.owner)
        is_said_by_life = life is not None and placement.incarnation == life.id
        # A step that is under way shall fail with the reason; the next plan finds it where it is then.
        if not is_said_by_life or address("vm", name) in claimed or placement.incoming is not None:
            continue
        guest = recover.ask(sight.scene, name)
        if guest is not None and recover.may_go_on(sight.scene, name):
            yield GivenUp(guest=guest, owner=placement.owner, tried=placement.tried)


def _told(
    world: World, memory: RecoveryMemory, lead: Leadership, sight: Sight
) -> frozenset[VmName]:
    """Write down, once, that a guest has failed and nothing follows by itself."""
    failed = {
        name: placement
        for name, placement in sorted(sight.scene.placements.items())
        if placement.state is GuestPhase.FAILED and not recover.may_go_on(sight.scene, name)
    }
    for name in sorted(failed.keys() - memory.told):
        _tell(world, lead, name, failed[name])
    return frozenset(failed)


def _tell(world: World, lead: Leadership, name: VmName, placement: PlacementRecord) -> None:
    where = ", ".join((*placement.tried, placement.owner))
    note = Note(
        kind=EntryKind.ACT,
        text=f"{name} has failed on {where}: {placement.why}",
        by=f"ha on {world.me.node}",
        addresses=(address("vm", name),),
        data={"restarts": str(placement.restarts)},
    )
    now_s = world.clock.now_s()
    path = paths.placement(name)
    world.store.commit(
        (
            *lead.checks,
            Check(path=path, version=placement.version),
            *ledger.appending(world.store, [note], now_s),
        )
    )
    world.journal.event("alarm", of=f"vm/{name}", why=note.text)
