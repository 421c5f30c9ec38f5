"""Ceph in memory: pools, images with watchers, snapshots, trash, a blocklist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pvc_gitops.errors import DownloadError, PoolError
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.inventory import ImageFacts, PoolFacts, TrashFacts
from pvc_gitops.model.values import replace
from pvc_gitops.sim.kernel import Kernel
from pvc_gitops.sim.process import Process
from pvc_gitops.world.ports import CephStatus

WATCHER_LINGERS_S: Final = 28.0  # a killed QEMU stays a watcher for 26 to 28 s (measured)
IMPORTED_MIB: Final = 32  # the example's guest image
PGS_DEFAULT: Final = 32


@dataclass(slots=True)
class Ceph:
    """The cluster's storage. `osds` are those of the nodes that are up and declared."""

    kernel: Kernel
    osds: Callable[[], tuple[int, int]]
    now_s: Callable[[], int]
    pools: dict[str, PoolFacts] = field(default_factory=dict)
    images: dict[tuple[str, str], ImageFacts] = field(default_factory=dict)
    trash: dict[str, tuple[TrashFacts, ...]] = field(default_factory=dict)
    trashed: dict[str, ImageFacts] = field(default_factory=dict)
    watchers: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    blocklist: set[str] = field(default_factory=set)
    bad_urls: set[str] = field(default_factory=set)  # whose checksum does not match
    on_block: Callable[[], None] = lambda: None  # who may write has changed
    is_up: bool = True  # do monitors and OSDs answer at all?
    delay_s: float = 0.0  # so much longer than usual they take
    next_nonce: int = 1000
    next_trash: int = 1

    def open(self, pool: str, image: str, address: str) -> None:
        if (pool, image) not in self.images:
            raise PoolError("open", f"{pool}/{image}", "no such image", retryable=False)
        if self.is_blocked(address):
            raise PoolError("open", f"{pool}/{image}", f"{address} is blocked", retryable=True)
        self.watchers.setdefault((pool, image), set()).add(address)

    def close(self, address: str, *, is_clean: bool) -> None:
        """A client is gone: at once, or when Ceph notices."""
        if is_clean:
            self._drop(address)
        else:
            self.kernel.after(WATCHER_LINGERS_S, lambda: self._drop(address))

    def is_blocked(self, address: str) -> bool:
        """Itself, or as one of all clients of a host."""
        return address in self.blocklist or f"{_host(address)}:0/0" in self.blocklist

    def block(self, entry: str) -> None:
        """What is blocked writes no more, and is dropped as a watcher at once."""
        self.blocklist.add(entry)
        for addresses in self.watchers.values():
            addresses -= {each for each in addresses if self.is_blocked(each)}
        self.on_block()

    def unblock(self, entry: str) -> None:
        self.blocklist.discard(entry)
        self.on_block()

    def _drop(self, address: str) -> None:
        for addresses in self.watchers.values():
            addresses.discard(address)

    def nonce(self) -> int:
        self.next_nonce += 1
        return self.next_nonce


