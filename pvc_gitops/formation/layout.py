"""What formation reads out of the documents: who this node is, who founds with it, where they are.

Invariant: the same commit gives the same member list, in the same order, with the same ids, everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from pvc_gitops.errors import UsageError
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import NodeName, address, derived_uuid
from pvc_gitops.model.spec import Cluster, ClusterSpec, Node, NodeRole

FOUNDING: Final = 1  # `formation` counts up when a quorum is rebuilt after a disaster
NETWORKS: Final = ("upstream", "cluster", "storage")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Member:
    """A coordinator of the founding. `id` is its number in ZooKeeper, never used again for another."""

    id: int
    name: NodeName
    cluster: str  # address
    storage: str  # address


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A router outside, from the Cluster document."""

    address: str
    asn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Everything that rendering needs, but for secrets."""

    cluster: Cluster
    cluster_id: str
    me: Node
    nodes: tuple[Node, ...]  # all that are not retired, by name
    members: tuple[Member, ...]  # by id
    peers: tuple[Peer, ...]

    @property
    def my_member(self) -> Member | None:
        """This node among the members; None on a hypervisor."""
        return next((member for member in self.members if member.name == self.me.name), None)

    @property
    def founding_osds(self) -> int:
        """How many OSDs the founding makes: the coordinators'. A hypervisor brings its own when it
        joins, which needs a cluster that is founded."""
        members = {member.name for member in self.members}
        return sum(len(node.osds) for node in self.nodes if node.name in members)

    def prefix_length(self, network: str) -> int:
        return ip_network(self.cluster.networks[network].subnet).prefixlen

    def osd_uuid(self, index: int) -> str:
        """Of this node's OSD by its place in the document: a second run finds what the first made."""
        return derived_uuid(
            self.cluster_id, address("node", self.me.name, "osd", str(index)), FOUNDING
        )

    @property
    def host_uuid(self) -> str:
        """For libvirt, which takes two machines of one uuid for one. Containers share the host's."""
        return node_uuid(self.cluster_id, self.me.name)


def node_uuid(cluster_id: str, node: NodeName) -> str:
    """The identity of a node's document in its first life."""
    return derived_uuid(cluster_id, address("node", node), 1)


def layout(spec: ClusterSpec, me: NodeName, cluster_id: str) -> Layout:
    """The layout of a founding commit for one of its nodes."""
    nodes = tuple(node for _, node in sorted(spec.nodes.items()) if not node.is_retired)
    routing: Mapping[str, object] = spec.of_kind(Kind.CLUSTER)[0].spec.get("routing", {})
    peers = routing.get("peers", ())
    assert isinstance(peers, list | tuple)
    return Layout(
        cluster=spec.cluster,
        cluster_id=cluster_id,
        me=spec.nodes[me],
        nodes=nodes,
        members=_members(nodes),
        peers=tuple(Peer(address=peer["address"], asn=peer["asn"]) for peer in peers),
    )


def _members(nodes: tuple[Node, ...]) -> tuple[Member, ...]:
    coordinators = [node for node in nodes if node.role is NodeRole.COORDINATOR]
    if not coordinators:
        raise UsageError("no node is a coordinator", hint="a cluster has 3 (1 in a lab), 5 or 7")
    return tuple(
        Member(
            id=number,
            name=node.name,
            cluster=node.addresses["cluster"],
            storage=node.addresses["storage"],
        )
        for number, node in enumerate(coordinators, start=1)
    )
