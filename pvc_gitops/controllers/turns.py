"""Whose turn it is to start: what `ha.order` needs to know of everybody."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final

from pvc_gitops.controllers.beats import read_beats, read_incarnations
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
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import World

# A node whose counter has not moved since a guest here began to wait may be a record of the past.
BEAT_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Everybody:
    """All guests of the cluster that should run, and what is known of their nodes."""

    policies: Mapping[VmName, Ha]
    order: Mapping[VmName, int]  # the tiers to go by
    placements: Mapping[VmName, PlacementRecord]
    lives: Mapping[NodeName, IncarnationRecord]
    beats: Mapping[NodeName, int]


def look(world: World, view: View) -> Everybody:
    """Raises StoreError."""
    policies = {
        VmName(name): Ha.from_spec(record.spec["ha"])
        for name, record in read_all(world.store, paths.GUESTS, Applied).items()
        if record.phase is Phase.PRESENT and record.wanted is Wanted.RUNNING
    }
    return Everybody(
        policies=policies,
        order=tiers(
            {name: policy.tier for name, policy in policies.items()},
            {name: policy.depends_on for name, policy in policies.items()},
        ),
        placements=view.placements,
        lives=read_incarnations(world.store),
        beats={name: beat.counter for name, beat in read_beats(world.store).items()},
    )


def held(
    everybody: Everybody,
    name: VmName,
    life: IncarnationRecord,
    *,
    me: NodeName,
    first: Mapping[NodeName, int],
) -> Held | None:
    """Whom a guest of this node waits for before it starts.

    Args:
        everybody: as of now.
        name: the guest.
        life: of this node.
        me: this node.
        first: the nodes' counters when it began to wait.
    """
    if name not in everybody.policies:
        return None
    placement = everybody.placements[name]
    is_return = placement.starts > 0 and placement.incarnation not in (None, life.id)
    # After a power failure of everything the records still call everybody running.
    silent = {n for n, beat in everybody.beats.items() if n != me and first.get(n) == beat}
    crowd = {
        other: _peer(everybody, other, silent if is_return else set())
        for other in everybody.policies
    }
    return held_by(name, crowd, is_return=is_return)


def _peer(everybody: Everybody, name: VmName, silent: Container[NodeName]) -> Peer:
    policy, placement = everybody.policies[name], everybody.placements.get(name)
    return Peer(
        tier=everybody.order[name],
        depends_on=policy.depends_on,
        is_counted_on=placement is not None
        and placement.owner not in silent
        and is_counted_on(placement, everybody.lives),
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
