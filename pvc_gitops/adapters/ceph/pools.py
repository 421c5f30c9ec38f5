"""The Pools port: the Ceph cluster's health, our pools, the blocklist, by monitor commands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import rbd

from pvc_gitops.adapters.ceph import answers
from pvc_gitops.adapters.ceph.cluster import Cluster, Ioctx
from pvc_gitops.errors import PoolError
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.inventory import PoolFacts
from pvc_gitops.world.ports import CephStatus

GUESTS: Final = "client.pvc"  # as whom guests' disks are opened
PGS_DEFAULT: Final = 16  # a small pool on few OSDs; Ceph's own 32 is too many for three small OSDs
# Two nodes may widen the rights of GUESTS at the same time, and each write is of the whole list: it
# is read again until it holds what it should.
CAPS_ROUNDS_MAX: Final = 5


class RadosPools:
    """Implements `world.ports.Pools`. The connection must be one that may make pools and give rights:
    client.admin. That of GUESTS may not."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def status(self) -> CephStatus:
        return answers.status(self._cluster.command("ask", "ceph", "status"))

    def pools(self) -> Mapping[str, PoolFacts]:
        return answers.pools(self._listed())

    def create_pool(self, name: str, *, copies: int, min_copies: int, pgs: int) -> None:
        # The application is what makes a pool ours and visible; `pool_init` sets it last, so that an
        # interrupted call shows no pool and the next one goes over the same steps.
        if name not in {pool["pool_name"] for pool in self._listed()}:
            count = pgs if pgs > 0 else PGS_DEFAULT
            self._cluster.command(
                "create pool",
                name,
                "osd pool create",
                pool=name,
                pg_num=count,
                pgp_num=count,
                pool_type="replicated",
                autoscale_mode="off",
            )
        self.update_pool(name, copies=copies, min_copies=min_copies)
        self._grant(name)
        if name not in self.pools():
            self._cluster.in_pool("initialise", name, "", lambda io: rbd.RBD().pool_init(io, False))
            self._grant(name)

    def update_pool(self, name: str, *, copies: int, min_copies: int) -> None:
        # `size` sets `min_size` anew, by Ceph's default: so it goes first, and then one looks again.
        for key, value in (("size", copies), ("min_size", min_copies)):
            listed = next((pool for pool in self._listed() if pool["pool_name"] == name), None)
            if listed is None:
                raise PoolError("update pool", name, "there is no such pool", retryable=False)
            if listed[key] != value:
                self._set(name, key, value)

    def delete_pool(self, name: str) -> None:
        if name not in {pool["pool_name"] for pool in self._listed()}:
            return
        self._cluster.in_pool("delete pool", name, "", lambda io: _refuse_data(io, name))
        with self._allowed("mon_allow_pool_delete"):
            self._cluster.command(
                "delete pool",
                name,
                "osd pool delete",
                pool=name,
                pool2=name,
                yes_i_really_really_mean_it=True,
            )

    def blocklist(self) -> frozenset[str]:
        return answers.blocklist(self._cluster.command("list", "blocklist", "osd blocklist ls"))

    def block(self, address: str, seconds: int) -> None:
        self._cluster.command(
            "block",
            address,
            "osd blocklist",
            blocklistop="add",
            addr=address,
            expire=float(seconds),
        )

    def unblock(self, address: str) -> None:
        if address in self.blocklist():
            self._cluster.command(
                "unblock", address, "osd blocklist", blocklistop="rm", addr=address
            )

    def mark_down(self, node: NodeName) -> None:
        tree = self._cluster.command("list", "osds", "osd tree")
        ids = answers.osds_of(tree, node)
        if ids:
            self._cluster.command("mark down", node, "osd down", ids=[str(each) for each in ids])

    def _listed(self) -> list[Mapping[str, Any]]:
        return list(self._cluster.command("list", "pools", "osd pool ls", detail="detail"))

    def _set(self, pool: str, key: str, value: int) -> None:
        # Ceph wants a word and a setting for a single copy; the plan has said what that means.
        word: dict[str, bool] = {}
        setting: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if (key, value) == ("size", 1):
            word, setting = {"yes_i_really_mean_it": True}, self._allowed("mon_allow_pool_size_one")
        with setting:
            self._cluster.command(
                f"set {key} of", pool, "osd pool set", pool=pool, var=key, val=str(value), **word
            )

    @contextlib.contextmanager
    def _allowed(self, setting: str) -> Iterator[None]:
        """Something that Ceph forbids, for this one act: nobody else does it by a slip."""
        self._cluster.command("allow", setting, "config set", who="mon", name=setting, value="true")
        try:
            yield
        finally:
            self._cluster.command("forbid", setting, "config rm", who="mon", name=setting)

    def _grant(self, name: str) -> None:
        for _ in range(CAPS_ROUNDS_MAX):
            wanted = {*self.pools(), name}
            held = self._cluster.command("read", GUESTS, "auth get", entity=GUESTS)
            if wanted <= answers.granted_pools(held):
                return
            self._cluster.command(
                "widen the rights of", GUESTS, "auth caps", entity=GUESTS, caps=answers.caps(wanted)
            )
        raise PoolError(
            "widen the rights of", GUESTS, "another node keeps changing them", retryable=True
        )


def _refuse_data(ioctx: Ioctx, pool: str) -> None:
    """A pool takes its images and its trash with it (DESIGN D6)."""
    images = len(rbd.RBD().list(ioctx))
    trash = len(list(rbd.RBD().trash_list(ioctx)))
    if images or trash:
        raise PoolError(
            "delete pool",
            pool,
            f"it holds {images} images and {trash} in the trash; they go first",
            retryable=False,
        )
