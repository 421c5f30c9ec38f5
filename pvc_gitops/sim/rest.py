"""When a simulated cluster is at rest, and what must hold then."""

from __future__ import annotations

from typing import TypeVar

from pvc_gitops.controllers import slices, storage
from pvc_gitops.controllers.decisions import policy_of
from pvc_gitops.controllers.observe import Observed, inventory
from pvc_gitops.controllers.plan import PlannerMemory
from pvc_gitops.controllers.quarantine import planned_spec
from pvc_gitops.controllers.retry import is_under_way
from pvc_gitops.controllers.status import status
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.control import Quarantine, Withheld
from pvc_gitops.model.ha import Fence
from pvc_gitops.model.ids import Address, VmName
from pvc_gitops.model.inventory import GuestState, Inventory, NodeState
from pvc_gitops.model.records import (
    Accepted,
    Applied,
    GuestPhase,
    IncarnationRecord,
    Phase,
    Ready,
    SourceSeen,
    StepStatus,
    Target,
    Wanted,
)
from pvc_gitops.model.values import replace
from pvc_gitops.planner.planner import plan
from pvc_gitops.sim import autonomy
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.node import SimNode
from pvc_gitops.sim.store import Client
from pvc_gitops.world.protocol import Status


def pending(cluster: SimCluster) -> str:
    """The first thing that is still to come, as a sentence; "" when there is none."""
    for node in cluster.nodes.values():
        if node.is_powered and not node.is_up:
            return f"{node.name} boots"
    coming = autonomy.coming(cluster)
    if coming or not cluster.has_quorum():
        return coming  # without a quorum nothing more can happen
    return (
        _of_source(cluster)
        or autonomy.pending(cluster)
        or _of_sight(cluster)
        or _of_guests(cluster)
        or _of_plan(cluster)
        or _of_claims(cluster)
        or _of_processes(cluster)
    )


def _of_source(cluster: SimCluster) -> str:
    if not cluster.origin.is_up:
        return ""
    tip = cluster.origin.tip
    heads = []
    for node in cluster.reaching():
        seen = _get(cluster, paths.seen(node.name), SourceSeen)
        if (
            seen is None
            or (tip is not None and seen.tip != tip)
            or (tip is None and not seen.error)
        ):
            return f"{node.name} has not looked at git yet"
        if node.is_coordinator:
            heads.append(seen.head)
    accepted = _get(cluster, paths.ACCEPTED, Accepted)
    coordinators = sum(1 for node in cluster.nodes.values() if node.is_coordinator)
    is_held = tip is not None and 2 * heads.count(tip) > coordinators
    if tip is not None and is_held and (accepted is None or accepted.commit != tip):
        return f"{tip[:7]} is not accepted yet"
    return ""


def _of_sight(cluster: SimCluster) -> str:
    """Nodes that are at work, and that the leading planner has not seen so yet."""
    leader = cluster.leader()
    if leader is None or leader.planner is None:
        return ""
    memory: PlannerMemory = leader.planner.memory
    lease_s, now_s = cluster.spec.cluster.lease_s, leader.clock.now_s()
    for node in cluster.reaching():
        life = _get(cluster, paths.incarnation(node.name), IncarnationRecord)
        is_well = node.guard.is_up and not node.guard.is_paused and life is not None
        is_silent = memory.watch.state(node.name, life, now_s, lease_s) is NodeState.UNKNOWN
        is_fenced = cluster.get(paths.fence(node.name), Fence) is not None
        is_behind = not is_fenced and memory.told.get(node.name) in _OF_FENCES
        if is_well and (is_silent or is_behind):
            return f"{node.name} has not been seen yet"
    return ""


_OF_FENCES = (NodeState.FENCING, NodeState.FENCED)


