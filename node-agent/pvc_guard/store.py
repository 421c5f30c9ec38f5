"""The guard's connections to ZooKeeper: the first to its own server, the second to another.

Nothing here waits on the deciding thread: heartbeats are sent asynchronously, the rare writes by one
worker; every answer is told as a `lease` event to be stamped with the time at which it is taken up. The
records are JSON as `IncarnationRecord` and `Heartbeat` of the product's model; a test holds the two
together, since the guard imports nothing but kazoo.

About kazoo 2.9 (tried): a refused login shows as CONNECTED, then LOST for ever, and calls under way may
never be answered. So every wait has a limit, and a client that stays LOST is made anew.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import BadVersionError, KazooException, NodeExistsError, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.security import make_acl

from pvc_guard import lease
from pvc_guard.lease import Via

Tell = Callable[[Callable[..., lease.Event]], None]  # takes an event that lacks its now_s

# No ephemeral hangs on these sessions. With a short one kazoo notices a silent server in 2.7 s (2/3).
SESSION_S: Final = 4.0
CALL_S: Final = 2.0  # of the worker; a healthy ensemble answers in 20 ms
POLL_S: Final = 0.05  # of the worker while no connection stands: at its start, or with no server
LOST_S: Final = 5.0  # then the client is made anew
HOLD: Final = "/pvc/ha/hold"
RECONNECT: Final = {"max_tries": -1, "delay": 0.1, "backoff": 2, "max_delay": 0.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """The account of the processes of the nodes."""

    user: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Me:
    """What the incarnation record says of this node."""

    name: str
    boot_id: str
    watchdog: str | None
    watchdog_s: float | None
    storage_addresses: tuple[str, ...]


class Connection:
    """One client, to some of the servers, made anew when it stays lost."""

    def __init__(self, servers: tuple[str, ...], login: Login) -> None:
        self._servers = servers
        self._login = login
        self._lost_since_s = time.monotonic()
        self._client = self._connect()

    def client(self) -> Any | None:  # noqa: ANN401  kazoo has no types
        """The client while it is connected, else None."""
        if self._client.state == KazooState.CONNECTED:
            self._lost_since_s = time.monotonic()
            return self._client
        if (
            self._client.state == KazooState.LOST
            and time.monotonic() - self._lost_since_s >= LOST_S
        ):
            threading.Thread(target=_stop, args=(self._client,), daemon=True).start()
            self._lost_since_s = time.monotonic()
            self._client = self._connect()
        return None

    def _connect(self) -> Any:  # noqa: ANN401
        client = KazooClient(
            hosts=",".join(self._servers),
            timeout=SESSION_S,
            connection_retry=RECONNECT,
            sasl_options={
                "mechanism": "DIGEST-MD5",
                "username": self._login.user,
                "password": self._login.password,
            },
            default_acl=[make_acl("sasl", self._login.user, all=True)],
        )
        client.start_async()
        return client


class Store:
    """What the guard asks of ZooKeeper. `tell` is called from other threads and must only queue."""

    def __init__(self, servers: tuple[str, ...], login: Login, me: Me, tell: Tell) -> None:
        self._me = me
        self._tell = tell
        self._node = f"/pvc/nodes/{me.name}"
        self._incarnation = f"{self._node}/incarnation"
        self._lease = f"{self._node}/lease"
        self._ways = {Via.FIRST: Connection(servers[:1], login)}
        if len(servers) > 1:
            self._ways[Via.SECOND] = Connection(servers[1:], login)
        # The version under which our incarnation stands: heartbeats check it. Replaced whole, so that
        # a thread reads one or the other.
        self._standing: tuple[str, int] | None = None
        self._work: queue.Queue[Callable[[], None]] = queue.Queue(maxsize=4)
        threading.Thread(target=self._worker, name="store", daemon=True).start()

    # --- heartbeats ---

    def beat(self, write: lease.WriteHeartbeat, sent_at_s: float) -> None:
        """Send one heartbeat; the answer is told."""
        way = self._ways.get(write.via)
        client = way.client() if way is not None else None
        standing = self._standing
        if standing is None or standing[0] != write.incarnation:
            self.look(write.incarnation)
            client = None
        if client is None or standing is None:
            self._tell(partial(lease.Failed, via=write.via))
            return
        transaction = client.transaction()
        transaction.check(self._incarnation, version=standing[1])
        value = _json({"counter": write.counter, "incarnation": write.incarnation})
        transaction.set_data(self._lease, value)
        transaction.commit_async().rawlink(partial(self._answered, write, sent_at_s))

    def _answered(self, write: lease.WriteHeartbeat, sent_at_s: float, answer: Any) -> None:  # noqa: ANN401
        if answer.exception is None and not _errors(answer.value):
            self._tell(
                partial(lease.Acknowledged, incarnation=write.incarnation, sent_at_s=sent_at_s)
            )
            return
        self._tell(partial(lease.Failed, via=write.via))
        if answer.exception is None and isinstance(answer.value[0], BadVersionError | NoNodeError):
            self.look(write.incarnation)  # revoked, or another incarnation

    # --- the rare ones ---

    def open(self, ask: lease.OpenIncarnation, now_s: Callable[[], float]) -> None:
        self._do(partial(self._open, ask, now_s))

    def leave(self, say: lease.SayLeft) -> None:
        self._do(partial(self._leave, say.incarnation))

    def record_hold(self, ask: lease.RecordHold) -> None:
        self._do(partial(self._record_hold, ask))

    def look_for_hold(self) -> None:
        """Ask the store whether operators hold fencing; the answer is told, if there is one."""
        for way in self._ways.values():
            client = way.client()
            if client is not None:
                client.get_async(HOLD).rawlink(self._saw_hold)
                return

    def _saw_hold(self, answer: Any) -> None:  # noqa: ANN401
        if isinstance(answer.exception, NoNodeError):
            self._tell(partial(lease.HoldSeen, id=None, left_s=0.0))
        elif answer.exception is None:
            hold = json.loads(answer.value[0])
            left_s = float(hold["ends_at_s"]) - time.time()
            self._tell(partial(lease.HoldSeen, id=hold["id"], left_s=left_s))

    def look(self, incarnation: str) -> None:
        """Learn whether our incarnation still stands, and under which version."""
        self._do(partial(self._look, incarnation))

    def _open(self, ask: lease.OpenIncarnation, now_s: Callable[[], float]) -> None:
        client = self._connected()
        known = self._read(client)
        if known is not None and known[0]["id"] == ask.incarnation and known[0]["is_revoked"]:
            self._tell(partial(lease.Revoked, incarnation=ask.incarnation))
            return
        for path in (self._node, self._lease):
            self._ensure(client, path)
        record = _json(
            {
                "id": ask.incarnation,
                "boot_id": self._me.boot_id,
                "started_at_s": int(time.time()),
                "lease_s": ask.lease_s,
                "is_revoked": False,
                "watchdog": self._me.watchdog,
                "watchdog_s": self._me.watchdog_s,
                "hold": "",
                "storage_addresses": list(self._me.storage_addresses),
                "guests_left": True,
            }
        )
        sent_at_s = now_s()
        transaction = client.transaction()
        if known is None:
            transaction.create(self._incarnation, record)
        else:
            transaction.set_data(self._incarnation, record, version=known[1])
        transaction.set_data(self._lease, _json({"counter": 0, "incarnation": ask.incarnation}))
        results = transaction.commit_async().get(timeout=CALL_S)
        if _errors(results):
            raise _errors(results)[0]
        self._standing = (ask.incarnation, 0 if known is None else results[0].version)
        self._tell(partial(lease.Opened, incarnation=ask.incarnation, sent_at_s=sent_at_s))

    def _look(self, incarnation: str) -> None:
        known = self._read(self._connected())
        if known is None or known[0]["id"] != incarnation or known[0]["is_revoked"]:
            self._tell(partial(lease.Revoked, incarnation=incarnation))
        else:
            self._standing = (incarnation, known[1])

    def _record_hold(self, ask: lease.RecordHold) -> None:
        client = self._connected()
        known = self._read(client)
        if known is None or known[0]["id"] != ask.incarnation or known[0]["is_revoked"]:
            self._tell(partial(lease.Revoked, incarnation=ask.incarnation))
            return
        record = _json({**known[0], "hold": ask.id})
        stat = client.set_async(self._incarnation, record, version=known[1]).get(timeout=CALL_S)
        self._standing = (ask.incarnation, stat.version)
        self._tell(
            partial(
                lease.HoldRecorded,
                incarnation=ask.incarnation,
                id=ask.id,
                asked_at_s=ask.asked_at_s,
            )
        )

    def _leave(self, incarnation: str) -> None:
        client = self._connected()
        known = self._read(client)
        if known is not None and known[0]["id"] == incarnation:
            record = _json({**known[0], "guests_left": False})
            client.set_async(self._incarnation, record, version=known[1]).get(timeout=CALL_S)
        self._tell(partial(lease.Said, incarnation=incarnation))

    def _read(self, client: Any) -> tuple[dict[str, Any], int] | None:  # noqa: ANN401
        try:
            data, stat = client.get_async(self._incarnation).get(timeout=CALL_S)
        except NoNodeError:
            return None
        record = json.loads(data)
        record.pop("nonce", None)  # the mark of whoever wrote it last, if it was not a guard
        return record, stat.version

    def _ensure(self, client: Any, path: str) -> None:  # noqa: ANN401
        try:
            client.create_async(path, b"{}").get(timeout=CALL_S)
        except NodeExistsError:
            return

    def _connected(self) -> Any:  # noqa: ANN401
        until_s = time.monotonic() + CALL_S
        while time.monotonic() < until_s:
            for way in self._ways.values():
                client = way.client()
                if client is not None:
                    return client
            time.sleep(POLL_S)
        raise KazooTimeoutError("no server answers")

    def _do(self, work: Callable[[], None]) -> None:
        try:
            self._work.put_nowait(work)
        except queue.Full:
            return  # the same is under way, and will be asked for again

    def _worker(self) -> None:
        while True:
            work = self._work.get()
            try:
                work()
            except (KazooException, KazooTimeoutError, ValueError, KeyError) as err:
                print(f"guard: store: {err!r}", file=sys.stderr, flush=True)
                self._tell(partial(lease.Failed, via=Via.FIRST))


def _errors(results: list[Any]) -> list[Exception]:
    # A transaction that was rolled back does not raise: its results are the exceptions (tried).
    return [result for result in results if isinstance(result, Exception)]


def _stop(client: Any) -> None:  # noqa: ANN401
    client.stop()
    client.close()


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
