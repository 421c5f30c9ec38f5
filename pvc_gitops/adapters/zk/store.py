"""`ZooKeeperStore`: the store of the real world. Nothing of kazoo travels further inward than here."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from kazoo.exceptions import (
    ConnectionLoss,
    KazooException,
    NodeExistsError,
    NoNodeError,
    SessionExpiredError,
)

from pvc_gitops.adapters.zk import commit as transactions
from pvc_gitops.adapters.zk.cache import Cache, Listing
from pvc_gitops.adapters.zk.election import Candidacy
from pvc_gitops.adapters.zk.ensemble import CONFIG, Ensemble, counted
from pvc_gitops.adapters.zk.records import dump, parse
from pvc_gitops.adapters.zk.session import Session
from pvc_gitops.errors import StoreConflict, StoreError, StoreUnavailable
from pvc_gitops.model import paths
from pvc_gitops.model.ids import NodeName
from pvc_gitops.world.ports import Check, Leadership, Op, Put, Quorum, Stamped

# After a lost answer: time to find another server and, if the leading one died, for a new one to lead.
RECONNECT_S: Final = 10.0
_LOST: Final = (ConnectionLoss, SessionExpiredError)


class ZooKeeperStore:
    """See world.ports.Store. Methods may be called from several threads."""

    def __init__(
        self, servers: Sequence[str], *, user: str, password: str, wake: Callable[[], None]
    ) -> None:
        self._cache = Cache(wake)
        self._session = Session(servers, user, password, self._cache.disturbed)
        self._ensemble = Ensemble(servers, self._counted)
        # One callable a path: kazoo keeps watches in sets, so watching again adds nothing.
        self._told: dict[str, Callable[[object], None]] = {}
        self._candidacies: dict[str, Candidacy] = {}
        self._lock = threading.RLock()  # one election at a time

    def close(self) -> None:
        """End the session: candidacies are gone at once."""
        self._session.close()

    def wait(self, limit_s: float) -> bool:
        """Whether a session stands, at the latest after the limit."""
        return self._session.wait(limit_s)

    def is_connected(self) -> bool:
        return self._session.is_connected

    def quorum(self) -> Quorum:
        return self._ensemble.quorum()

    def _counted(self) -> tuple[str, ...] | None:
        if not self.is_connected():
            return None
        try:
            client = self._session.client("read", CONFIG)
            data, _ = self._call(client.get_async(CONFIG), "read", CONFIG)
        except (StoreError, NoNodeError):
            return None
        return counted(data.decode())

    # --- reading ---

    def read(self, path: str) -> Stamped | None:
        prefix, _, name = path.rpartition("/")
        for watched in (path, prefix):
            if watched in self._cache.watched():
                listing = self._listing(watched)
                return listing.own if watched == path else listing.below.get(name)
        found = self._look(path)
        return None if found is None else found[0]

    def read_children(self, path: str) -> Mapping[str, Stamped]:
        if path in self._cache.watched():
            return self._listing(path).below
        return self._list(path, watch=None).below

    def sync(self) -> None:
        client = self._session.client("sync", paths.ROOT)
        self._call(client.sync_async(paths.ROOT), "sync", paths.ROOT)
        self._cache.synced()

    def watch(self, prefix: str) -> None:
        self._told.setdefault(prefix, partial(self._on_event, prefix))
        self._cache.add(prefix)

    def _listing(self, prefix: str) -> Listing:
        known = self._cache.listing(prefix)
        if known is not None and self.is_connected():
            return known
        mark = self._cache.mark(prefix)
        listing = self._list(prefix, watch=self._told[prefix])
        self._cache.keep(prefix, listing, mark)
        return listing

    def _on_event(self, prefix: str, _event: object) -> None:
        self._cache.changed(prefix)

    def _list(self, path: str, watch: Callable[[object], None] | None) -> Listing:
        client = self._session.client("list", path)
        began_s = time.monotonic()
        own = self._fetch(client, path, watch)
        try:
            names = self._call(client.get_children_async(path, watch=watch), "list", path)
        except NoNodeError:
            names = []
        # All are asked for before the first answer is waited for.
        asked = [(name, client.get_async(f"{path}/{name}", watch=watch)) for name in sorted(names)]
        below: dict[str, Stamped] = {}
        for name, answer in asked:
            try:
                data, stat = self._call(answer, "read", f"{path}/{name}")
            except NoNodeError:
                continue  # gone since
            below[name] = _stamped(f"{path}/{name}", data, stat.version)[0]
        return Listing(own=own, below=below, listed_at_s=began_s)

    def _fetch(
        self,
        client: Any,  # noqa: ANN401
        path: str,
        watch: Callable[[object], None] | None,
    ) -> Stamped | None:
        try:
            data, stat = self._call(client.get_async(path, watch=watch), "read", path)
        except NoNodeError:
            if watch is not None:  # an absent record has no data watch; this one tells of its birth
                self._call(client.exists_async(path, watch=watch), "read", path)
            return None
        return _stamped(path, data, stat.version)[0]

    def _look(self, path: str) -> tuple[Stamped, str | None] | None:
        client = self._session.client("read", path)
        try:
            data, stat = self._call(client.get_async(path), "read", path)
        except NoNodeError:
            return None
        return _stamped(path, data, stat.version)

    def _call(self, answer: Any, operation: str, path: str) -> Any:  # noqa: ANN401
        try:
            return self._session.get(answer, operation, path)
        except (NoNodeError, NodeExistsError):
            raise
        except _LOST as err:
            raise StoreUnavailable(operation, path, "the connection was lost") from err
        except KazooException as err:
            raise StoreError(operation, path, repr(err), retryable=False) from err

    # --- writing ---

    def commit(self, ops: Sequence[Op]) -> None:
        if not ops:
            return
        client = self._session.client("commit", ops[0].path)
        nonce = uuid.uuid4().hex
        transaction = client.transaction()
        transactions.build(transaction, ops, nonce)
        try:
            results = self._call(transaction.commit_async(), "commit", ops[0].path)
        except StoreUnavailable:
            self._resolve(ops, nonce)
        else:
            transactions.judge(ops, results)
        finally:
            for op in ops:
                self._cache.wrote(op.path)

    def _resolve(self, ops: Sequence[Op], nonce: str) -> None:
        if not self._session.wait(RECONNECT_S):
            raise StoreUnavailable(
                "commit", ops[0].path, "the connection was lost before the answer came"
            )
        self.sync()
        transactions.learn(ops, nonce, self._look)

    # --- leading ---

    def lead(self, role: str, node: NodeName) -> Leadership | None:
        with self._lock:
            if not self.is_connected():
                return None
            candidacy = self._candidacies.setdefault(role, Candidacy.of(role, node))
            self.watch(paths.election(role))
            is_first = candidacy.place(self._candidates(role))
            if candidacy.name is None:
                self._stand(candidacy, node)
                is_first = candidacy.place(self._candidates(role))
            if not is_first:
                return None
            return candidacy.leadership or self._rise(candidacy)

    def resign(self, role: str) -> None:
        with self._lock:
            candidacy = self._candidacies.get(role)
            if candidacy is None:
                return
            for name in self._candidates(role):
                if name.startswith(candidacy.mark):
                    self._take_back(f"{paths.election(role)}/{name}")
            # Only now: what is left of it would stand before whatever we stand with later.
            del self._candidacies[role]

    def _take_back(self, path: str) -> None:
        try:
            self._call(self._session.client("resign", path).delete_async(path), "resign", path)
        except NoNodeError:
            return  # its session ended meanwhile
        finally:
            self._cache.wrote(path)

    def _candidates(self, role: str) -> tuple[str, ...]:
        return tuple(self.read_children(paths.election(role)))

    def _stand(self, candidacy: Candidacy, node: NodeName) -> None:
        parent = paths.election(candidacy.role)
        client = self._session.client("stand", parent)
        self._ensure(client, parent)
        value = dump({"node": node}, uuid.uuid4().hex)
        made = client.create_async(candidacy.prefix, value, ephemeral=True, sequence=True)
        self._call(made, "stand", candidacy.prefix)
        self._cache.wrote(candidacy.prefix)

    def _rise(self, candidacy: Candidacy) -> Leadership | None:
        """Raise the role's epoch, once for this candidacy. None where another was first."""
        path = paths.epoch(candidacy.role)
        client = self._session.client("lead", path)
        self._ensure(client, path)
        found = self._look(path)
        if found is None:
            return None
        before = found[0].version
        own = Check(path=candidacy.path, version=0)
        value = {"candidate": candidacy.name}
        try:
            self.commit([own, Put(path=path, value=value, version=before)])
        except StoreConflict:
            return None  # the next tick looks again
        return candidacy.won(before + 1)

    def _ensure(self, client: Any, path: str) -> None:  # noqa: ANN401
        try:
            self._call(client.create_async(path, b"{}"), "create", path)
        except NodeExistsError:
            return


def _stamped(path: str, data: bytes, version: int) -> tuple[Stamped, str | None]:
    try:
        value, nonce = parse(data)
    except ValueError as err:
        raise StoreError("read", path, f"not a record of ours: {err}", retryable=False) from err
    return Stamped(value=value, version=version), nonce
