"""Whose turn it is to start: what `ha.order` needs to know of everybody."""

from __future__ import annotations

from collections.abc import Mapping

from pvc_gitops.controllers.beats import read_incarnations
from pvc_gitops.controllers.records import read_all
from pvc_gitops.controllers.view import View
from pvc_gitops.ha.order import Held, Peer, held_by, tiers
from pvc_gitops.model import paths
from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.records import (
    Applied,
    GuestPhase,
    IncarnationRecord,
    Phase,
    PlacementRecord,
    Wanted,
)
from pvc_gitops.model.recovery import Ha
from pvc_gitops.world.ports import World

Crowd = Mapping[VmName, Peer]


def crowd(world: World, view: View) -> Crowd:
    """All guests of the cluster that should run. Raises StoreError."""
    lives = read_incarnations(world.store)
    policies = {
        VmName(name): Ha.from_spec(record.spec["ha"])
        for name, record in read_all(world.store, paths.GUESTS, Applied).items()
        if record.phase is Phase.PRESENT and record.wanted is Wanted.RUNNING
    }
    order = tiers(
        {name: policy.tier for name, policy in policies.items()},
        {name: policy.depends_on for name, policy in policies.items()},
    )
    return {
        name: _peer(policy, order[name], view.placements.get(name), lives)
        for name, policy in policies.items()
    }


def _peer(
    policy: Ha,
    tier: int,
    placement: PlacementRecord | None,
    lives: Mapping[NodeName, IncarnationRecord],
) -> Peer:
    return Peer(
        tier=tier,
        depends_on=policy.depends_on,
        is_counted_on=placement is not None and is_counted_on(placement, lives),
        is_coming=placement is not None and _is_coming(placement),
        ready_s=0.0 if policy.ready is None else policy.ready.timeout_s,
    )


def is_counted_on(placement: PlacementRecord, lives: Mapping[NodeName, IncarnationRecord]) -> bool:
    """Does it run, ready or late, in the life that its node has now? A record outlives the guest."""
    life = lives.get(placement.owner)
    is_of_today = life is not None and not life.is_over and placement.incarnation == life.id
    return is_of_today and placement.is_counted_on


def _is_coming(placement: PlacementRecord) -> bool:
    if placement.rests or placement.state is GuestPhase.FAILED:
        return False
    # Of a dead node, with no place yet: it may take until somebody makes room.
    return placement.state is not GuestPhase.RECOVERING or placement.incarnation is None


def held(
    everybody: Crowd, name: VmName, placement: PlacementRecord, life: IncarnationRecord
) -> Held | None:
    """Whom a guest of this node waits for before it starts."""
    is_return = placement.starts > 0 and placement.incarnation not in (None, life.id)
    return held_by(name, everybody, is_return=is_return) if name in everybody else None
