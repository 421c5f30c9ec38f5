"""Running other programs: argument lists, a time limit on each, and the end of their words when
they fail.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from pvc_image.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# What a failing program said last is nearly always the reason; more would bury it.
LINES_SHOWN_MAX = 15


def run(
    *argv: str | Path,
    timeout_s: float,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a program to its end; its output goes to `log` when given."""
    output(*argv, timeout_s=timeout_s, log=log, env=env)


def output(
    *argv: str | Path,
    timeout_s: float,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """What a program wrote to its standard output (with `log`: to both, and it is kept there
    too).
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if log is None else subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=env,
        )
    except FileNotFoundError as err:
        raise ImageError(
            f"{words[0]} is not installed",
            "`python3 iso-builder/build.py packages` lists what the host needs; apt-get install it",
        ) from err
    except subprocess.TimeoutExpired as err:
        raise ImageError(
            f"{words[0]} did not end within {timeout_s:.0f} s",
            "look at the machine's load and network, run again",
        ) from err
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.stdout, encoding="utf-8")
    if done.returncode != 0:
        # Some tell the reason on one, some on the other.
        said = (done.stdout + (done.stderr or "")).splitlines()[-LINES_SHOWN_MAX:]
        text = "\n".join("    " + line for line in said)
        raise ImageError(
            f"{words[0]} failed with status {done.returncode}:\n{text}",
            f"the whole output is in {log}" if log is not None else "correct that and run again",
        )
    return done.stdout
