"""What would happen to each guest if something were lost, after a plan is carried out. Pure.

Asked of the same division as the N-1 proof: what is said here is what the proof says, guest by guest. If
not all find a place, those of higher tiers come first and the others wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

from pvc_gitops.errors import UsageError
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import NodeName, VmName, address
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import CapacityVerdict, Plan
from pvc_gitops.model.spec import ClusterSpec, Node, NodeRole, RunState, VirtualMachine
from pvc_gitops.model.values import dataclass
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.planner import POLICY
from pvc_gitops.planner.replay import applied_after
from pvc_gitops.planner.table import Table, seated
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.fit import fit, sentence
from pvc_gitops.scheduler.pack import pack

_LOSABLE: Final = (Kind.NODE, Kind.POOL, Kind.VM)


class Fate(StrEnum):
    """What becomes of a guest."""

    MOVES = "moves"  # started on another node
    RESTARTS = "restarts"  # started where it was
    DOWN = "down"  # not started by anybody but a person, or the node's return
    HALTS = "halts"  # its disks do not answer; it goes on when they do


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Of one guest. `order` counts from 1 in the order of starts; 0 of what is not started."""

    vm: VmName
    fate: Fate
    tier: int
    order: int
    node: NodeName | None  # where it is then
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The answer for one loss."""

    lost: str  # node/hv2
    guests: tuple[Told, ...]  # in order of starts; then those that are down, by name
    facts: tuple[str, ...]  # of the cluster itself, in sentences


def without(lost: str, plan: Plan, spec: ClusterSpec, inventory: Inventory) -> WhatIf:
    """What the loss of `node=NAME`, `pool=NAME` or `vm=NAME` would mean after the plan.

    Raises UsageError: there is no such thing.
    """
    kind, name = _named(lost, spec)
    context = _after(plan, spec, inventory)
    table = seated(context, context.inventory.placements)
    told: tuple[Told, ...]
    facts: tuple[str, ...] = ()
    if kind is Kind.NODE:
        told = _without_node(NodeName(name), context, table)
        facts = tuple(_node_facts(name, context))
    elif kind is Kind.POOL:
        told = tuple(_without_pool(name, context))
    else:
        told = (_without_vm(VmName(name), context),)
    return WhatIf(lost=address(kind, name), guests=told, facts=facts)


def every_node(plan: Plan, spec: ClusterSpec, inventory: Inventory) -> tuple[WhatIf, ...]:
    """The same for each node that may run guests, by name."""
    context = _after(plan, spec, inventory)
    return tuple(
        without(f"node={name}", plan, spec, inventory) for name in sorted(context.guest_nodes)
    )


def _named(lost: str, spec: ClusterSpec) -> tuple[Kind, str]:
    word, _, name = lost.partition("=")
    kinds = {kind.value: kind for kind in _LOSABLE}
    if word not in kinds or not name:
        raise UsageError(f"--what-if {lost}: what is lost?", hint="node=hv2, pool=vms or vm=web1")
    kind = kinds[word]
    known = sorted(doc.name for doc in spec.of_kind(kind))
    if name not in known:
        raise UsageError(
            f"there is no {kind}/{name}", hint=f"there are {', '.join(known[:10]) or 'none'}"
        )
    return kind, name


def _after(plan: Plan, spec: ClusterSpec, inventory: Inventory) -> Context:
    if inventory.storage is not None:
        inventory = applied_after(plan, inventory)
    return Context(spec=spec, inventory=inventory, policy=POLICY)


def _vm(context: Context, name: VmName) -> VirtualMachine | None:
    record = context.applied(address(Kind.VM, name))
    return None if record is None else context.vm(name, record.spec)


# --- a node ------------------------------------------------------------------------------------------


def _without_node(lost: NodeName, context: Context, table: Table) -> tuple[Told, ...]:
    board = table.board.copy()
    if lost in board.free_mib:
        board.remove_host(lost)
    here = sorted(
        name for name, placed in context.inventory.placements.items() if placed.owner == lost
    )
    by_name = {guest.name: guest for guest in table.guests.get(lost, ())}
    asking = [by_name[name] for name in here if name in by_name and by_name[name].must_survive]
    places, refused = divided(board, asking)
    moving = sorted(places, key=lambda name: (by_name[name].tier, name))
    told = [
        Told(
            vm=name,
            fate=Fate.MOVES,
            tier=by_name[name].tier,
            order=order,
            node=places[name],
            why="",
        )
        for order, name in enumerate(moving, start=1)
    ]
    down = []
    for name in here:
        vm = _vm(context, name)
        if name in places or vm is None or vm.run_state in (RunState.STOPPED, RunState.DISABLED):
            continue
        why = refused.get(name) or _why_not_asked(vm)
        down.append(Told(vm=name, fate=Fate.DOWN, tier=vm.ha.tier, order=0, node=None, why=why))
    return (*told, *down)


def divided(
    board: Board, asking: Sequence[Guest]
) -> tuple[dict[VmName, NodeName], dict[VmName, str]]:
    """Places for as many as find one, higher tiers first; why the others find none."""
    whole = pack(board, asking)
    if whole.verdict is CapacityVerdict.HOLDS:
        return dict(whole.places), {}
    taken = board.copy()
    places: dict[VmName, NodeName] = {}
    refused: dict[VmName, str] = {}
    for tier in sorted({guest.tier for guest in asking}):
        mine = [guest for guest in asking if guest.tier == tier]
        packing = pack(taken, mine)
        for guest in mine:
            node = packing.places.get(guest.name)
            if node is None:
                refused[guest.name] = ""
            else:
                taken.put(guest, node)
                places[guest.name] = node
    for guest in asking:
        if guest.name in refused:
            refused[guest.name] = _reasons(taken, guest)
    return places, refused


def _reasons(board: Board, guest: Guest) -> str:
    found = []
    for node in board.free_mib:
        failure = fit(board, node, guest)
        if failure is not None:
            found.append(f"{node}: {sentence(failure, board, node, guest)}")
    return "; ".join(found) or "no other node runs guests"


def _why_not_asked(vm: VirtualMachine) -> str:
    if not vm.ha.restart:
        return "ha.restart is false: it waits for its node"
    if not vm.ha.relocate:
        return "ha.relocate is false: it waits for its node"
    return "it waits for its node"


def _node_facts(name: str, context: Context) -> Iterator[str]:
    node = context.nodes.get(NodeName(name))
    if node is None:
        return
    coordinators = [
        each
        for each in context.nodes.values()
        if each.role is NodeRole.COORDINATOR and not each.is_retired
    ]
    if node in coordinators:
        left, of = len(coordinators) - 1, len(coordinators)
        verdict = "the quorum holds" if 2 * left > of else "no quorum: nobody starts anything"
        yield f"store: {left} of {of} coordinators are left: {verdict}"
    yield from _storage_facts(node, context)


def _storage_facts(node: Node, context: Context) -> Iterator[str]:
    hosts = [each for each in context.nodes.values() if each.osds and not each.is_retired]
    if node not in hosts:
        return
    left = len(hosts) - 1
    yield f"storage: {left} of {len(hosts)} nodes with disks are left"
    for doc in context.spec.of_kind(Kind.POOL):
        at_least = min(int(doc.spec["copies"]) - 1, left)
        if at_least < int(doc.spec["min_copies"]):
            yield (
                f"storage: {doc.address} may stop: {at_least} of {doc.spec['copies']} copies are"
                f" left, it writes with {doc.spec['min_copies']}"
            )


# --- a pool, a guest ---------------------------------------------------------------------------------


def _without_pool(pool: str, context: Context) -> Iterator[Told]:
    for name, placed in sorted(context.inventory.placements.items()):
        record, vm = context.applied(address(Kind.VM, name)), _vm(context, name)
        if record is None or vm is None or vm.run_state in (RunState.STOPPED, RunState.DISABLED):
            continue
        there = sorted(disk for disk, ref in record.disks.items() if ref.pool == pool)
        if there:
            yield Told(
                vm=name,
                fate=Fate.HALTS,
                tier=vm.ha.tier,
                order=0,
                node=placed.owner,
                why=f"{', '.join(there)} in pool/{pool} does not answer; it goes on when it does",
            )


def _without_vm(name: VmName, context: Context) -> Told:
    vm, owner = _vm(context, name), context.owner(name)
    if vm is None or owner is None:
        return Told(vm=name, fate=Fate.DOWN, tier=0, order=0, node=None, why="it is not placed")
    if not vm.ha.restart:
        why = "ha.restart is false: pvc vm start starts it"
        return Told(vm=name, fate=Fate.DOWN, tier=vm.ha.tier, order=0, node=owner, why=why)
    return Told(
        vm=name, fate=Fate.RESTARTS, tier=vm.ha.tier, order=1, node=owner, why="where it was"
    )
