"""Running a program of the node to its end: an argument list, a time limit, its own words on failure."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Final

from pvc_gitops.errors import WorldError

LIMIT_S: Final = 60.0  # nothing that formation runs takes longer than a few seconds
WORDS_MAX: Final = 600  # of a failed program's output: the end says why


def run(*argv: str, limit_s: float = LIMIT_S, stdin: str = "") -> str:
    """What it wrote. Raises WorldError on another status than 0 or when the time is over."""
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, errors="replace",
            timeout=limit_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as err:
        raise _failed(argv, f"no end within {limit_s:.0f} s") from err
    except OSError as err:
        raise _failed(argv, str(err)) from err
    if done.returncode != 0:
        words = (done.stdout + done.stderr).strip()[-WORDS_MAX:]
        raise _failed(argv, f"status {done.returncode}: {words}")
    return done.stdout


def succeeds(*argv: str, limit_s: float = LIMIT_S) -> bool:
    """Whether it ends with status 0 in time."""
    try:
        run(*argv, limit_s=limit_s)
    except WorldError:
        return False
    return True


def _failed(argv: Sequence[str], reason: str) -> WorldError:
    return WorldError("run", argv[0], f"{' '.join(argv[1:4])}: {reason}", retryable=True)
