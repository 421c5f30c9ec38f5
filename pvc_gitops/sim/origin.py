"""The git remote and the nodes' mirrors of it, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Final

from pvc_gitops.errors import RepoError
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.source import Source
from pvc_gitops.model.trust import PLAYER, Signature, SignerKey, Verdict
from pvc_gitops.model.values import dataclass
from pvc_gitops.sim.process import Process
from pvc_gitops.world.ports import CommitInfo, Fetched

AUTHOR: Final = "operator"


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: its parent, and all files that are read."""

    parent: CommitId | None
    files: Mapping[str, bytes]
    subject: str  # or the whole message


@dataclass(slots=True)
class Origin:
    """The remote. `tip` is None when the branch was deleted."""

    commits: dict[CommitId, Commit] = field(default_factory=dict)
    tip: CommitId | None = None
    is_up: bool = True

    def push(
        self, files: Mapping[str, bytes], subject: str, *, is_forced: bool = False
    ) -> CommitId:
        """A new commit on the branch; a forced one has no parent."""
        parent = None if is_forced else self.tip
        name = _name(parent, files, subject)
        self.commits[name] = Commit(parent=parent, files=dict(files), subject=subject)
        self.tip = name
        return name

    def rewind(self) -> None:
        """The branch points at the parent of its tip."""
        if self.tip is not None:
            self.tip = self.commits[self.tip].parent

    def delete_branch(self) -> None:
        self.tip = None

    def ancestors(self, of: CommitId) -> frozenset[CommitId]:
        """Itself included."""
        found: set[CommitId] = set()
        at: CommitId | None = of
        while at is not None and at not in found:
            found.add(at)
            at = self.commits[at].parent
        return frozenset(found)


@dataclass(slots=True)
class Mirror:
    """What one node's disk holds; it survives reboots."""

    held: set[CommitId] = field(default_factory=set)


@dataclass(slots=True)
class RepoPort:
    """One process's view of its node's mirror: the Repo port."""

    origin: Origin
    mirror: Mirror
    process: Process
    can_reach: Callable[[], bool]

    def fetch(self, source: Source | None = None) -> Fetched:
        del source  # there is one
        if not self.origin.is_up or not self.can_reach():
            raise RepoError("fetch", "origin", "the remote does not answer", retryable=True)
        tip = self.origin.tip
        if tip is None:
            raise RepoError(
                "fetch",
                "origin",
                "the branch is gone from the remote; push it again, nothing is adopted meanwhile",
                retryable=True,
            )
        self.process.spend()
        self.mirror.held |= self.origin.ancestors(tip)
        return Fetched(tip=tip)

    def take(self, pack: bytes, head: CommitId) -> None:
        """A pack is the names of its commits: what they hold is known here."""
        names = {CommitId(name) for name in pack.decode().split()}
        if head not in names or not names <= self.origin.commits.keys():
            raise RepoError("unpack", head, "the pack is not whole", retryable=False)
        self.mirror.held |= names

    def has(self, commit: CommitId) -> bool:
        return commit in self.mirror.held

    def is_ancestor(self, older: CommitId, newer: CommitId) -> bool:
        self._need(newer)
        return older in self.origin.ancestors(newer)

    def files(self, commit: CommitId) -> Mapping[str, bytes]:
        self._need(commit)
        return self.origin.commits[commit].files

    def info(self, commit: CommitId) -> CommitInfo:
        self._need(commit)
        found = self.origin.commits[commit]
        return CommitInfo(
            commit=commit,
            subject=found.subject.partition("\n")[0],
            author=AUTHOR,
            message=found.subject,
            tree=_name(None, found.files, ""),
            parents=() if found.parent is None else (found.parent,),
        )

    def find(self, name: str) -> CommitId | None:
        found = [commit for commit in self.mirror.held if commit.startswith(name)]
        return found[0] if len(found) == 1 else None

    def new_commits(self, base: CommitId, tip: CommitId, most: int) -> tuple[CommitId, ...]:
        new: list[CommitId] = []
        known, at = self.origin.ancestors(base), tip
        while at not in known:
            new.append(at)
            parent = self.origin.commits[at].parent
            if parent is None:
                break
            at = parent
        if len(new) > most:
            raise RepoError("read", tip, f"it brings more than {most} commits", retryable=False)
        return tuple(reversed(new))

    def changed(self, before: CommitId | None, commit: CommitId) -> tuple[str, ...]:
        self._need(commit)
        new = self.origin.commits[commit].files
        old = {} if before is None else self.origin.commits[before].files
        return tuple(p for p in sorted(old.keys() | new.keys()) if old.get(p) != new.get(p))

    def is_clean_merge(self, commit: CommitId) -> bool:
        self._need(commit)
        return False  # history here is a line

    def signature(self, commit: CommitId, keys: Sequence[SignerKey], now_s: int) -> Signature:
        """Whoever plays made it, and has no key: as root of a node would."""
        del keys, now_s
        self._need(commit)
        return Signature(verdict=Verdict.GOOD, holder=PLAYER, words="whoever plays")

    def _need(self, commit: CommitId) -> None:
        if commit not in self.mirror.held:
            raise RepoError("read", commit, "this mirror does not hold it", retryable=True)


def _name(parent: CommitId | None, files: Mapping[str, bytes], subject: str) -> CommitId:
    digest = hashlib.sha1(usedforsecurity=False)
    for part in (parent or "", subject):
        digest.update(part.encode() + b"\0")
    for path in sorted(files):
        digest.update(path.encode() + b"\0" + files[path] + b"\0")
    return CommitId(digest.hexdigest())
