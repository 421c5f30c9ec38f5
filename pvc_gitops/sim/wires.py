"""Which packets pass between simulated machines: links by network, and pairs cut in one direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from pvc_gitops.model.ids import NodeName


class Net(StrEnum):
    """The core networks."""

    CLUSTER = "cluster"  # heartbeats, ZooKeeper, questions between nodes
    STORAGE = "storage"  # Ceph
    UPSTREAM = "upstream"  # git, images


@dataclass(slots=True)
class Wires:
    """All of them. `is_answering`: is that machine up, and not frozen?"""

    is_answering: Callable[[NodeName], bool]
    down: set[tuple[NodeName, Net]] = field(default_factory=set)
    cut: set[tuple[NodeName, NodeName]] = field(default_factory=set)  # from, to

    def switch(self, node: NodeName, *nets: Net, on: bool) -> None:
        """Links of one node."""
        links = {(node, net) for net in nets}
        self.down = self.down - links if on else self.down | links

    def switch_pair(self, sender: NodeName, receiver: NodeName, *, on: bool) -> None:
        """What one node sends to another, on all networks."""
        pair = {(sender, receiver)}
        self.cut = self.cut - pair if on else self.cut | pair

    def has(self, node: NodeName, net: Net) -> bool:
        return (node, net) not in self.down

    def talk(self, one: NodeName, other: NodeName, net: Net) -> bool:
        """Does a question reach the other, and its answer come back? TCP needs both ways too."""
        if not (self.is_answering(one) and self.is_answering(other)):
            return False
        if one == other:
            return True
        ways = {(one, other), (other, one)}
        return self.has(one, net) and self.has(other, net) and not ways & self.cut
