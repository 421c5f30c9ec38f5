"""What HA of a simulated cluster is about to do."""

from __future__ import annotations

from pvc_gitops.controllers.ha import HaMemory
from pvc_gitops.model import paths
from pvc_gitops.model.ha import Fence, Proof
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.records import Applied, GuestPhase, IncarnationRecord, Phase, Wanted
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.process import Process


def pending(cluster: SimCluster) -> str:
    """What HA is about to do, or waits for that will come by itself."""
    if not cluster.has_autonomy:
        return ""
    leader = next((n for n in cluster.reaching() if n.ha is not None and _leads(n.ha)), None)
    if leader is None or leader.ha is None:
        can_lead = any(
            n.ha is not None and n.ha.is_up and not n.ha.is_paused for n in cluster.reaching()
        )
        return "nobody leads HA yet" if can_lead or cluster.is_electing() else ""
    memory: HaMemory = leader.ha.memory
    now_s = leader.clock.now_s()
    waits = (_of_node(cluster, memory, name, now_s) for name in cluster.nodes)
    return next((text for text in waits if text), "") or _of_lost(cluster)


def _of_node(cluster: SimCluster, memory: HaMemory, name: NodeName, now_s: float) -> str:
    fence = cluster.get(paths.fence(name), Fence)
    incarnation = cluster.get(paths.incarnation(name), IncarnationRecord)
    if incarnation is None:
        return ""
    if fence is None:
        state = memory.watch.state(name, incarnation, now_s, cluster.spec.cluster.lease_s)
        is_told = bool(memory.told.get(name))
        return f"{name} is silent" if state is NodeState.UNKNOWN and not is_told else ""
    if not _is_dead(cluster, fence):
        is_coming = fence.watchdog_s is not None or not memory.told.get(name)
        return f"{name} is being fenced" if is_coming else ""
    if not fence.is_blocked:
        return f"{name} is not blocked yet"
    if incarnation.id != fence.incarnation and not incarnation.is_revoked:
        return f"{name} is back and not released yet"
    return ""


def _of_lost(cluster: SimCluster) -> str:
    """Guests of the dead that will be given a place."""
    for vm, placement in cluster.placements().items():
        fence = cluster.get(paths.fence(placement.owner), Fence)
        record = cluster.get(f"{paths.GUESTS}/{vm}", Applied)
        if fence is None or record is None or not _is_dead(cluster, fence):
            continue
        ha = record.spec["ha"]
        should_run = record.phase is Phase.PRESENT and record.wanted is Wanted.RUNNING
        is_told = placement.state is GuestPhase.RECOVERING and "until tier" not in placement.why
        if should_run and ha["restart"] and ha["relocate"] and not is_told:
            return f"{vm} has no place yet"
    return ""


def _is_dead(cluster: SimCluster, fence: Fence) -> bool:
    proof = cluster.get(paths.proof(fence.node), Proof)
    return proof is not None and proof.incarnation == fence.incarnation


def _leads(process: Process) -> bool:
    return process.is_up and not process.is_paused and process.memory.epoch is not None
