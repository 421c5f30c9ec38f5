"""pvc-guard: plays `lease` on this machine. The loop, the signals and the file under /run.

One thread decides. It looks at the slice, ticks, takes up answers, and does at once what `step` says.
It ends without a word when only the service is restarted: the file under /run hands the lease on.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from pvc_guard import lease
from pvc_guard import watchdog as dogs
from pvc_guard.machine import (
    boot_id,
    boottime_s,
    is_machine_stopping,
    kept_open,
    notify,
    run_first,
    stay_in_memory,
)
from pvc_guard.measure import finish, measure
from pvc_guard.post import Post, Server, read_key
from pvc_guard.slice import GuestSlice
from pvc_guard.store import Login, Me, Store

T = TypeVar("T")
TICK_S: Final = 0.25  # a lease's end is acted upon at most this late; W + 2 s leave room for it
HOLD_S: Final = 3.0  # between two looks for a hold of the operators
STRAYS_S: Final = 5.0  # walking /proc costs 3 ms; while no lease is held it is done at every tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where everything is; a test says otherwise."""

    config: Path = Path("/etc/pvc/node.toml")
    state: Path = Path("/run/pvc/guard.json")
    slice: Path = Path("/sys/fs/cgroup/machine.slice")
    proc: Path = Path("/proc")
    devices: Path = Path("/dev")
    watchdogs: Path = Path("/sys/class/watchdog")
    watchdog_sockets: Path = Path("/run/pvc-watchdog")
    watchdog_measured: Path = Path("/var/lib/pvc/watchdog.json")
    watchdog_note: Path = Path("/var/lib/pvc/watchdog.measuring")
    key: Path = Path("/etc/pvc/guards.key")
    zookeeper: Path = Path("/var/lib/zookeeper/version-2")
    systemctl: Path = Path("/usr/bin/systemctl")


