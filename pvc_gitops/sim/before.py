"""A cluster with a past: everything the repository declares is applied, and was shut down.

For scripts that begin with `place`: what is tried is a cold start, not the first apply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pvc_gitops.appliers.outcome import Writes
from pvc_gitops.appliers.registry import APPLIERS
from pvc_gitops.controllers import slices
from pvc_gitops.errors import UsageError
from pvc_gitops.model import paths
from pvc_gitops.model.codec import encode
from pvc_gitops.model.ids import Generation, NodeName, VmName
from pvc_gitops.model.inventory import ImageFacts, PoolFacts
from pvc_gitops.model.plan import Operation, Plan, Step
from pvc_gitops.model.records import (
    GuestPhase,
    IncarnationRecord,
    PlacementRecord,
    StepResult,
    StepStatus,
    Target,
)
from pvc_gitops.model.values import replace
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.sim.ceph import IMPORTED_MIB, PGS_DEFAULT
from pvc_gitops.sim.cluster import STARTED_AT_S, SimCluster
from pvc_gitops.sim.guard import WATCHDOG_S
from pvc_gitops.world.ports import Create, Put


def place(cluster: SimCluster, where: Mapping[str, NodeName]) -> None:
    """Put the whole founding commit in force, guests where they are said to have been.

    Raises:
        UsageError: a guest that the repository does not declare.
    """
    made = plan(cluster.spec, empty(cluster.spec, STARTED_AT_S), POLICY, None)
    guests = {step.address for step in made.steps if step.operation is Operation.VM_PUT}
    unknown = sorted(name for name in where if f"vm/{name}" not in guests)
    if unknown:
        raise UsageError(f"the repository declares no guest {unknown[0]!r} that could be placed")
    for step in made.steps:
        _take_effect(cluster, step, where)
    for node in cluster.nodes:
        lived(cluster, node, has_left=True)
    _publish(cluster, made)


def lived(cluster: SimCluster, node: NodeName, *, has_left: bool) -> None:
    """What a node wrote in an earlier life. `has_left`: it went down in order."""
    declared = cluster.nodes[node].declared
    life = IncarnationRecord(
        id="before.0",
        boot_id="before",
        started_at_s=cluster.started_at_s,
        lease_s=cluster.spec.cluster.lease_s,
        is_revoked=False,
        watchdog="simulated",
        watchdog_s=WATCHDOG_S,
        storage_addresses=(declared.addresses["storage"],),
        guests_left=not has_left,
    )
    cluster.tree.apply(
        (
            Create(path=paths.node(node), value={}),
            Create(path=paths.incarnation(node), value=encode(life)),
        )
    )


def _take_effect(cluster: SimCluster, step: Step, where: Mapping[str, NodeName]) -> None:
    ceph, inputs = cluster.ceph, step.inputs
    match step.operation:
        case Operation.POOL_CREATE:
            ceph.pools[inputs["pool"]] = PoolFacts(
                copies=inputs["copies"],
                min_copies=inputs["min_copies"],
                pgs=inputs.get("pgs") or PGS_DEFAULT,
            )
        case Operation.IMAGE_IMPORT:
            facts = ImageFacts(size_mib=IMPORTED_MIB, parent=None, snapshots=(inputs["snapshot"],))
            ceph.images[inputs["pool"], inputs["image"]] = facts
        case Operation.DISK_CREATE:
            parent = inputs.get("parent")
            name = None if parent is None else "{pool}/{image}@{snapshot}".format(**parent)
            ceph.images[inputs["pool"], inputs["image"]] = ImageFacts(
                size_mib=inputs["size_mib"], parent=name, snapshots=()
            )
        case Operation.VM_PUT:
            vm = step.address.partition("/")[2]
            was = PlacementRecord(
                owner=where.get(vm, step.node),
                incoming=None,
                incarnation="before.0",
                starts=1,
                state=GuestPhase.RUNNING,
                why="",
                since_s=STARTED_AT_S,
            )
            path = paths.placement(VmName(vm))
            cluster.tree.apply((Create(path=path, value=encode(was)),))
        case _:
            pass
    has_record = APPLIERS[step.operation].writes in (Writes.FIRST, Writes.LAST)
    if has_record and step.record is not None:
        path = paths.applied(step.record.address)
        stamped = cluster.tree.records.get(path)
        value = encode(step.record)
        cluster.tree.apply(
            (
                Create(path=path, value=value)
                if stamped is None
                else Put(path=path, value=value, version=stamped.version),
            )
        )


def _publish(cluster: SimCluster, made: Plan) -> None:
    assert cluster.spec.commit is not None
    cluster.tree.apply(tuple(slices.creates(made, formation=1, generation=Generation(1))))
    cluster.tree.apply(tuple(_results(made)))
    target = Target(
        plan=made.id,
        generation=Generation(1),
        planner_version=made.planner_version,
        commit=cluster.spec.commit,
        published_at_s=STARTED_AT_S,
    )
    cluster.tree.apply((Create(path=paths.TARGET, value=encode(target)),))
    cluster.checkers.generation = 1


def _results(made: Plan) -> Iterator[Create]:
    done = StepResult(
        step="",
        node=NodeName(""),
        status=StepStatus.DONE,
        started_at_s=STARTED_AT_S,
        ended_at_s=STARTED_AT_S,
        error="",
        is_retryable=False,
        evidence={},
        progress=None,
    )
    for step in made.steps:
        value = encode(replace(done, step=step.id, node=step.node))
        yield Create(path=paths.plan_result(made.id, step.id), value=value)
