"""What HA of a simulated cluster is about to do."""

from __future__ import annotations

from typing import Final

from pvc_gitops.controllers.ha import HaMemory
from pvc_gitops.model import paths
from pvc_gitops.model.ha import Fence, Proof
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.intents import CLUSTER, Intent, IntentKind
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.moves import Moves
from pvc_gitops.model.records import Applied, GuestPhase, IncarnationRecord, Phase, Wanted
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.process import Process

NOTICED_S: Final = 1.0  # a guard acts upon a lease's end within a tick


def coming(cluster: SimCluster) -> str:
    """What guards and watchdogs are about to do, with a quorum or without."""
    for node in cluster.nodes.values():
        if not node.is_up:
            continue
        if node.is_leaving and not node.is_paused:
            return f"{node.name} goes down"
        guard = node.guard
        is_still = node.is_paused or not guard.is_up or guard.is_paused
        if is_still and guard.armed_s is not None:
            return f"the watchdog of {node.name} runs out"
        is_alone = node.guests.domains and not cluster.reaches_store(node.name)
        # Without a quorum anywhere the others' word may renew it for ever: that is rest, too.
        if is_alone and cluster.kernel.now_s < cluster.changed_at_s + guard.lease_s + NOTICED_S:
            return f"the lease of {node.name} runs out"
    return ""


PATIENCE: Final = 5  # failed moves of a guest; then a script does not wait for the next


def pending(cluster: SimCluster) -> str:
    """What HA is about to do, or waits for that will come by itself."""
    leader = next((n for n in cluster.reaching() if n.ha is not None and _leads(n.ha)), None)
    if leader is None or leader.ha is None:
        can_lead = any(
            n.ha is not None and n.ha.is_up and not n.ha.is_paused for n in cluster.reaching()
        )
        return "nobody leads HA yet" if can_lead or cluster.is_electing() else ""
    memory: HaMemory = leader.ha.memory
    now_s = leader.clock.now_s()
    waits = (_of_node(cluster, memory, name, now_s) for name in cluster.nodes)
    found = next((text for text in waits if text), "")
    return found or _of_lost(cluster) or _of_given_up(cluster) or _of_moves(cluster, memory)


def _of_moves(cluster: SimCluster, memory: HaMemory) -> str:
    """What operators want moved, and can be."""
    moves = cluster.get(paths.MOVES, Moves) or Moves()
    tries = memory.orders.tries.items()
    failed = sorted(vm for vm, each in tries if 0 < each.failures <= PATIENCE)
    if failed:
        return f"{failed[0]} is to be moved again"
    for vm, placement in cluster.placements().items():
        reaches = {node.name for node in cluster.reaching()}
        if placement.incoming is not None and reaches & {placement.owner, placement.incoming}:
            return f"{vm} is on its way to {placement.incoming}"
    for name in sorted(cluster.tree.children.get(paths.INTENTS, ())):
        intent = cluster.get(f"{paths.INTENTS}/{name}", Intent)
        if intent is None:
            continue
        if intent.kind in (IntentKind.MIGRATE, IntentKind.RETURN):
            if intent.id not in moves.refused:
                return f"{intent.id} is under way"
        elif intent.kind is IntentKind.DRAIN:
            drain = moves.drains.get(NodeName(intent.subject.partition("/")[2]))
            if drain is None or set(drain.left) - drain.staying.keys():
                return f"{intent.id} is under way"
    return ""


def _of_node(  # noqa: PLR0911  one reason a line
    cluster: SimCluster, memory: HaMemory, name: NodeName, now_s: float
) -> str:
    fence = cluster.get(paths.fence(name), Fence)
    incarnation = cluster.get(paths.incarnation(name), IncarnationRecord)
    if incarnation is None:
        return ""
    if fence is None:
        state = memory.watch.state(name, incarnation, now_s, cluster.spec.cluster.lease_s)
        if _is_on_hold(cluster):
            return ""  # until somebody ends it
        if state is NodeState.LEFT:
            return f"{name} left guests behind" if _has_lost(cluster, name) else ""
        is_silent = state is NodeState.UNKNOWN or not _beats(cluster, name)
        return f"{name} is silent" if is_silent else ""
    if not _is_dead(cluster, fence):
        is_coming = fence.watchdog_s is not None or not memory.told.get(name)
        return f"{name} is being fenced" if is_coming else ""
    if not fence.is_blocked:
        # Without Ceph it is rest, of a kind: somebody has to bring that back.
        can_block = any(cluster.reaches_storage(node.name) for node in cluster.reaching())
        return f"{name} is not blocked yet" if can_block else ""
    if incarnation.id != fence.incarnation and not incarnation.is_revoked:
        return f"{name} is back and not released yet"
    return f"{name} begins a new life" if _beats(cluster, name) else ""


def _is_on_hold(cluster: SimCluster) -> bool:
    """As operators want it: what HA makes of it follows."""
    names = cluster.tree.children.get(paths.INTENTS, ())
    intents = (cluster.get(f"{paths.INTENTS}/{name}", Intent) for name in names)
    holding = (IntentKind.HOLD, IntentKind.MAINTENANCE)
    return any(i is not None and i.kind in holding and i.subject == CLUSTER for i in intents)


def _beats(cluster: SimCluster, name: NodeName) -> bool:
    node = cluster.nodes[name]
    is_running = node.guard.is_up and not node.guard.is_paused
    return is_running and cluster.reaches_store(name)


def _has_lost(cluster: SimCluster, name: NodeName) -> bool:
    placements = cluster.placements().items()
    return any(p.owner == name and _must_run_elsewhere(cluster, vm) for vm, p in placements)


def _must_run_elsewhere(cluster: SimCluster, vm: str) -> bool:
    record = cluster.get(f"{paths.GUESTS}/{vm}", Applied)
    if record is None or record.phase is not Phase.PRESENT:
        return False
    ha, placement = record.spec["ha"], cluster.placements().get(vm)
    if placement is not None and placement.rests and placement.state is GuestPhase.STOPPED:
        return False
    return record.wanted is Wanted.RUNNING and bool(ha["restart"] and ha["relocate"])


def _of_lost(cluster: SimCluster) -> str:
    """Guests of the dead that will be given a place."""
    for vm, placement in cluster.placements().items():
        fence = cluster.get(paths.fence(placement.owner), Fence)
        if fence is None or not _is_dead(cluster, fence):
            continue
        is_told = placement.state is GuestPhase.RECOVERING and "waits until" not in placement.why
        if _must_run_elsewhere(cluster, vm) and not is_told:
            return f"{vm} has no place yet"
    return ""


def _of_given_up(cluster: SimCluster) -> str:
    """Guests that failed where they are, and that another node will try."""
    for vm, placement in cluster.placements().items():
        record = cluster.get(f"{paths.GUESTS}/{vm}", Applied)
        if record is None or placement.state is not GuestPhase.FAILED:
            continue
        ha = record.spec["ha"]
        may_go_on = (
            _must_run_elsewhere(cluster, vm)
            and placement.restarts > ha["max_restarts"]
            and len(placement.tried) < ha["max_relocations"]
        )
        if may_go_on and "; elsewhere: " not in placement.why:
            return f"{vm} is given up by {placement.owner}"
    return ""


def _is_dead(cluster: SimCluster, fence: Fence) -> bool:
    proof = cluster.get(paths.proof(fence.node), Proof)
    return proof is not None and proof.incarnation == fence.incarnation


def _leads(process: Process) -> bool:
    return process.is_up and not process.is_paused and process.memory.epoch is not None