@dataclass(slots=True, kw_only=True)
class Process:
    """The running guard."""

    paths: Paths
    slice: GuestSlice
    store: Store
    watchdog: dogs.Watchdog | None
    post: Post | None
    inbox: queue.SimpleQueue[Callable[..., lease.Event]]
    guard: lease.Guard
    faults: tuple[str, ...] = ()
    looked_for_strays_s: float = 0.0
    looked_for_hold_s: float = 0.0
    is_asked_to_stop: bool = False
    written: dict[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        """Until the machine goes down, or the service is stopped."""
        notify("READY=1")
        while not isinstance(self.guard.life, lease.Left):
            if self.is_asked_to_stop:
                is_stopping = is_machine_stopping(self.paths.systemctl)
                if is_stopping is False:
                    return
                self.is_asked_to_stop = is_stopping is None  # it is asked again
                if is_stopping:
                    self.feed(lease.ShutDown)
            self.feed(lease.SliceEmpty if self.look() else lease.SlicePopulated)
            self.feed(lease.Tick)
            self.look_for_hold()
            self.take_answers()
            self.save()
            notify("WATCHDOG=1")

    def take_answers(self) -> None:
        """Wait for the first until the next tick is due, then take what else is there."""
        try:
            self.feed(self.inbox.get(timeout=TICK_S))
            while True:
                self.feed(self.inbox.get_nowait())
        except queue.Empty:
            return

    def look(self) -> bool:
        """Whether no guest is left."""
        now_s = boottime_s()
        if self.guard.lease is None or now_s - self.looked_for_strays_s >= STRAYS_S:
            self.faults = tuple(stray.fault for stray in self.slice.strays())
            self.looked_for_strays_s = now_s
        return not self.faults and self.slice.is_empty()

    def look_for_hold(self) -> None:
        now_s = boottime_s()
        if now_s - self.looked_for_hold_s >= HOLD_S:
            self.looked_for_hold_s = now_s
            self.store.look_for_hold()

    def feed(self, event: Callable[..., lease.Event]) -> None:
        before = self.guard.life
        self.guard, actions = lease.step(self.guard, event(now_s=boottime_s()))
        if type(before) is not type(self.guard.life):
            _log(f"{_name(before)} -> {_name(self.guard.life)}", incarnation=self.guard.incarnation)
        self.do(actions)
        if type(before) is not type(self.guard.life):
            self.save()  # the agent starts nothing from here on

    def do(self, actions: tuple[lease.Action, ...]) -> None:
        for action in actions:
            match action:
                case lease.KillGuests():
                    self.slice.kill()
                    _log("killed all guests", why=action.why)
                case lease.PetWatchdog():
                    if self.watchdog is not None:
                        self.watchdog.pet()
                case lease.WriteHeartbeat():
                    self.store.beat(action, boottime_s())
                case lease.OpenIncarnation():
                    self.store.open(action, boottime_s)
                case lease.SayLeft():
                    self.store.leave(action)
                case lease.RecordHold():
                    self.store.record_hold(action)
                case lease.AskOthers():
                    if self.post is not None:
                        self.post.ask(action.asked_at_s)

    def save(self) -> None:
        """For the next guard process and for the agent. /run is in memory: a rename is enough."""
        out = None if self.post is None else self.post.out
        value = {**lease.to_json(self.guard, out), "faults": list(self.faults)}
        if value != self.written:
            part = self.paths.state.with_suffix(".part")
            part.write_text(json.dumps(value, sort_keys=True))
            part.replace(self.paths.state)
            self.written = value


def main() -> None:
    """The console script."""
    paths = Paths()
    if sys.argv[1:] == ["measure-watchdog"]:
        sys.exit(_measure(paths))
    run(paths)


def _measure(paths: Paths) -> str:
    guests = GuestSlice(path=paths.slice, proc=paths.proc)
    if not guests.is_empty() or guests.strays():
        return "guests run here: drain this node first"
    return measure(_places(paths), paths.watchdog_note)


def run(paths: Paths) -> None:
    """Read the configuration, arm what is there, and guard."""
    config = _config(paths.config)
    # A guard without these rights is still better than none.
    if not stay_in_memory():
        _log("memory is not locked: LimitMEMLOCK of this process is too low")
    if not run_first():
        _log("no real-time priority: the kernel does not give it to this process")
    process = _begin(paths, config)

    def stop(_signal: int, _frame: object) -> None:
        process.is_asked_to_stop = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    process.run()
    process.save()
    if process.watchdog is not None and isinstance(process.guard.life, lease.Left):
        process.watchdog.disarm()
    # kazoo's threads would be joined for seconds; nothing of them is needed any more.
    sys.stdout.flush()
    os._exit(0)


def _begin(paths: Paths, config: Mapping[str, Any]) -> Process:
    name, zookeeper = config["node"]["name"], config["zookeeper"]
    password = Path(zookeeper["password_file"]).read_text(encoding="utf-8").strip()
    watchdog = _armed(paths)
    inbox: queue.SimpleQueue[Callable[..., lease.Event]] = queue.SimpleQueue()
    boot = boot_id()
    guests = GuestSlice(path=paths.slice, proc=paths.proc)
    # Decided before anything is connected: what runs without a lease dies at once.
    guard, actions = lease.begin(
        boot_id=boot,
        timing=lease.Timing(
            lease_s=float(config["lease"]["seconds"]),
            heartbeat_s=float(config["lease"]["heartbeat"]),
        ),
        now_s=boottime_s(),
        is_slice_empty=guests.is_empty() and not guests.strays(),
        saved=_left(paths.state, lease.saved_of_json),
        coordinators=frozenset(_hosts(zookeeper["servers"])),
    )
    _log("begins", life=_name(guard.life), incarnation=guard.incarnation)
    me = Me(
        name=name,
        boot_id=boot,
        watchdog=None if watchdog is None else watchdog.identity,
        watchdog_s=None if watchdog is None else watchdog.waits_s,
        storage_addresses=(config["addresses"]["storage"],),
    )
    login = Login(user=zookeeper["user"], password=password)
    store = Store(tuple(zookeeper["servers"]), login, me, inbox.put)
    process = Process(
        paths=paths,
        slice=guests,
        store=store,
        watchdog=watchdog,
        post=_post(paths, config, inbox.put),
        inbox=inbox,
        guard=guard,
    )
    process.do(actions)
    return process


def _armed(paths: Paths) -> dogs.Watchdog | None:
    places = _places(paths)
    measured = finish(places, paths.watchdog_note, boot_id())
    if measured is not None:
        _log("watchdog measured", identity=measured[0], waits_s=measured[1])
    found = dogs.arm(places, kept_open())
    if found is None:
        _log("no watchdog")
    else:
        found.keep()
        _log("watchdog", identity=found.identity, waits_s=found.waits_s or "not measured")
    return found


def _places(paths: Paths) -> dogs.Places:
    return dogs.Places(
        devices=paths.devices,
        classes=paths.watchdogs,
        sockets=paths.watchdog_sockets,
        measured=paths.watchdog_measured,
    )


def _post(
    paths: Paths, config: Mapping[str, Any], tell: Callable[[Callable[..., lease.Event]], None]
) -> Post | None:
    key, me = read_key(paths.key), config["addresses"].get("cluster")
    if key is None or me is None:
        _log("nobody is asked about quorums: no key, or no address in the cluster network")
        return None
    servers = config["zookeeper"]["servers"]
    own = [server for server in servers if server.rpartition(":")[0] == me]
    server = None
    if own:
        port = int(own[0].rpartition(":")[2])
        server = Server(address=me, port=port, data=paths.zookeeper)
    out = _left(paths.state, lambda value: lease.out_of_json(value, boot_id()))
    return Post(me=me, voters=tuple(_hosts(servers)), key=key, server=server, out=out, tell=tell)


def _hosts(servers: list[str]) -> list[str]:
    return [server.rpartition(":")[0] for server in servers]


def _config(path: Path) -> dict[str, Any]:
    # The agent's reader (pvc_node_agent.config) checks every key; the guard reads what it needs.
    with path.open("rb") as stream:
        return tomllib.load(stream)


def _left(path: Path, read: Callable[[Mapping[str, object]], T | None]) -> T | None:
    """What the process before has left."""
    try:
        return read(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except ValueError as err:
        _log("nothing to go on with", why=err)  # the file of another release, or a torn one
        return None


def _name(life: lease.Life) -> str:
    return type(life).__name__.lower()


def _log(text: str, **fields: object) -> None:
    more = "".join(f" {key}={value}" for key, value in fields.items() if value not in (None, ""))
    print(f"guard: {text}{more}", flush=True)
