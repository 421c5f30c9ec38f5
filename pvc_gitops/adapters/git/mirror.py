"""This node's bare mirror of the cluster's repository: `Mirror` implements world.ports.Repo."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import pygit2
from pygit2.enums import Option

from pvc_gitops.adapters.git import fetch, history
from pvc_gitops.adapters.git import pack as packs
from pvc_gitops.adapters.git.signatures import Signatures
from pvc_gitops.adapters.git.tree import read_commit
from pvc_gitops.errors import RepoError, SpecError, UsageError
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.source import Source
from pvc_gitops.model.tree import is_read
from pvc_gitops.model.trust import Signature, SignerKey
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import CommitInfo, Fetched

FETCH_S: Final = 60.0  # a first clone over a slow line; a usual one takes 0.1 s
# All that is read of one commit may have 64 MiB (model.tree); this leaves room for its history.
BYTES_MAX: Final = 256 * 1024 * 1024
FILE_BYTES_MAX: Final = 64 * 1024 * 1024  # four times what is read of the largest file
# Of the process that fetches. 200 MiB of files that do not compress took 484 MiB.
MEMORY_BYTES_MAX: Final = 2 * 1024 * 1024 * 1024
# An ssh server's key must stand in .ssh/known_hosts below it; formation writes the seed's there.
HOME: Final = "/var/lib/pvc"
SUBJECT_CHARACTERS_MAX: Final = 120
MESSAGE_CHARACTERS_MAX: Final = (
    64 * 1024
)  # trailers stand at its end; longer messages have none for us
# Of the values of the Secret that source.credentials names; where none of them is there, its first value.
CREDENTIAL_KEYS: Final = ("key", "token", "password")
_PASSWORD: Final = re.compile(r"(://[^/\s:@]*):[^/\s@]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where to fetch from. Without host keys of its own, those of the seed count."""

    url: str
    branch: str
    credential: str | None
    host_keys: tuple[str, ...]


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
        open_secret: Callable[[bytes], Mapping[str, str] | None] | None = None,
    ) -> None:
        """`url`, `branch`, `credential`: of the seed. `open_secret`: a Secret document to its values,
        None where this node cannot open it."""
        self._path = path
        self._url = url
        self._branch = branch
        self._folder = folder
        self._credential = credential
        self._limit_s = limit_s
        self._bytes_max = bytes_max
        self._open_secret = open_secret
        self._signatures = Signatures()
        # Root may read a mirror that another account owns; nothing of it is executed.
        pygit2.option(Option.SET_OWNER_VALIDATION, 0)

    def fetch(self, source: Source | None = None) -> Fetched:
        places = self._places(source)
        why = ""
        for number, place in enumerate(places):
            try:
                tip = self._fetch(place, number)
            except RepoError as err:
                # The first says why there is no origin; what the others lack is seen in its shadow.
                if number + 1 == len(places):
                    raise RepoError(
                        err.operation, err.target, why or err.reason, retryable=True
                    ) from err
                why = why or err.reason
            else:
                mirror = without_secrets(place.url) if number else ""
                return Fetched(tip=tip, mirror=mirror, error=why)
        raise AssertionError("there is always the place of the seed")

    def take(self, pack: bytes, head: CommitId) -> None:
        if len(pack) > self._bytes_max:
            raise RepoError("unpack", head, "the pack is too large", retryable=False)
        packs.read(self._path, head, pack)

    def _places(self, source: Source | None) -> list[_Place]:
        """Where to ask, in order. Where the node was installed from is asked last of all: a wrong URL
        in a commit can be repaired by a push to the old place."""
        seed = _Place(url=self._url, branch=self._branch, credential=self._credential, host_keys=())
        if source is None or source.url is None:
            own = [] if source is None else [*source.mirrors]
            return [seed, *(replace(seed, url=url) for url in own)]
        declared = replace(
            seed,
            url=source.url,
            branch=source.branch,
            host_keys=source.host_keys,
            credential=self._declared_credential(source),
        )
        mirrors = [replace(declared, url=url) for url in source.mirrors]
        is_same = (seed.url, seed.branch) == (declared.url, declared.branch)
        return [declared, *mirrors, *([] if is_same else [seed])]

    def _declared_credential(self, source: Source) -> str | None:
        """The Secret's, where this node can open it; else what it was installed with."""
        if source.secret is None or source.commit is None or self._open_secret is None:
            return self._credential
        document = self._file(source.commit, f"secrets/{source.secret}.yaml")
        values = None if document is None else self._open_secret(document)
        if not values:
            return self._credential
        named = [values[key] for key in CREDENTIAL_KEYS if key in values]
        return named[0] if named else next(iter(values.values()))

    def _file(self, commit: CommitId, path: str) -> bytes | None:
        """One file of a commit, None where there is none."""
        whole = path if self._folder in ("", ".") else f"{self._folder}/{path}"
        try:
            found = self._open()[commit].peel(pygit2.Tree)[whole]
        except (KeyError, ValueError, pygit2.GitError):
            return None
        return bytes(found.data) if isinstance(found, pygit2.Blob) else None

    def _fetch(self, place: _Place, number: int) -> CommitId:
        request = {
            "mirror": str(self._path),
            "url": place.url,
            "branch": place.branch,
            "credential": place.credential,
            "bytes_max": self._bytes_max,
            "memory_bytes_max": MEMORY_BYTES_MAX,
            "ref": f"refs/remotes/mirror{number}/{place.branch}" if number else "",
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
                    "HOME": self._home(place),
                    "LC_ALL": "C.UTF-8",
                },
            )
        except subprocess.TimeoutExpired as err:
            words = f"no end within {self._limit_s:g} s; the fetch was killed"
            raise _failed(place, words) from err
        answer = _answer(done.stdout)
        if "tip" in answer:
            return CommitId(answer["tip"])
        words = answer.get("error") or _last_line(done.stderr) or "the fetch crashed"
        raise _failed(place, words)

    def _home(self, place: _Place) -> str:
        """The folder whose .ssh/known_hosts says which ssh servers are believed."""
        if not place.host_keys:
            return HOME
        home = self._path.with_name(f"{self._path.name}.home")
        known = home / ".ssh" / "known_hosts"
        text = "".join(f"{line.strip()}\n" for line in place.host_keys)
        if not known.exists() or known.read_text(encoding="utf-8") != text:
            known.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = known.with_name("known_hosts.new")
            fresh.write_text(text, encoding="utf-8")
            fresh.rename(known)
        return str(home)

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
        self._refuse_bombs(commit)
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

    def _refuse_bombs(self, commit: CommitId) -> None:
        """Sizes by git's own program, which reads them without unpacking: to libgit2 a file of gigabytes
        that lies in kilobytes is one to load. By a fetch none comes, but by hand and from peers."""
        argv = ("ls-tree", "-r", "-l", "-z", "--full-tree", commit, "--", self._folder)
        prefix = "" if self._folder in ("", ".") else f"{self._folder.rstrip('/')}/"
        for row in packs.output(self._path, argv, "read", commit).split(b"\0"):
            facts, _, name = row.partition(b"\t")
            size = facts.rpartition(b" ")[2]
            path = name.decode(errors="replace").removeprefix(prefix)
            if size.isdigit() and int(size) > FILE_BYTES_MAX and is_read(path):
                raise SpecError(
                    [
                        Problem(
                            file=path,
                            line=0,
                            column=0,
                            address="",
                            code="too-large",
                            message=f"has {int(size)} bytes, {FILE_BYTES_MAX} is the most anywhere",
                            hint="large files belong on the server that images come from",
                        )
                    ]
                )

    def info(self, commit: CommitId) -> CommitInfo:
        found = self._commit(commit)
        if found is None:
            raise RepoError("read", commit, "the mirror does not hold it", retryable=True)
        subject = next(iter(found.message.splitlines()), "")
        return CommitInfo(
            commit=commit,
            subject=subject[:SUBJECT_CHARACTERS_MAX],
            author=found.author.name,
            message=found.message[:MESSAGE_CHARACTERS_MAX],
            tree=str(found.tree_id),
            parents=tuple(CommitId(str(parent)) for parent in found.parent_ids),
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


def _failed(place: _Place, reason: str) -> RepoError:
    # libgit2 quotes addresses as it was given them; this text goes into the store and the journal.
    reason = _PASSWORD.sub(r"\1@", reason)
    return RepoError(
        "fetch", f"{without_secrets(place.url)} {place.branch}", reason, retryable=True
    )


def _answer(text: str) -> dict[str, str]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}  # it died before it could answer
    return value if isinstance(value, dict) else {}


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def without_secrets(url: str) -> str:
    """An address as it may be shown."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{host}"))
