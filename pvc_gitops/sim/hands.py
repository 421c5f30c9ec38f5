"""People who open a guest's disks by hand, as with `rbd map`: what no record knows of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pvc_gitops.model.ids import NodeName
from pvc_gitops.sim.ceph import Ceph

Disk = tuple[str, str]  # pool, image


@dataclass(frozen=True, slots=True)
class Hand:
    """One client of Ceph that is no guest."""

    node: NodeName
    address: str
    disks: tuple[Disk, ...]


@dataclass(slots=True)
class Hands:
    """All of them, by the guest whose disks they hold."""

    ceph: Ceph
    open_by: dict[str, Hand] = field(default_factory=dict)

    def open(self, guest: str, node: NodeName, address: str, disks: tuple[Disk, ...]) -> None:
        """Write to its disks from a node. Refused, as an exclusive mapping is, while it runs, and where
        a disk is gone."""
        is_free = not any(self.ceph.watchers.get(disk) for disk in disks)
        is_there = all(disk in self.ceph.images for disk in disks)
        if not (is_free and is_there) or guest in self.open_by:
            return
        hand = Hand(node, f"{address}:0/{self.ceph.nonce()}", disks)
        if self.ceph.is_blocked(hand.address):
            return
        for pool, image in disks:
            self.ceph.open(pool, image, hand.address)
        self.open_by[guest] = hand
        self.ceph.on_block()

    def close(self, guest: str) -> None:
        hand = self.open_by.pop(guest, None)
        if hand is not None:
            self.ceph.close(hand.address, is_clean=True)
            self.ceph.on_block()

    def lost(self, node: NodeName) -> None:
        """A node's power is gone, and the client with it; Ceph notices later."""
        for guest in [guest for guest, hand in self.open_by.items() if hand.node == node]:
            self.ceph.close(self.open_by.pop(guest).address, is_clean=False)

    def cut_off(self) -> None:
        """Whom Ceph has blocked has lost its locks: it writes no more, also when its host is let in."""
        for guest, hand in tuple(self.open_by.items()):
            if self.ceph.is_blocked(hand.address):
                del self.open_by[guest]

    def writers(self) -> Iterator[tuple[Disk, tuple[str, str]]]:
        """Which disk may be written by whom."""
        for guest, hand in self.open_by.items():
            for disk in hand.disks:
                yield disk, (f"a hand at {guest}", hand.node)
