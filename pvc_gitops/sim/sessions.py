"""When ZooKeeper ends the session of a client that is silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pvc_gitops.sim.store import SESSION_S, Client

if TYPE_CHECKING:
    from pvc_gitops.sim.cluster import SimCluster


def end_session(cluster: SimCluster, client: Client, *, is_gone: Callable[[], bool]) -> None:
    """End it a session's time from now, if the client is gone then.

    It is a transaction, so only a quorum can do it; one that is new does so within that time.
    """

    def look() -> None:
        if not is_gone():
            return
        if cluster.is_electing() or not cluster.has_quorum():
            cluster.kernel.after(SESSION_S, look)
        else:
            client.expire()

    cluster.kernel.after(SESSION_S, look)