def _of_guests(cluster: SimCluster) -> str:
    for name, placement in cluster.placements().items():
        node = cluster.nodes.get(placement.owner)
        record = _get(cluster, f"{paths.GUESTS}/{name}", Applied)
        if node is None or record is None or node not in cluster.reaching():
            continue
        # A renamed guest bears its old name until its next start.
        domains = node.guests.domains.values()
        domain = next((d for d in domains if d.domain.uuid == record.uuid), None)
        should_run = record.phase is Phase.PRESENT and record.wanted is Wanted.RUNNING
        if placement.state is GuestPhase.FAILED or placement.rests:
            continue  # said so; a person is needed
        if placement.ready is Ready.AWAITED:
            return f"{name} is not ready yet"
        runs = domain is not None and domain.state is GuestState.RUNNING
        wanted = GuestPhase.RUNNING if should_run else GuestPhase.STOPPED
        if runs is not should_run or placement.state is not wanted:
            return f"{name} is {placement.state}"
    return ""


def _of_plan(cluster: SimCluster) -> str:  # noqa: PLR0911  one reason a line
    leader = cluster.leader()
    if leader is None or leader.planner is None:
        can_lead = any(n.planner is not None and n.planner.is_up for n in cluster.reaching())
        return "nobody leads the planners yet" if can_lead else ""
    memory: PlannerMemory = leader.planner.memory
    target = _get(cluster, paths.TARGET, Target)
    accepted = _get(cluster, paths.ACCEPTED, Accepted)
    if memory.is_woken or memory.storage.job_since_s is not None:
        return "the planner is at work"
    if memory.complaint:
        return ""
    aside = _get(cluster, paths.QUARANTINED, Quarantine)
    wanted = None if accepted is None else accepted.commit if aside is None else aside.commit
    held = _get(cluster, paths.WITHHELD, Withheld)
    if held is not None and held.commit == wanted:
        return ""  # a person is needed
    if wanted is not None and (target is None or target.commit != wanted):
        return f"{wanted[:7]} is not planned yet"
    if target is None or memory.plan is None or memory.plan.id != target.plan:
        return "the planner has not read the target"
    store = _looker(cluster, leader)
    results = slices.read_results(store, target.plan)
    if is_under_way(memory.plan, results):
        statuses = slices.statuses(memory.plan, results)
        left = [s for s in memory.plan.steps if statuses[s.id] in _OPEN]
        if any(cluster.nodes[step.node] in cluster.reaching() for step in left):
            return f"{len(left)} steps are left, the first is {left[0].id}"
        return ""
    failed = [r for r in results.values() if r.status is StepStatus.FAILED]
    if any(result.is_retryable for result in failed):
        return f"{failed[0].step} is tried again"
    if memory.considered is None and not failed:
        return "the planner has not looked again"
    return ""


_OPEN = (StepStatus.PENDING, StepStatus.RUNNING)


def _of_claims(cluster: SimCluster) -> str:
    reaching = {node.name for node in cluster.reaching()}
    for name in sorted(cluster.tree.children.get(paths.CLAIMS, ())):
        claim = cluster.tree.records[f"{paths.CLAIMS}/{name}"].value
        if claim["node"] in reaching:
            return f"{name} is claimed by {claim['node']}"
    return ""


def _of_processes(cluster: SimCluster) -> str:
    for node in cluster.reaching():
        memory = node.agent.memory
        if memory.is_woken or memory.is_poked or memory.full_at_s <= memory.due_at_s - 10.0:
            return f"the agent of {node.name} is at work"
    return ""


# --- at rest ----------------------------------------------------------------------------------------


def check(cluster: SimCluster) -> None:
    """What must hold when nothing is pending: an applied plan plans to nothing, claims are released."""
    leader = cluster.leader()
    if leader is None or leader.planner is None or leader.planner.memory.complaint:
        return
    store = _looker(cluster, leader)
    for name in cluster.tree.children.get(paths.CLAIMS, ()):
        owner = cluster.nodes[cluster.tree.records[f"{paths.CLAIMS}/{name}"].value["node"]]
        if owner in cluster.reaching():
            cluster.checkers.broken("claims", f"{name} is still claimed at rest")
    target = _get(cluster, paths.TARGET, Target)
    if target is None:
        return
    results = slices.read_results(store, target.plan)
    if _get(cluster, paths.WITHHELD, Withheld) is not None:
        return  # there is something to do, and it waits for a person
    if any(result.status is StepStatus.FAILED for result in results.values()):
        return
    if any(cluster.nodes[n] not in cluster.reaching() for n in cluster.nodes):
        return  # what waits for a silent node is not applied
    again = replan(cluster)
    if again:
        cluster.checkers.broken("plans-to-nothing", f"the next plan would {', '.join(again[:3])}")


