"""Inventories that nobody observed: the cluster of `pvc plan --empty`."""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address, NodeName, address, derived_uuid
from pvc_gitops.model.inventory import Hardware, Inventory, NodeFacts, NodeState, StorageFacts
from pvc_gitops.model.records import Applied
from pvc_gitops.model.spec import ClusterSpec, Node
from pvc_gitops.planner.records import record_of

_FORMATION: Final = 1
_MINUTE_S: Final = 60


def empty(spec: ClusterSpec, now_s: int) -> Inventory:
    """The cluster just after its founding: declared nodes are up with the hardware that is declared,
    the cluster's and the nodes' records stand, and nothing else exists."""
    cluster_id = derived_uuid("", address(Kind.CLUSTER, spec.cluster.name), _FORMATION)
    founded = [*spec.of_kind(Kind.CLUSTER), *spec.of_kind(Kind.NODE)]
    applied: dict[Address, Applied] = {
        doc.address: record_of(doc, commit=spec.commit, cluster_id=cluster_id) for doc in founded
    }
    nodes = {name: _up(node) for name, node in spec.nodes.items() if not node.is_retired}
    osds = sum(len(node.osds) for node in spec.nodes.values())
    return Inventory(
        cluster_id=cluster_id,
        formation=_FORMATION,
        now_s=now_s - now_s % _MINUTE_S,
        accepted=spec.commit,
        target=None,
        nodes=nodes,
        applied=applied,
        placements={},
        claims={},
        storage=StorageFacts(
            health="HEALTH_OK",
            checks=(),
            osds_up=osds,
            osds_total=osds,
            used_ratio=0.0,
            pools={},
            images={},
            trash={},
            observed_at_s=now_s,
        ),
        planner_version=None,
    )


def _up(node: Node) -> NodeFacts:
    return NodeFacts(
        name=NodeName(node.name),
        state=NodeState.ONLINE,
        incarnation="declared",
        hardware=Hardware(cpus=node.cpus, memory_mib=node.memory_mib),
        guests={},
        networks={},
        faults=(),
        report_number=0,
        observed_at_s=0,
    )
