"""The inventory: everything that the planner knows of the world, read from the store in one go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pvc_gitops.controllers import ledger, slices
from pvc_gitops.controllers.beats import read_incarnations
from pvc_gitops.controllers.records import read, read_all
from pvc_gitops.controllers.watch import NodeWatch
from pvc_gitops.errors import StoreError
from pvc_gitops.model import paths
from pvc_gitops.model.ha import Fence, Proof
from pvc_gitops.model.ids import Address, NodeName, PlanId, VmName
from pvc_gitops.model.intents import Intent, IntentId
from pvc_gitops.model.inventory import (
    Inventory,
    NodeFacts,
    NodeState,
    StorageFacts,
)
from pvc_gitops.model.ledger import LedgerHead
from pvc_gitops.model.plan import Plan
from pvc_gitops.model.records import (
    Accepted,
    Applied,
    Claim,
    Formation,
    PlacementRecord,
    StepResult,
    StepStatus,
    Target,
)
from pvc_gitops.model.spec import Cluster
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.planner.remaining import amid
from pvc_gitops.world.ports import Store, World

MINUTE_S: Final = 60
LOOKS_MAX: Final = 3  # reading takes milliseconds, steps take seconds
LEASE_DEFAULT_S: Final = 6.0  # `ha.lease` of a cluster whose document is not applied yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The inventory, and the plan in force behind it with what its steps came to."""

    inventory: Inventory
    target: Target | None
    plan: Plan | None
    results: Mapping[str, StepResult]  # of the plan in force, by step; read after the records


# Where steps stand: no step begins or ends without changing it.
_Moment = tuple[int | None, frozenset[tuple[str, StepStatus]], frozenset[tuple[str, PlanId, str]]]


def of_one_moment(
    world: World, watch: NodeWatch, storage: StorageFacts | None, known: Plan | None = None
) -> Observed | None:
    """Like `inventory`, and no step began or ended while it was read.

    A step's end changes records, claim and result at once. Who reads the records before it and the
    results after it sees a step that is done and has done nothing, and would plan it again.

    Raises:
        StoreError: also where so many steps begin and end that no such moment was met; try again.
    """
    store = world.store
    for _ in range(LOOKS_MAX):
        store.sync()  # what this process keeps behind watches may be older than what it reads now
        before = _moment(store)
        observed = inventory(world, watch, storage, known)
        store.sync()
        if _moment(store) == before:
            return observed
        known = known if observed is None else observed.plan
    raise StoreError("read", paths.ROOT, "steps begin and end all the time", retryable=True)


def _moment(store: Store) -> _Moment:
    target = read(store, paths.TARGET, Target)
    results = {} if target is None else slices.read_results(store, target.plan)
    claims = read_all(store, paths.CLAIMS, Claim).values()
    return (
        None if target is None else target.version,
        frozenset((step, result.status) for step, result in results.items()),
        frozenset((claim.address, claim.plan, claim.step) for claim in claims),
    )


def inventory(
    world: World, watch: NodeWatch, storage: StorageFacts | None, known: Plan | None = None
) -> Observed | None:
    """Read it all; None before the cluster is founded.

    Args:
        world: whose store is read.
        watch: what this process has seen of the heartbeats.
        storage: what this process saw of Ceph, newer than the records; None: the best report.
        known: the plan in force as read before; read again where it is another one.

    Raises:
        StoreError: also where records of one moment could not be had.
    """
    store = world.store
    formation = read(store, paths.FORMAT, Formation)
    if formation is None:
        return None
    applied = read_applied(store)
    target = read(store, paths.TARGET, Target)
    accepted = read(store, paths.ACCEPTED, Accepted)
    plan = known
    if target is None:
        plan = None
    elif known is None or known.id != target.plan:
        plan = slices.read_plan(store, target.plan)
        if plan is None:
            raise StoreError(
                "read", paths.plan(target.plan), "the plan in force is gone", retryable=True
            )
    placements = {
        VmName(name): record
        for name, record in read_all(store, paths.PLACEMENT, PlacementRecord).items()
    }
    now_s = world.clock.now_s()
    head = read(store, paths.LEDGER_HEAD, LedgerHead)
    claims = read_all(store, paths.CLAIMS, Claim).values()
    found = Inventory(
        cluster_id=formation.cluster_id,
        formation=formation.formation,
        now_s=now_s - now_s % MINUTE_S,
        accepted=None if accepted is None else accepted.commit,
        target=None if target is None else target.plan,
        nodes=read_nodes(world, watch, lease_s(applied)),
        applied=applied,
        placements=placements,
        claims={claim.address: claim for claim in claims},
        storage=storage or read_storage(store, world.me.node),
        planner_version=None if target is None else target.planner_version,
        intents=read_intents(store, now_s),
        spent=ledger.spent(head, now_s),
        estimates=ledger.estimates(head),
    )
    if plan is not None:
        found = amid(found, plan)
    results = {} if plan is None else slices.read_results(store, plan.id)
    return Observed(target=target, plan=plan, inventory=found, results=results)


def read_intents(store: Store, now_s: int) -> dict[IntentId, Intent]:
    """The intents in force."""
    found = read_all(store, paths.INTENTS, Intent).values()
    return {intent.id: intent for intent in found if not intent.is_over(now_s)}


def read_applied(store: Store) -> dict[Address, Applied]:
    """All applied records, by address."""
    found: dict[Address, Applied] = {}
    for path in (paths.OWNED, paths.NETWORKS, paths.GUESTS):
        found |= {record.address: record for record in read_all(store, path, Applied).values()}
    return dict(sorted(found.items()))


def lease_s(applied: dict[Address, Applied]) -> float:
    """The longest lease that any node may hold now."""
    for of, record in applied.items():
        if of.startswith("cluster/"):
            return Cluster.from_spec(record.name, record.spec).lease_s
    return LEASE_DEFAULT_S


def read_nodes(world: World, watch: NodeWatch, lease: float) -> dict[NodeName, NodeFacts]:
    """Every node that ever joined: its last report, and its state by its heartbeat."""
    store, now_s = world.store, world.clock.monotonic_s()
    found = {}
    fences = read_all(store, paths.FENCES, Fence)
    for name, incarnation in read_incarnations(store).items():
        fence = fences.get(name)
        proof = None if fence is None else read(store, paths.proof(name), Proof)
        state = watch.state(name, incarnation, now_s, lease, fence=fence, proof=proof)
        facts = read(store, paths.report(name), NodeFacts)
        if facts is not None:
            found[name] = replace(facts, state=state)
            continue
        found[name] = NodeFacts(
            name=name,
            # Nothing is planned on a node before its agent has said what it is.
            state=NodeState.UNKNOWN if state is NodeState.ONLINE else state,
            incarnation=incarnation.id,
            hardware=None,
            guests={},
            networks={},
            faults=(),
            report_number=0,
            observed_at_s=0,
        )
    return found


def read_storage(store: Store, me: NodeName) -> StorageFacts | None:
    """What a coordinator reported of Ceph: this one's own word, else the first of the others'."""
    names = [me, *sorted(name for name in store.read_children(paths.NODES) if name != me)]
    for name in names:
        facts = read(store, paths.storage_report(NodeName(name)), StorageFacts)
        if facts is not None:
            return facts
    return None
