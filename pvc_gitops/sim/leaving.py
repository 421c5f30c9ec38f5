"""A simulated machine that goes down in order, as its systemd would let it."""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.inventory import GuestState
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.hardware import SHUTDOWN_S
from pvc_gitops.sim.node import SimNode

LOOK_S: Final = 0.5
GUESTS_S: Final = 90.0  # then whoever still runs is ended: a machine does go down
GUARD_S: Final = 30.0


def shut_down(cluster: SimCluster, name: NodeName, *, comes_back: bool) -> None:
    """Our processes end, guests are asked to power off, the guard says that none is left, the power goes.

    The machine keeps its mains: its BMC, or `power NODE on`, switches it on again.
    """
    node = cluster.nodes[name]
    if not node.is_up or node.is_paused or node.is_leaving:
        return
    node.is_leaving = True
    for process in node.processes():
        client = node.clients.get(process.name)
        process.die()
        if client is not None and cluster.reaches_store(name):
            client.expire()  # it said goodbye
    for guest in sorted(node.guests.domains):
        _ask(cluster, node, guest)
    _look(cluster, node, node.guard.boot_id, cluster.kernel.now_s, comes_back=comes_back)


def _ask(cluster: SimCluster, node: SimNode, guest: str) -> None:
    each = node.guests.domains[guest]
    each.state = GuestState.STOPPING

    def off() -> None:
        if node.guests.domains.get(guest) is each:
            node.guests.end(guest, is_clean=True)

    is_deaf = node.guests.deaf_to_stops.get(guest, 0) > 0
    cluster.kernel.after(GUESTS_S if is_deaf else SHUTDOWN_S, off)


def _look(
    cluster: SimCluster, node: SimNode, boot_id: str, since_s: float, *, comes_back: bool
) -> None:
    if node.guard.boot_id != boot_id:
        return  # something else ended this boot
    waited_s = cluster.kernel.now_s - since_s
    if not node.guests.domains:
        node.guard.shut_down()
    if node.guard.has_left() or waited_s > GUESTS_S + GUARD_S:
        if comes_back:
            cluster.reset(node.name, "it reboots")
        else:
            cluster.switch(node.name, on=False)
        return
    cluster.kernel.after(
        LOOK_S, lambda: _look(cluster, node, boot_id, since_s, comes_back=comes_back)
    )
