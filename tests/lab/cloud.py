"""A real cluster in a lab, driven as a person would: by `pvc` and `git`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pvc_gitops.lab.lab import Lab

HOME = Path(__file__).resolve().parents[2]
PVC = HOME / ".venv" / "bin" / "pvc"
NAME = os.environ.get("PVC_TEST_LAB", "check")  # several engineers on one machine
GUESTS_LIMIT_S = 300.0  # six emulated guests on two cores
COMMAND_LIMIT_S = 600.0
ANSWER_LIMIT_S = 30.0
LOOK_EVERY_S = 0.5


def until(what: str, limit_s: float, holds: Callable[[], Any]) -> Any:
    """Look until it holds, and return what it gave."""
    end = time.monotonic() + limit_s
    while True:
        value = holds()
        if value:
            return value
        assert time.monotonic() < end, f"not within {limit_s:.0f} s: {what}"
        time.sleep(LOOK_EVERY_S)


class Cloud:
    """The lab, its clone, and what a person does with them."""

    def __init__(self, clone: Path) -> None:
        self.clone = clone
        self.lab = Lab(NAME)

    # -- as a person --------------------------------------------------------------------------------

    def pvc(self, *argv: str, ok: tuple[int, ...] = (0,)) -> str:
        """`pvc VERB` in the clone; both outputs."""
        done = self.try_pvc(*argv)
        assert done.returncode in ok, (
            f"pvc {' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done.stdout + done.stderr

    def try_pvc(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PVC, *argv], cwd=self.clone, capture_output=True, text=True, timeout=COMMAND_LIMIT_S,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def start_pvc(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PVC, *argv], cwd=self.clone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def git(self, *argv: str) -> str:
        identity = ("-c", "user.name=ann", "-c", "user.email=ann@lab.example")
        done = subprocess.run(
            ["git", *identity, *argv], cwd=self.clone, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"git {' '.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def commit_and_push(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)
        self.git("push", "--quiet")
        return self.git("rev-parse", "HEAD")

    def write(self, path: str, text: str) -> None:
        (self.clone / path).write_text(text, encoding="utf-8")

    def read(self, path: str) -> str:
        return (self.clone / path).read_text(encoding="utf-8")

    # -- what the cluster shows ---------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """As programs read it. A cluster that elects a leader may be silent for a while."""

        def ask() -> str:
            done = self.try_pvc("status", "-o", "json")
            return done.stdout if done.returncode == 0 else ""

        answer: dict[str, Any] = json.loads(until("a node answers", ANSWER_LIMIT_S, ask))
        return answer

    def accepted(self) -> str:
        return str(self.status()["accepted"]["commit"])

    def owner(self, guest: str) -> str:
        return str(self.status()["guests"][guest]["owner"])

    def running(self) -> set[str]:
        guests = self.status()["guests"]
        return {name for name, guest in guests.items() if guest["state"] == "running"}

    def wait_running(self, names: set[str]) -> None:
        until(f"running: {sorted(names)}", GUESTS_LIMIT_S, lambda: self.running() == names)

    # -- what the nodes show ------------------------------------------------------------------------

    def on(self, node: str, *argv: str, ok: tuple[int, ...] = (0,)) -> str:
        done = self.lab.node(node).run(*argv)
        assert done.returncode in ok, f"{node}: {argv}: {done.stdout}{done.stderr}"
        return str(done.stdout)

    def nodes(self) -> list[str]:
        return [node.name for node in self.lab.topology().nodes]

    def main_pid(self, node: str, unit: str) -> int:
        return int(self.on(node, "systemctl", "show", "--value", "-p", "MainPID", unit))

    def domains(self) -> dict[str, list[str]]:
        """Guest -> the nodes whose libvirt runs it."""
        found: dict[str, list[str]] = {}
        for node in self.nodes():
            for name in self.on(node, "virsh", "-q", "list", "--name").split():
                found.setdefault(name, []).append(node)
        return found

    def console(self, guest: str) -> str:
        return self.on(self.owner(guest), "cat", f"/var/log/libvirt/pvc/{guest}.log", ok=(0, 1))

    def marker(self, guest: str) -> str:
        pattern = rf"PVC-GUEST-READY hostname={re.escape(guest)}\b.*"
        log = f"/var/log/libvirt/pvc/{guest}.log"

        def look() -> str:
            # One that has moved spoke where it was started.
            owner = self.owner(guest)
            for node in (owner, *(each for each in self.nodes() if each != owner)):
                found = re.findall(pattern, self.on(node, "cat", log, ok=(0, 1)))
                if found:
                    return str(found[-1]).strip()
            return ""

        return str(until(f"{guest}'s marker on its console", GUESTS_LIMIT_S, look))

    def address(self, guest: str) -> str:
        """As it said when it booted, on whichever node: one that moved alive has not said it here."""
        pattern = rf"PVC-GUEST-READY hostname={re.escape(guest)}\b.*?address=([0-9.]+)"

        def look() -> str:
            for node in (self.owner(guest), *self.nodes()):
                if not self.lab.node(node).is_on():
                    continue
                said = self.on(node, "cat", f"/var/log/libvirt/pvc/{guest}.log", ok=(0, 1))
                found = re.findall(pattern, said)
                if found:
                    return str(found[-1])
            return ""

        return str(until(f"{guest}'s address on a console", GUESTS_LIMIT_S, look))

    def counter(self, guest: str) -> int:
        """What the guest has counted on its own disk, over all its lives."""
        url = f"http://{self.address(guest)}/counter"
        asked = ("curl", "-s", "-m", "5", url)

        def look() -> dict[str, Any]:
            said = self.on(self.owner(guest), *asked, ok=tuple(range(256)))
            answer: dict[str, Any] = json.loads(said or "{}")
            # It answers a moment before it has read what its disk says.
            return answer if answer.get("writing") else {}

        return int(until(f"{guest} counts", GUESTS_LIMIT_S, look)["counter"])

    def journals(self) -> str:
        """The end of what our processes said, for a failure of the whole."""
        text = ""
        for node in self.lab.status():
            if node.init_pid is not None:
                said = self.lab.node(node.name).run(
                    "journalctl", "--no-pager", "-n", "60", "-u", "pvc-*"
                )
                text += f"\n--- {node.name}\n{said.stdout}"
        return text
