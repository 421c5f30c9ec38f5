"""The guard's process against real servers and a real cgroup: what its tests start and look at."""

import json
import os
import signal
import subprocess
import sys
import time

from zk_ensemble import PASSWORD

RUN = """
from pathlib import Path
from pvc_guard.main import Paths, run
here = Path({here!r})
run(Paths(config=here / "node.toml", state=here / "guard.json", slice=Path({slice!r}),
          proc=here / "proc", devices=here, watchdogs=here, systemctl=here / "systemctl",
          watchdog_sockets=here / "watchdog", watchdog_measured=here / "watchdog.json",
          watchdog_note=here / "measuring", key=here / "guards.key", zookeeper=Path({zookeeper!r})))
"""
CONFIG = """
[node]
name = "hv1"
[zookeeper]
servers = [{servers}]
user = "pvc"
password_file = "{here}/password"
[lease]
seconds = 6.0
heartbeat = 1.0
[addresses]
storage = "10.22.0.1"
cluster = "{host}"
"""
KEY = "Z3VhcmRzJyBrZXkgb2YgdGVzdHM="


def wait_for(condition, limit_s, what):
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {limit_s} s: {what}")


class Slice:
    """A cgroup with a process in it that stands for a guest."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        self.guests = []

    def start_guest(self):
        guest = subprocess.Popen(["sleep", "300"])
        (self.path / "cgroup.procs").write_text(str(guest.pid))
        self.guests.append(guest)
        return guest

    def end(self):
        for guest in self.guests:
            guest.kill()
            guest.wait(timeout=5)
        wait_for(lambda: "populated 0" in (self.path / "cgroup.events").read_text(), 5, "empty")
        self.path.rmdir()


class Guard:
    """The guard's process, and what it writes."""

    def __init__(self, here, ensemble, machine_slice, number=1):
        self.here = here
        self.slice = machine_slice
        self.process = None
        self.server = ensemble.servers[number - 1]
        self.zookeeper = self.server.data / "version-2"
        (here / "proc").mkdir()
        (here / "password").write_text(PASSWORD)
        (here / "guards.key").write_text(f"{KEY}\n")
        servers = ", ".join(f'"{address}"' for address in ensemble.addresses)
        text = CONFIG.format(servers=servers, here=here, host=self.server.host)
        (here / "node.toml").write_text(text.replace('"hv1"', f'"hv{number}"'))

    def start(self, environment=None, descriptors=()):
        code = RUN.format(
            here=str(self.here), slice=str(self.slice.path), zookeeper=str(self.zookeeper)
        )
        with (self.here / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                pass_fds=descriptors,
            )

    def end(self, number=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=10)
            self.process = None

    def state(self):
        try:
            return json.loads((self.here / "guard.json").read_text())
        except FileNotFoundError:
            return {"life": None, "incarnation": None}

    def wait_for_lease(self):
        return wait_for(lambda: self.state()["incarnation"], 15, (self.here / "log").read_text)

    def log(self):
        return (self.here / "log").read_text()
