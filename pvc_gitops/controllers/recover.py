"""Giving guests to other nodes: who has none, what `ha.recovery` says, the records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pvc_gitops.controllers import ledger
from pvc_gitops.controllers.ledger import Note
from pvc_gitops.controllers.records import put
from pvc_gitops.ha.order import PATIENCE_S, tiers
from pvc_gitops.ha.recovery import Coming, GivenUp, Lost, Recovery, recover
from pvc_gitops.model import guest_states, paths
from pvc_gitops.model.document import Kind
from pvc_gitops.model.guest_states import GuestEvent
from pvc_gitops.model.ha import Proof
from pvc_gitops.model.ids import Address, GroupName, NodeName, VmName, address
from pvc_gitops.model.inventory import Hardware
from pvc_gitops.model.ledger import EntryKind
from pvc_gitops.model.records import (
    Applied,
    GuestPhase,
    IncarnationRecord,
    Phase,
    PlacementRecord,
    Wanted,
)
from pvc_gitops.model.recovery import Ha
from pvc_gitops.model.spec import Cluster, Group, Network, Node, VirtualMachine
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.scheduler.asks import ask_of, rule_of
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.capacity import host
from pvc_gitops.world.ports import Check, Leadership, World

FIRST_TIER: Final = 1  # is not kept waiting by a cold start
_OVER: Final = (GuestPhase.FAILED, GuestPhase.STOPPED)
_ELSEWHERE: Final = "; elsewhere: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that recovery reads, of one moment."""

    cluster: Cluster
    nodes: Mapping[NodeName, Node]
    groups: Mapping[GroupName, Group]
    networks: Mapping[str, Network]
    guests: Mapping[VmName, Applied]
    placements: Mapping[VmName, PlacementRecord]
    hardware: Mapping[NodeName, Hardware | None]
    takers: frozenset[NodeName]  # online, clean, and open to guests


def scene(
    applied: Mapping[Address, Applied],
    placements: Mapping[VmName, PlacementRecord],
    hardware: Mapping[NodeName, Hardware | None],
    *,
    takers: Iterable[NodeName],
) -> Scene | None:
    """None while no cluster document is in force."""
    by_kind: dict[Kind, list[Applied]] = {}
    for record in applied.values():
        by_kind.setdefault(record.kind, []).append(record)
    clusters = by_kind.get(Kind.CLUSTER, [])
    if not clusters:
        return None
    nodes = {NodeName(r.name): Node.from_spec(r.name, r.spec) for r in by_kind.get(Kind.NODE, [])}
    return Scene(
        cluster=Cluster.from_spec(clusters[0].name, clusters[0].spec),
        nodes=nodes,
        groups={
            GroupName(r.name): Group.from_spec(r.name, r.spec) for r in by_kind.get(Kind.GROUP, [])
        },
        networks={r.name: Network.from_spec(r.name, r.spec) for r in by_kind.get(Kind.NETWORK, [])},
        guests={VmName(r.name): r for r in by_kind.get(Kind.VM, [])},
        placements=placements,
        hardware=hardware,
        takers=frozenset(
            name
            for name in takers
            if name in nodes and nodes[name].runs_guests and not nodes[name].is_retired
        ),
    )


def must_run_elsewhere(of: Scene, name: VmName) -> bool:
    """Is it a guest that is to be started on another node when its own is lost?"""
    record = of.guests.get(name)
    if record is None or record.phase is not Phase.PRESENT or record.wanted is not Wanted.RUNNING:
        return False
    placement = of.placements.get(name)
    if placement is not None and placement.rests and placement.state is GuestPhase.STOPPED:
        return False  # it powered itself off, and stays so
    policy = Ha.from_spec(record.spec["ha"])
    return policy.restart and policy.relocate


def may_go_on(of: Scene, name: VmName) -> bool:
    """Of a guest that failed where it is: may another node try?"""
    placement, record = of.placements[name], of.guests.get(name)
    if record is None or not must_run_elsewhere(of, name):
        return False
    policy = Ha.from_spec(record.spec["ha"])
    has_failed = placement.restarts > policy.restarts_max
    return has_failed and len(placement.tried) < policy.relocations_max


def lost_by(of: Scene, node: NodeName) -> tuple[VmName, ...]:
    """The guests that a node's death leaves without a place."""
    return tuple(
        name
        for name, placement in sorted(of.placements.items())
        if placement.owner == node and must_run_elsewhere(of, name)
    )


def tiers_of(of: Scene, names: Iterable[VmName]) -> frozenset[int]:
    """The tiers of some guests."""
    guests = (ask(of, name) for name in names)
    return frozenset(guest.tier for guest in guests if guest is not None)


def decide(
    of: Scene,
    dead: Mapping[NodeName, tuple[VmName, ...]],
    came_s: Mapping[VmName, float],
    given_up: Sequence[GivenUp] = (),
) -> Recovery:
    """Who goes where.

    Args:
        of: the scene.
        dead: nodes that are proven dead and blocked, with those of their guests that may be moved now.
        came_s: guests that are on their way up, and for how long.
        given_up: guests that their owners, alive, gave up.
    """
    order = _order(of)
    rules = {name: rule_of(group) for name, group in of.groups.items()}
    hosts = [host(of.nodes[name], of.hardware.get(name), of.cluster) for name in sorted(of.takers)]
    board = Board(hosts, rules)
    for name, placement in sorted(of.placements.items()):
        guest = ask(of, name)
        if guest is not None and placement.owner in board.hosts:
            board.put(guest, placement.owner)
    lost = [
        Lost(guest=replace(guest, tier=order.get(guest.name, guest.tier)), owner=node)
        for node, names in sorted(dead.items())
        for guest in (ask(of, name) for name in names)
        if guest is not None
    ]
    coming = [
        _coming(of, name, since_s, order[name])
        for name, since_s in sorted(came_s.items())
        if name in order
    ]
    return recover(board, lost, coming, given_up)


