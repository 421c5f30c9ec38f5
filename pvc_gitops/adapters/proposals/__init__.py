"""Proposals of a git server: `Proposals` implements world.ports.Proposals.

Their objects lie in a mirror of their own, so that what nobody reviewed never grows the one that the
cluster lives on, and can be thrown away. They are read and planned in child processes with limits of
memory, processor time and patience.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pvc_gitops.adapters.age import sops
from pvc_gitops.adapters.forge import Api
from pvc_gitops.adapters.git.mirror import HOME
from pvc_gitops.adapters.proposals import fetch
from pvc_gitops.errors import RepoError, UsageError, WorldError
from pvc_gitops.model.codec import decode, encode
from pvc_gitops.model.forge import Forge
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.preview import Answer, Ask, Told

TOKEN: Final = "token"  # noqa: S105  a key, not a token
FETCH_S: Final = 60.0
FETCH_BYTES_MAX: Final = 64 * 1024 * 1024  # all that is read of one commit may have that
# Hostile or not, what was proposed and dropped stays among the objects; then all is fetched anew.
MIRROR_BYTES_MAX: Final = 512 * 1024 * 1024
# A plan of 10,000 guests needs 3 s and 500 MiB; ten times that is no plan any more.
PLAN_S: Final = 60.0
PLAN_CPU_S: Final = 45
PLAN_MEMORY_BYTES: Final = 1536 * 1024 * 1024
# Python's own words, the kernel's, and the dynamic linker's.
_OUT_OF_MEMORY: Final = ("MemoryError", "Cannot allocate memory", "failed to map segment")
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024


class Proposals:
    """See world.ports.Proposals. Methods may be called from several threads and processes."""

    def __init__(
        self,
        path: Path,
        *,
        mirror: Path,
        url: str,
        folder: str,
        credential: str | None,
        key: Callable[[], str | None],
    ) -> None:
        self._path = path
        self._mirror = mirror
        self._url = url
        self._folder = folder
        self._credential = credential
        self._key = key

    def fetch(
        self, patterns: Sequence[str], *, only_ours: bool, most: int
    ) -> Mapping[str, CommitId]:
        if _size(self._path) > MIRROR_BYTES_MAX:
            shutil.rmtree(self._path)
        request = fetch.Request(
            path=str(self._path),
            mirror=str(self._mirror),
            url=self._url,
            credential=self._credential,
            patterns=list(patterns),
            only_ours=only_ours,
            most=most,
            bytes_max=FETCH_BYTES_MAX,
        )
        # By its path and isolated from this process's environment.
        said = _run(
            [sys.executable, "-I", fetch.__file__], json.dumps(encode(request)), limit_s=FETCH_S
        )
        answer = json.loads(said)
        if "error" in answer:
            raise RepoError("fetch", "proposals", str(answer["error"]), retryable=True)
        return {ref: CommitId(tip) for ref, tip in sorted(answer["heads"].items())}

    def plan(self, ask: Ask, inputs: bytes) -> Answer:
        request = {
            "mirror": str(self._path if ask.head is not None else self._mirror),
            "folder": self._folder,
            "ask": json.dumps(encode(ask)),
            "inputs": inputs.decode(),
            "cpu_s": PLAN_CPU_S,
            "memory_bytes": PLAN_MEMORY_BYTES,
        }
        command = [sys.executable, "-I", "-m", "pvc_gitops.cli.main", "preview-job"]
        said = _run(command, json.dumps(request), limit_s=PLAN_S)
        try:
            return decode(Answer, json.loads(said))
        except ValueError as err:
            raise _failed(f"its answer does not read: {err}") from err

    def tell(self, forge: Forge, sealed: bytes, told: Told) -> None:
        api = Api(
            type=forge.type,
            address=forge.api,
            repository=forge.repository,
            token=self._token(forge, sealed),
        )
        if told.number is not None and told.comment:
            api.comment(told.number, told.comment, told.marker)
        ended = "success" if told.is_good else "failure"
        state = "pending" if told.is_open else ended
        api.status(told.commit, state, told.context, told.status)

    def _token(self, forge: Forge, sealed: bytes) -> str:
        secret = forge.token_secret or ""
        key = self._key()
        if key is None:
            raise WorldError("open", secret, "this node has no cluster key", retryable=False)
        try:
            data = sops.read(sealed, key)
        except (UsageError, ValueError) as err:
            raise WorldError("open", secret, str(err), retryable=False) from err
        if len(data) != 1 and TOKEN not in data:
            raise WorldError("open", secret, f"it holds no {TOKEN}", retryable=False)
        return (next(iter(data.values())) if len(data) == 1 else data[TOKEN]).strip()


def _run(command: Sequence[str], request: str, *, limit_s: float) -> str:
    """The child's answer. Raises WorldError with the reason where there is none."""
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": HOME, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command,
            input=request,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as err:
        raise _failed(f"no end within {limit_s:g} s; it was killed") from err
    if done.returncode < 0:
        raise _failed(f"it was killed by signal {-done.returncode}: over its limit of time")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it crashed"])[-1]
        if any(words in last for words in _OUT_OF_MEMORY):
            raise _failed("it asked for more memory than it may have")
        raise _failed(last[:300])
    if len(done.stdout) > ANSWER_BYTES_MAX:
        raise _failed("its answer is too large")
    return done.stdout


def _failed(reason: str) -> WorldError:
    return RepoError("plan", "proposal", reason, retryable=False)


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
