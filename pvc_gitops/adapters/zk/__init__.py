"""ZooKeeper through kazoo: `ZooKeeperStore` implements world.ports.Store."""

from __future__ import annotations

from pvc_gitops.adapters.zk.store import ZooKeeperStore

__all__ = ["ZooKeeperStore"]