def _order(of: Scene) -> Mapping[VmName, int]:
    """The tiers to go by, of guests that should run."""
    policies = {
        name: Ha.from_spec(record.spec["ha"])
        for name, record in of.guests.items()
        if record.phase is Phase.PRESENT and record.wanted is Wanted.RUNNING
    }
    return tiers(
        {name: policy.tier for name, policy in policies.items()},
        {name: policy.depends_on for name, policy in policies.items()},
    )


def _coming(of: Scene, name: VmName, since_s: float, tier: int) -> Coming:
    ready = Ha.from_spec(of.guests[name].spec["ha"]).ready
    return Coming(
        name=name,
        tier=tier,
        since_s=since_s,
        patience_s=PATIENCE_S + (0.0 if ready is None else ready.timeout_s),
        is_given_up=of.placements[name].state in _OVER,
    )


def ask(of: Scene, name: VmName) -> Guest | None:
    """What a guest asks of a node; None for one that nobody counts."""
    record = of.guests.get(name)
    if record is None:
        return None
    sriov = frozenset(n.name for n in of.networks.values() if n.type == "sriov")
    return ask_of(VirtualMachine.from_spec(record.name, record.spec), of.groups, sriov)


# --- records ---------------------------------------------------------------------------------------


def move(
    world: World,
    lead: Leadership,
    name: VmName,
    before: PlacementRecord,
    to: NodeName,
    *,
    proof: Proof,
) -> None:
    """Make another node the owner of a dead node's guest. Raises StoreConflict where anything changed."""
    store, now_s = world.store, world.clock.now_s()
    why = f"recovered from {before.owner}: {proof.evidence}"
    after = replace(
        before,
        owner=to,
        incoming=None,
        method="",
        order="",
        moved_for="",
        incarnation=None,
        state=guest_states.after(before.state, GuestEvent.OWNER_DEAD),
        why=why,
        since_s=now_s,
        ready=None,
        restarts=0,
        rests=False,
    )
    note = Note(
        kind=EntryKind.ACT,
        text=f"{name} goes from {before.owner} to {to}",
        by=f"ha on {world.me.node}",
        addresses=(address("vm", name),),
        data={"proof": proof.kind.value, "incarnation": proof.incarnation},
    )
    store.commit(
        (
            *lead.checks,
            Check(path=paths.proof(before.owner), version=proof.version),
            put(paths.placement(name), after, before.version),
            *ledger.appending(store, [note], now_s),
        )
    )
    world.journal.event("vm_state", vm=name, before=before.state, state=after.state, why=why)


def say(world: World, lead: Leadership, name: VmName, before: PlacementRecord, why: str) -> None:
    """Write down what a lost guest waits for."""
    if before.state is GuestPhase.RECOVERING and before.why == why:
        return
    after = replace(
        before,
        state=guest_states.after(before.state, GuestEvent.OWNER_DEAD),
        why=why,
        since_s=world.clock.now_s(),
    )
    world.store.commit((*lead.checks, put(paths.placement(name), after, before.version)))
    world.journal.event("guest_waits", vm=name, why=why)


def relocate(
    world: World,
    lead: Leadership,
    name: VmName,
    before: PlacementRecord,
    to: NodeName,
    *,
    life: IncarnationRecord,
) -> None:
    """Make another node the owner of a guest that its own gave up. That it has no process there is its
    owner's word, in the life that it has now: it may begin anew only by changing this very record."""
    store, now_s = world.store, world.clock.now_s()
    said = before.why.partition(_ELSEWHERE)[0]
    why = f"given up by {before.owner}: {said}"
    after = replace(
        before,
        owner=to,
        incarnation=None,
        state=guest_states.after(before.state, GuestEvent.CAME),
        why=why,
        since_s=now_s,
        restarts=0,
        rests=False,
        tried=(*before.tried, before.owner),
    )
    note = Note(
        kind=EntryKind.ACT,
        text=f"{name} goes from {before.owner} to {to}: {said}",
        by=f"ha on {world.me.node}",
        addresses=(address("vm", name),),
        data={"tried": ",".join(after.tried)},
    )
    store.commit(
        (
            *lead.checks,
            Check(path=paths.incarnation(before.owner), version=life.version),
            Check(path=paths.claim(address("vm", name)), version=None),
            put(paths.placement(name), after, before.version),
            *ledger.appending(store, [note], now_s),
        )
    )
    world.journal.event("vm_state", vm=name, before=before.state, state=after.state, why=why)


def say_nowhere(
    world: World, lead: Leadership, name: VmName, before: PlacementRecord, why: str
) -> None:
    """Write down why no other node takes a guest that has failed. Its owner goes on trying."""
    text = f"{before.why.partition(_ELSEWHERE)[0]}{_ELSEWHERE}{why}"
    if before.why != text:
        after = replace(before, why=text)
        world.store.commit((*lead.checks, put(paths.placement(name), after, before.version)))
        world.journal.event("guest_waits", vm=name, why=text)