def replan(cluster: SimCluster) -> tuple[str, ...]:
    """The steps of a plan made now, from a fresh look at everything."""
    leader = cluster.leader()
    observed = look(cluster)
    if leader is None or leader.planner is None or observed is None:
        return ()
    inv = observed.inventory
    assert inv.accepted is not None
    world = cluster.world_of(leader, leader.planner)
    aside = _get(cluster, paths.QUARANTINED, Quarantine)
    commit = inv.accepted if aside is None else aside.commit
    spec = planned_spec(world.repo, aside, commit)
    now = replace(inv, accepted=commit)
    found = plan(spec, now, policy_of(world, commit), inv.target)
    return tuple(step.id for step in found.steps)


# --- for whoever sits before it -------------------------------------------------------------------


def look(cluster: SimCluster) -> Observed | None:
    """The inventory as the leading planner would see it now; None while nobody leads."""
    leader = cluster.leader()
    if leader is None or leader.planner is None:
        return None
    world = cluster.world_of(leader, leader.planner)
    memory: PlannerMemory = leader.planner.memory
    return inventory(world, memory.watch, storage.look(world))


def look_at_status(cluster: SimCluster) -> tuple[Status, Inventory] | None:
    """What `pvc status` would show, and the inventory behind it."""
    leader, observed = cluster.leader(), look(cluster)
    if leader is None or leader.planner is None or observed is None:
        return None
    world = cluster.world_of(leader, leader.planner)
    memory: PlannerMemory = leader.planner.memory
    found = status(world, memory.watch, observed.inventory.storage)
    return None if found is None else (found, observed.inventory)


def explain(cluster: SimCluster, address: str) -> list[str]:
    """Why an object is as it is: its commit, its placement, its last step, what is in the way."""
    observed = look(cluster)
    if observed is None:
        return ["no coordinator answers"]
    inv = observed.inventory
    record = inv.applied.get(Address(address))
    if record is None:
        return [f"{address} is not applied; `plan` says whether it is declared"]
    lines = [f"{address}  {record.phase}, declared by commit {(record.commit or '')[:7]}"]
    placement = inv.placements.get(VmName(record.name)) if record.kind == "vm" else None
    if placement is not None:
        why = f": {placement.why}" if placement.why else ""
        lines.append(f"  {placement.state} on {placement.owner}, start {placement.starts}{why}")
    for disk, ref in sorted(record.disks.items()):
        lines.append(f"  {disk}: {ref.pool}/{ref.image}, {ref.size_mib} MiB")
    for nic, lease in sorted(record.nics.items()):
        lines.append(f"  {nic}: {lease.mac} {lease.address or 'no address'}")
    report = () if observed.plan is None else observed.plan.report
    lines += [
        f"  {item.kind}: {item.text}  {item.remedy}".rstrip()
        for item in report
        if item.address == address
    ]
    for choice in () if observed.plan is None else observed.plan.placement:
        if f"vm/{choice.vm}" == address:
            lines.append(f"  placed on {choice.node}: the best of those that can host it")
            lines += [f"    not {node}: {text}" for node, text in sorted(choice.rejected.items())]
    if record.needs:
        lines.append(f"  needs {', '.join(record.needs)}")
    return lines


def _looker(cluster: SimCluster, node: SimNode) -> Client:
    assert node.planner is not None
    store = cluster.world_of(node, node.planner).store
    assert isinstance(store, Client)
    return store


T = TypeVar("T")


def _get(cluster: SimCluster, path: str, cls: type[T]) -> T | None:
    stamped = cluster.tree.records.get(path)
    return None if stamped is None else decode(cls, stamped.value)
