"""This node's bare mirror of the cluster's repository: `Mirror` implements world.ports.Repo."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import pygit2
from pygit2.enums import Option

from pvc_gitops.adapters.git import fetch, history
from pvc_gitops.adapters.git.signatures import Signatures
from pvc_gitops.adapters.git.tree import read_commit
from pvc_gitops.errors import RepoError, SpecError, UsageError
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.trust import Signature, SignerKey
from pvc_gitops.world.ports import CommitInfo

FETCH_S: Final = 60.0  # a first clone over a slow line; a usual one takes 0.1 s
# All that is read of one commit may have 64 MiB (model.tree); this leaves room for its history.
BYTES_MAX: Final = 256 * 1024 * 1024
# An ssh server's key must stand in .ssh/known_hosts below it; formation writes the seed's there.
HOME: Final = "/var/lib/pvc"
SUBJECT_CHARACTERS_MAX: Final = 120
_PASSWORD: Final = re.compile(r"(://[^/\s:@]*):[^/\s@]*@")


class Mirror:
    """See world.ports.Repo. Methods may be called from several threads and processes."""

    def __init__(
        self,
        path: Path,
        *,
        url: str,
        branch: str,
        folder: str,
        credential: str | None,
        limit_s: float = FETCH_S,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        self._path = path
        self._url = url
        self._branch = branch
        self._folder = folder
        self._credential = credential
        self._limit_s = limit_s
        self._bytes_max = bytes_max
        self._shown = _without_secrets(url)
        self._signatures = Signatures()
        # Root may read a mirror that another account owns; nothing of it is executed.
        pygit2.option(Option.SET_OWNER_VALIDATION, 0)

    def fetch(self) -> CommitId:
        request = {
            "mirror": str(self._path),
            "url": self._url,
            "branch": self._branch,
            "credential": self._credential,
            "bytes_max": self._bytes_max,
        }
        try:
            done = subprocess.run(
                # By its path and isolated: it imports pygit2 and nothing of ours.
                [sys.executable, "-I", fetch.__file__],
                input=json.dumps(request),
                capture_output=True,
                text=True,
                timeout=self._limit_s,
                check=False,
                env={
                    "PATH": os.environ.get("PATH", ""),
                    "HOME": HOME,
                    "LC_ALL": "C.UTF-8",
                },
            )
        except subprocess.TimeoutExpired as err:
            raise self._failed(f"no end within {self._limit_s:g} s; the fetch was killed") from err
        answer = _answer(done.stdout)
        if "tip" in answer:
            return CommitId(answer["tip"])
        raise self._failed(answer.get("error") or _last_line(done.stderr) or "the fetch crashed")

    def has(self, commit: CommitId) -> bool:
        return self._commit(commit) is not None

    def is_ancestor(self, older: CommitId, newer: CommitId) -> bool:
        if self._commit(older) is None or self._commit(newer) is None:
            return False
        try:
            return older == newer or bool(self._open().descendant_of(newer, older))
        except pygit2.GitError as err:
            raise RepoError(
                "read", newer, f"its history is not whole: {err}", retryable=True
            ) from err

    def files(self, commit: CommitId) -> Mapping[str, bytes]:
        try:
            _, files = read_commit(self._path, commit, folder=self._folder)
        except (pygit2.GitError, KeyError) as err:
            raise RepoError("read", commit, f"it is not whole: {err}", retryable=True) from err
        except UsageError as err:
            if not self.has(commit):  # the mirror's fault, not the commit's
                raise RepoError("read", commit, err.message, retryable=True) from err
            raise SpecError(
                [
                    Problem(
                        file=self._folder,
                        line=0,
                        column=0,
                        address="",
                        code="no-folder",
                        message=err.message,
                        hint=err.hint,
                    )
                ]
            ) from err
        return files

    def info(self, commit: CommitId) -> CommitInfo:
        found = self._commit(commit)
        if found is None:
            raise RepoError("read", commit, "the mirror does not hold it", retryable=True)
        subject = next(iter(found.message.splitlines()), "")
        return CommitInfo(
            commit=commit, subject=subject[:SUBJECT_CHARACTERS_MAX], author=found.author.name
        )

    def find(self, name: str) -> CommitId | None:
        return history.find(self._open(), name)

    def new_commits(self, base: CommitId, tip: CommitId, most: int) -> tuple[CommitId, ...]:
        return history.new_commits(self._open(), base, tip, most)

    def changed(self, before: CommitId | None, commit: CommitId) -> tuple[str, ...]:
        return history.changed(self._open(), before, commit, self._folder)

    def is_clean_merge(self, commit: CommitId) -> bool:
        return history.is_clean_merge(self._open(), commit)

    def signature(self, commit: CommitId, keys: Sequence[SignerKey], now_s: int) -> Signature:
        return self._signatures.check(commit, history.raw(self._open(), commit), keys, now_s)

    def _open(self) -> Any:  # noqa: ANN401  pygit2 has no types
        return fetch.open_mirror(self._path)

    def _commit(self, commit: CommitId) -> Any | None:  # noqa: ANN401
        try:
            return self._open()[commit].peel(pygit2.Commit)
        except (KeyError, ValueError, pygit2.GitError):
            return None

    def _failed(self, reason: str) -> RepoError:
        # libgit2 quotes addresses as it was given them; this text goes into the store and the journal.
        reason = _PASSWORD.sub(r"\1@", reason)
        return RepoError("fetch", f"{self._shown} {self._branch}", reason, retryable=True)


def _answer(text: str) -> dict[str, str]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}  # it died before it could answer
    return value if isinstance(value, dict) else {}


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{host}"))
