"""The last check before a guest starts or gets a disk: nobody else has it open (DESIGN section 10).

RBD's exclusive lock is no guard: two live QEMUs pass it to and fro and both write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pvc_gitops.errors import PrereqError
from pvc_gitops.world.ports import DiskAttachment, Domain, World

# A killed QEMU stays a watcher for 26 to 28 s; its exact address is never used again, so a day costs
# nothing and outlives every delayed write.
DEAD_CLIENT_S: Final = 24 * 3600


def check_disks(
    world: World,
    domain: Domain,
    *,
    own_addresses: tuple[str, ...],
    in_use_here: Mapping[tuple[str, str], str],
) -> None:
    """Refuse if any disk has a watcher that is not blocked.

    This guest has no process on this node (the hypervisor was just asked), and no other guest here
    uses the disk: a watcher with one of this node's own storage addresses is a QEMU that is dead.
    Its address is blocked first, so that nothing it has sent is written late.

    Raises:
        PrereqError: with who has which disk open.
    """
    blocked = world.pools.blocklist()
    for disk in domain.disks:
        for address in world.images.watchers(disk.pool, disk.image):
            if is_blocked(address, blocked):
                continue
            user = in_use_here.get((disk.pool, disk.image))
            if user is not None:
                raise PrereqError(f"disk {disk.name} is in use by guest {user} on this node")
            if _host(address) not in own_addresses:
                raise PrereqError(
                    f"disk {disk.name} ({disk.pool}/{disk.image}) is open by {address}; it starts "
                    "when that client is gone or known to be dead"
                )
            world.pools.block(address, DEAD_CLIENT_S)
            world.journal.event("client_blocked", address=address, disk=f"{disk.pool}/{disk.image}")


def check_unused(world: World, disk: DiskAttachment) -> None:
    """Refuse to plug a disk into a running guest while anybody has it open.

    A volume that moves from guest to guest has two for a while, and both would write. Nobody is taken
    for dead here: the other one may be a guest of this node that is just letting go.

    Raises:
        PrereqError: with who has it open.
    """
    blocked = world.pools.blocklist()
    users = [a for a in world.images.watchers(disk.pool, disk.image) if not is_blocked(a, blocked)]
    if users:
        raise PrereqError(
            f"disk {disk.name} ({disk.pool}/{disk.image}) is open by {', '.join(users)}; it is "
            "plugged in when that guest has let go of it"
        )


def is_blocked(address: str, blocked: frozenset[str]) -> bool:
    """By its exact address, or as one of all clients of a host."""
    return address in blocked or f"{_host(address)}:0/0" in blocked


def _host(address: str) -> str:
    return address.rpartition(":")[0]