@dataclass(slots=True)
class CephPort:
    """One process's view of Ceph: the Pools and the Images port."""

    ceph: Ceph
    process: Process
    can_reach: Callable[[], bool]

    # --- pools ---

    def status(self) -> CephStatus:
        self._reach("status", "ceph")
        up, total = self.ceph.osds()
        checks = () if up == total else (f"{total - up} osds down",)
        return CephStatus(
            health="HEALTH_OK" if up == total else "HEALTH_WARN",
            checks=checks,
            osds_up=up,
            osds_total=total,
            used_ratio=0.1,
        )

    def pools(self) -> dict[str, PoolFacts]:
        self._reach("list", "pools")
        return dict(self.ceph.pools)

    def create_pool(self, name: str, *, copies: int, min_copies: int, pgs: int) -> None:
        self._write("create", name)
        self.ceph.pools.setdefault(
            name, PoolFacts(copies=copies, min_copies=min_copies, pgs=pgs or PGS_DEFAULT)
        )

    def update_pool(self, name: str, *, copies: int, min_copies: int) -> None:
        self._write("update", name)
        self.ceph.pools[name] = replace(self.ceph.pools[name], copies=copies, min_copies=min_copies)

    def delete_pool(self, name: str) -> None:
        self._write("delete", name)
        self.ceph.pools.pop(name, None)

    def blocklist(self) -> frozenset[str]:
        self._reach("list", "blocklist")
        return frozenset(self.ceph.blocklist)

    def block(self, address: str, seconds: int) -> None:
        del seconds
        self._write("block", address)
        self.ceph.block(address)

    def unblock(self, address: str) -> None:
        self._write("unblock", address)
        self.ceph.unblock(address)

    def mark_down(self, node: NodeName) -> None:
        self._write("mark down", node)

    # --- images ---

    def images(self, pool: str) -> dict[str, ImageFacts]:
        self._reach("list", pool)
        return {name: facts for (p, name), facts in self.ceph.images.items() if p == pool}

    def trash(self, pool: str) -> tuple[TrashFacts, ...]:
        self._reach("list", f"{pool} trash")
        return self.ceph.trash.get(pool, ())

    def watchers(self, pool: str, image: str) -> tuple[str, ...]:
        self._reach("watchers", f"{pool}/{image}")
        if (pool, image) not in self.ceph.images:
            raise PoolError("watchers", f"{pool}/{image}", "no such image", retryable=False)
        return tuple(sorted(self.ceph.watchers.get((pool, image), ())))

    def create(self, pool: str, image: str, size_mib: int) -> None:
        self._write("create", f"{pool}/{image}")
        self._new(pool, image, ImageFacts(size_mib=size_mib, parent=None, snapshots=()))

    def clone(self, parent: tuple[str, str, str], pool: str, image: str, size_mib: int) -> None:
        self._write("clone", f"{pool}/{image}")
        name = f"{parent[0]}/{parent[1]}@{parent[2]}"
        source = self.ceph.images.get((parent[0], parent[1]))
        if source is None or parent[2] not in source.snapshots:
            raise PoolError("clone", name, "no such snapshot", retryable=False)
        size_mib = max(size_mib, source.size_mib)
        self._new(pool, image, ImageFacts(size_mib=size_mib, parent=name, snapshots=()))

    def grow(self, pool: str, image: str, size_mib: int) -> None:
        self._write("grow", f"{pool}/{image}")
        facts = self.ceph.images[pool, image]
        self.ceph.images[pool, image] = replace(facts, size_mib=max(size_mib, facts.size_mib))

    def import_url(
        self,
        url: str,
        *,
        checksum: str,
        image_format: str,
        pool: str,
        image: str,
        progress: Callable[[float], None],
    ) -> None:
        del image_format
        self._reach("import", url)
        if url in self.ceph.bad_urls:
            raise DownloadError(
                "import", url, f"its checksum is not {checksum}; nothing was kept", retryable=False
            )
        progress(0.5)
        self.process.spend()  # the temporary image
        self.process.spend()  # the rename: the first moment at which it is seen
        if (pool, image) not in self.ceph.images:
            facts = ImageFacts(size_mib=IMPORTED_MIB, parent=None, snapshots=("base",))
            self._new(pool, image, facts)

    def trash_move(self, pool: str, image: str, keep_s: int) -> None:
        self._write("trash", f"{pool}/{image}")
        facts = self.ceph.images.pop((pool, image))
        name = f"{self.ceph.next_trash:x}"
        self.ceph.next_trash += 1
        self.ceph.trashed[name] = facts
        entry = TrashFacts(id=name, name=image, until_s=self.ceph.now_s() + keep_s)
        self.ceph.trash[pool] = (*self.ceph.trash.get(pool, ()), entry)

    def trash_restore(self, pool: str, trash_id: str, image: str) -> None:
        self._write("restore", f"{pool}/{image}")
        kept = self.ceph.trash.get(pool, ())
        if all(entry.id != trash_id for entry in kept):
            raise PoolError("restore", f"{pool} trash {trash_id}", "not there", retryable=False)
        self._new(pool, image, self.ceph.trashed.pop(trash_id))
        self.ceph.trash[pool] = tuple(entry for entry in kept if entry.id != trash_id)

    def trash_purge(self, pool: str, trash_id: str) -> None:
        self._write("purge", f"{pool} trash {trash_id}")
        kept = self.ceph.trash.get(pool, ())
        if any(e.id == trash_id and e.until_s > self.ceph.now_s() for e in kept):
            raise PoolError("purge", f"{pool} trash {trash_id}", "too early", retryable=True)
        self.ceph.trashed.pop(trash_id, None)
        self.ceph.trash[pool] = tuple(entry for entry in kept if entry.id != trash_id)

    def delete_image(self, pool: str, image: str) -> None:
        self._write("delete", f"{pool}/{image}")
        prefix = f"{pool}/{image}@"
        if any(f.parent and f.parent.startswith(prefix) for f in self.ceph.images.values()):
            raise PoolError("delete", f"{pool}/{image}", "has clones", retryable=False)
        self.ceph.images.pop((pool, image), None)

    # --- parts ---

    def _new(self, pool: str, image: str, facts: ImageFacts) -> None:
        if pool not in self.ceph.pools:
            raise PoolError("create", f"{pool}/{image}", "no such pool", retryable=False)
        if (pool, image) in self.ceph.images:
            raise PoolError("create", f"{pool}/{image}", "exists already", retryable=False)
        self.ceph.images[pool, image] = facts

    def _reach(self, operation: str, target: str) -> None:
        if not self.can_reach():
            raise PoolError(operation, target, "the monitors do not answer", retryable=True)

    def _write(self, operation: str, target: str) -> None:
        self._reach(operation, target)
        self.process.spend()
        self._reach(operation, target)  # it may have stood still meanwhile


def _host(address: str) -> str:
    return address.rpartition(":")[0]
