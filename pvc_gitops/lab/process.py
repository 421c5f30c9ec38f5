"""Running the host's programs, waiting with an end, and processes that are remembered by id.

Every command is an argument list with a time limit; every wait has a limit and a name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pvc_gitops.lab.errors import LabError

COMMAND_TIMEOUT_S: Final = 30.0
# Between two looks of a wait: a boot is 2 s, so a finer grain buys nothing and costs CPU that
# nodes need.
POLL_S: Final = 0.05
LINES_SHOWN_MAX: Final = 12


def run(
    *argv: str | Path | int,
    timeout_s: float = COMMAND_TIMEOUT_S,
    stdin: str | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run one program of the host to its end and return what it said."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as err:
        raise LabError(
            f"{words[0]} is not installed", hint="`pvc lab missing` says what is needed"
        ) from err
    except subprocess.TimeoutExpired as err:
        raise LabError(
            f"`{' '.join(words)}` did not end within {timeout_s:.0f} s",
            hint="`pvc lab down` and up again; look at the machine's load",
        ) from err
    if check and done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).splitlines()[-LINES_SHOWN_MAX:])
        raise LabError(
            f"`{' '.join(words)}` failed with status {done.returncode}: {said}",
            hint="`pvc lab down`, then up again",
        )
    return done


def wait_for(condition: Callable[[], bool], *, limit_s: float) -> bool:
    """Look until the condition holds; False if it did not within the limit."""
    end_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() >= end_s:
            return False
        time.sleep(POLL_S)
    return True


def must_become(condition: Callable[[], bool], *, limit_s: float, failure: str, hint: str) -> None:
    """As `wait_for`, but the limit is an error."""
    if not wait_for(condition, limit_s=limit_s):
        raise LabError(f"{failure} within {limit_s:.0f} s", hint=hint)


def spawn(argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None) -> int:
    """Start a process that outlives this one, in a session of its own, its words going to `log`;
    its number.

    posix_spawn, not Popen: nobody here waits for it, and a Popen object complains about that.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in argv]
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        return os.posix_spawnp(
            words[0],
            words,
            dict(os.environ if env is None else env),
            setsid=True,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )
    except FileNotFoundError as err:
        raise LabError(
            f"{words[0]} is not installed", hint="`pvc lab missing` says what is needed"
        ) from err


class PidFile:
    """A process known by its number and by a word of its command line, so that a number that the
    kernel gave to somebody else since is never mistaken for it."""

    def __init__(self, path: Path, mark: str) -> None:
        self._path = path
        self._mark = mark.encode()

    def write(self, pid: int) -> None:
        """Remember a process."""
        new = self._path.with_name(self._path.name + ".new")
        new.write_text(f"{pid}\n", encoding="ascii")
        new.rename(self._path)

    def pid(self) -> int | None:
        """The process, if it still lives."""
        try:
            pid = int(self._path.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None
        said = command_line(pid)
        # Empty also while the process is just becoming another program: only its state tells that
        # from death.
        is_ours = self._mark in said or (said == b"" and not is_dead(pid))
        return pid if is_ours else None

    def forget(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)

    def end(self, *, grace_s: float = 2.0) -> None:
        """Terminate the process, kill it after the grace; nothing happens if it is gone."""
        pid = self.pid()
        if pid is not None:
            send(pid, signal.SIGTERM)
            if not wait_for(lambda: self.pid() is None, limit_s=grace_s):
                send(pid, signal.SIGKILL)
                wait_for(lambda: self.pid() is None, limit_s=grace_s)
        self.forget()


def command_line(pid: int) -> bytes:
    """The command line of a living process; empty for one that is gone or only waits to be
    reaped.
    """
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def is_dead(pid: int) -> bool:
    """Whether a process is gone or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in {"Z", "X"}


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process that may be gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def python_module(module: str, *arguments: str | Path) -> list[str]:
    """How to run a module of ours as a process, from a checkout or an installation alike."""
    return [sys.executable, "-m", module, *(str(argument) for argument in arguments)]


def python_env() -> dict[str, str]:
    """The environment for `python_module`: this very source tree comes first."""
    ours = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": ours if not inherited else f"{ours}:{inherited}"}
