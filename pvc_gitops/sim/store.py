"""ZooKeeper in memory: versions, sessions, ephemerals, watches, linearizable transactions.

One tree for the cluster. A client belongs to one process; whether it reaches the tree is decided by
the hardware. Values are kept as they are handed in: nobody changes a record that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pvc_gitops.errors import StoreConflict, StoreUnavailable
from pvc_gitops.model import paths
from pvc_gitops.model.ids import NodeName
from pvc_gitops.world.ports import (
    Check,
    Create,
    Delete,
    Json,
    Leadership,
    Op,
    Put,
    Quorum,
    Stamped,
)

if TYPE_CHECKING:
    from pvc_gitops.sim.process import Process

# A session outlives its client for this long: what formation renders for ZooKeeper (tickTime 500).
SESSION_S: Final = 4.0


@dataclass(slots=True)
class Tree:
    """The records, and who wants to know of changes."""

    records: dict[str, Stamped] = field(default_factory=dict)
    children: dict[str, set[str]] = field(default_factory=dict)
    # A dict as a set that keeps its order: the same run wakes processes in the same order.
    watchers: dict[str, dict[Client, None]] = field(default_factory=dict)
    sequence: int = 0
    writes: int = 0

    def check(self, ops: Sequence[Op]) -> None:
        """Raise StoreConflict unless all of them can be done, one after the other."""
        made: dict[str, int | None] = {}
        for op in ops:
            have = self.records.get(op.path)
            version = made.get(op.path, None if have is None else have.version)
            match op:
                case Check():
                    if version != op.version:
                        raise StoreConflict(op.path, f"is version {version}, not {op.version}")
                case Create():
                    parent = op.path.rpartition("/")[0]
                    if version is not None:
                        raise StoreConflict(op.path, "exists already")
                    if parent and parent not in self.records and parent not in made:
                        raise StoreConflict(op.path, "has no parent")
                    made[op.path] = 0
                case Put():
                    if version is None or version != op.version:
                        raise StoreConflict(op.path, f"is version {version}, not {op.version}")
                    made[op.path] = version + 1
                case Delete():
                    if version is None or version != op.version:
                        raise StoreConflict(op.path, f"is version {version}, not {op.version}")
                    made[op.path] = None

    def apply(self, ops: Sequence[Op]) -> None:
        """Do them all; they were checked."""
        for op in ops:
            match op:
                case Create():
                    self._set(op.path, Stamped(value=op.value, version=0))
                    parent, _, name = op.path.rpartition("/")
                    self.children.setdefault(parent, set()).add(name)
                case Put():
                    self._set(op.path, Stamped(value=op.value, version=op.version + 1))
                case Delete():
                    self.remove(op.path)
                case Check():
                    pass

    def _set(self, path: str, value: Stamped) -> None:
        self.records[path] = value
        self.writes += 1
        self.changed(path)

    def remove(self, path: str) -> None:
        if self.records.pop(path, None) is None:
            return
        parent, _, name = path.rpartition("/")
        self.children.get(parent, set()).discard(name)
        self.writes += 1
        self.changed(path)

    def changed(self, path: str) -> None:
        """Wake whoever watches the record or what is above it."""
        for prefix in (path, path.rpartition("/")[0]):
            for client in tuple(self.watchers.get(prefix, ())):
                client.wake()


@dataclass(slots=True, eq=False)
class Client:
    """One process's connection: the Store port."""

    tree: Tree
    process: Process
    can_reach: Callable[[], bool]
    quorum_now: Callable[[], Quorum]
    on_commit: Callable[[Sequence[Op]], None]  # the checkers look at what is accepted
    delay_s: Callable[[], float] = lambda: 0.0  # how long its server lets it wait for a write
    is_pinged: Callable[[], bool] = lambda: False  # by a server that can do nothing else
    ephemerals: set[str] = field(default_factory=set)
    candidacies: dict[str, tuple[str, int]] = field(default_factory=dict)
    prefixes: set[str] = field(default_factory=set)
    is_expired: bool = False
    is_ambiguous: bool = False  # the answer to the next write is lost
    stale: tuple[dict[str, Stamped], dict[str, set[str]]] | None = None

    # --- the port ---

    def read(self, path: str) -> Stamped | None:
        self._reach("read", path)
        return self._records().get(path)

    def read_children(self, path: str) -> Mapping[str, Stamped]:
        self._reach("read", path)
        records = self._records()
        names = self.stale[1] if self.stale else self.tree.children
        return {name: records[f"{path}/{name}"] for name in sorted(names.get(path, ()))}

    def commit(self, ops: Sequence[Op]) -> None:
        self._reach("commit", ops[0].path)
        self.process.spend()
        self.process.block(self.delay_s())
        self._reach("commit", ops[0].path)  # it may have stood still meanwhile
        self.tree.check(ops)
        self.on_commit(ops)
        self.tree.apply(ops)
        self.ephemerals.update(op.path for op in ops if isinstance(op, Create) and op.is_ephemeral)
        if self.is_ambiguous:
            self.is_ambiguous = False
            raise StoreUnavailable("commit", ops[0].path, "the answer was lost")

    def sync(self) -> None:
        self._reach("sync", paths.ROOT)
        self.process.block(self.delay_s())
        self.stale = None

    def is_connected(self) -> bool:
        return self.can_reach() or self.is_pinged()

    def lead(self, role: str, node: NodeName) -> Leadership | None:
        if not self.can_reach():
            return None
        if self.is_expired:
            self.is_expired = False
            self.candidacies.clear()
        if role not in self.candidacies:
            self._stand(role, node)
        path, epoch = self.candidacies[role]
        queue = self.tree.children.get(paths.election(role), set())
        if path.rpartition("/")[2] != min(queue, default=""):
            return None
        if epoch < 0:
            self.process.spend()
            self._reach("lead", paths.epoch(role))
            if path not in self.tree.records:
                return None  # it stood still, and its session ended meanwhile
            before = self.tree.records[paths.epoch(role)]
            self.tree.apply(
                (Put(path=paths.epoch(role), value={"leader": node}, version=before.version),)
            )
            epoch = before.version + 1
            self.candidacies[role] = (path, epoch)
        return Leadership(
            role=role,
            epoch=epoch,
            checks=(
                Check(path=path, version=0),
                Check(path=paths.epoch(role), version=epoch),
            ),
        )

    def resign(self, role: str) -> None:
        if role not in self.candidacies:
            return
        self.process.spend()
        self._reach("resign", paths.election(role))
        path, _ = self.candidacies.pop(role)
        if path in self.ephemerals:
            self.ephemerals.discard(path)
            self.tree.remove(path)

    def watch(self, prefix: str) -> None:
        self.prefixes.add(prefix)
        self.tree.watchers.setdefault(prefix, {})[self] = None

    def quorum(self) -> Quorum:
        return self.quorum_now()

    # --- what happens to it ---

    def wake(self) -> None:
        if self.can_reach():
            self.process.wake()

    def expire(self) -> None:
        """The session is over: its ephemerals go."""
        self.is_expired = True
        for path in sorted(self.ephemerals):
            self.tree.remove(path)
        self.ephemerals.clear()

    def close(self) -> None:
        """The process is gone; its session is not, yet."""
        for prefix in sorted(self.prefixes):
            self.tree.watchers[prefix].pop(self, None)
        self.prefixes.clear()

    def make_stale(self) -> None:
        """From now on reads show what is there now, until a sync."""
        self.stale = (
            dict(self.tree.records),
            {path: set(names) for path, names in self.tree.children.items()},
        )

    def _stand(self, role: str, node: NodeName) -> None:
        self.process.spend()
        self._reach("stand", paths.election(role))
        if self.is_expired:
            raise StoreUnavailable("stand", paths.election(role), "the session is over")
        self.tree.sequence += 1
        path = f"{paths.election(role)}/{self.tree.sequence:010d}"
        value: Json = {"node": node}
        self.tree.apply((Create(path=path, value=value, is_ephemeral=True),))
        self.ephemerals.add(path)
        self.candidacies[role] = (path, -1)
        self.watch(paths.election(role))

    def _records(self) -> Mapping[str, Stamped]:
        return self.stale[0] if self.stale else self.tree.records

    def _reach(self, operation: str, path: str) -> None:
        if not self.can_reach():
            raise StoreUnavailable(operation, path, "not connected")
