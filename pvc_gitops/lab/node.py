"""One machine: its power switch, and ways to look inside.

A machine is a systemd-nspawn container with an overlay as its disk: below, the image; above, what
it wrote. A power cut takes the links down first and then kills, since a process that dies with its
links up still sends FIN or RST.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pvc_gitops.lab import cgroup, network
from pvc_gitops.lab.errors import LabError
from pvc_gitops.lab.paths import NodePaths
from pvc_gitops.lab.process import (
    PidFile,
    command_line,
    must_become,
    python_env,
    python_module,
    send,
    spawn,
    wait_for,
)

KEEPER_MODULE: Final = "pvc_gitops.lab.keeper"
INIT_LIMIT_S: Final = 20.0  # from the switch to the kernel's first process; measured 0.3 s
BOOT_LIMIT_S: Final = 90.0  # until systemd has started everything; measured 2 to 3 s
OFF_LIMIT_S: Final = 10.0  # measured 0.25 s
# What `systemctl is-system-running` says of a machine that has come up.
UP_STATES: Final = frozenset({"running", "degraded"})
_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}


class Node:
    """One machine of a lab, by the folder that it lives in."""

    def __init__(self, paths: NodePaths) -> None:
        self.paths = paths
        self.name = paths.name
        self.keeper = PidFile(
            paths.keeper_pid, f"{KEEPER_MODULE}\0{paths.lab.root}\0{paths.lab.name}\0{paths.name}\0"
        )
        self.nspawn = PidFile(paths.nspawn_pid, "systemd-nspawn")

    def install(self, files: dict[str, tuple[int, str]]) -> None:
        """What the installer puts on the disk: path -> (mode, content). Nothing happens to an
        installed machine.
        """
        if self.paths.installed.exists():
            return
        shutil.rmtree(self.paths.install, ignore_errors=True)
        for path, (mode, content) in files.items():
            target = self.paths.install / path.removeprefix("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch(mode=mode)
            target.write_text(content, encoding="utf-8")

    def init_pid(self) -> int | None:
        """The machine's process 1 as the host numbers it; None while it is off."""
        nspawn = self.nspawn.pid()
        if nspawn is None:
            return None
        return next((pid for pid in _children(nspawn) if _is_first_in_its_namespace(pid)), None)

    def is_on(self) -> bool:
        """Whether the machine has power: it runs, or its keeper is about to boot it again."""
        return self.keeper.pid() is not None

    def power_on(self, *, wait: bool = True) -> None:
        """Switch the machine on; with `wait`, until systemd has started everything."""
        with self._switch():
            if not self.is_on():
                self.paths.wanted.write_text("on\n", encoding="ascii")
                self._start_keeper()
        if wait:
            self.wait_until_up()

    def _start_keeper(self) -> None:
        # The overlay is mounted in the keeper's own mount name space: it goes when the keeper goes.
        keeper = spawn(
            [
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "--",
                *python_module(KEEPER_MODULE, self.paths.lab.root, self.paths.lab.name, self.name),
            ],
            log=self.paths.console,
            env=python_env(),
        )
        self.keeper.write(keeper)
        must_become(
            lambda: self.init_pid() is not None or self.keeper.pid() is None,
            limit_s=INIT_LIMIT_S,
            failure=f"{self.name} did not begin to boot",
            hint=self._console_hint(),
        )
        if self.keeper.pid() is None:
            raise LabError(f"{self.name} ended while booting", hint=self._console_hint())

    def wait_until_up(self, limit_s: float = BOOT_LIMIT_S) -> None:
        """Until systemd in the machine says that it has started everything."""
        must_become(
            lambda: self.system_state() in UP_STATES,
            limit_s=limit_s,
            failure=f"{self.name} did not come up",
            hint=self._console_hint(),
        )

    def power_off(self) -> None:
        """Cut the power. Returns when nothing of the machine is left running."""
        with self._switch():
            self.paths.wanted.write_text("off\n", encoding="ascii")
            if network.exists(self.paths.lab):
                network.cut(self.paths)
            group = cgroup.of_lab(self.paths.lab.name) / self.name
            init = self.init_pid()
            if init is not None:
                send(init, signal.SIGKILL)  # the kernel ends the whole name space with it
            cgroup.kill(group)
            if not wait_for(lambda: self.keeper.pid() is None, limit_s=OFF_LIMIT_S):
                self.keeper.end()
            self.nspawn.end()
            self.keeper.forget()
            cgroup.remove(group)
            if network.exists(self.paths.lab):
                network.unplug(self.paths)

    def system_state(self) -> str:
        """What `systemctl is-system-running` says inside; empty while there is no answer."""
        try:
            done = self.run("systemctl", "is-system-running", timeout_s=5)
        except (LabError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip()

    def enter(self, argv: Sequence[str]) -> list[str]:
        """A command line of the host that runs `argv` inside."""
        pid = self.init_pid()
        if pid is None:
            raise LabError(f"{self.name} is off", hint=f"pvc lab fault power {self.name} on")
        # All name spaces and the root folder of process 1; -C is the control group's.
        return [
            "nsenter",
            "-t",
            str(pid),
            "-m",
            "-u",
            "-i",
            "-n",
            "-p",
            "-C",
            "-r",
            "-w",
            "--",
            *argv,
        ]

    def run(
        self, *argv: str, timeout_s: float = 60.0, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end and return what it said, whatever its status."""
        return subprocess.run(
            self.enter(argv),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=environment(),
            check=False,
        )

    def call(self, argv: Sequence[str]) -> int:
        """Run a command inside with this process's terminal; its status."""
        return subprocess.run(self.enter(argv), env=environment(), check=False).returncode

    def agent_socket(self) -> Path | None:
        """The agent's socket, reachable for root, if the agent has made it."""
        pid = self.init_pid()
        if pid is None:
            return None
        found = Path(f"/proc/{pid}/root/run/pvc/agent.sock")
        return found if found.is_socket() else None

    @contextmanager
    def _switch(self) -> Iterator[None]:
        """One hand on the power switch at a time."""
        self.paths.home.mkdir(parents=True, exist_ok=True)
        with self.paths.power_lock.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _console_hint(self) -> str:
        return f"the end of {self.paths.console} says why"


def environment() -> dict[str, str]:
    """The environment of commands inside a machine: nothing of the host's but the terminal's
    kind.
    """
    return {**_ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")}


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(word) for word in text.split()]


def _is_first_in_its_namespace(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return is_init(status) and command_line(pid) != b""


def is_init(status: str) -> bool:
    """Whether /proc/PID/status is of a process that is number 1 in a name space below ours."""
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return len(numbers) > 1 and numbers[-1] == "1"
    return False
