"""The repository at the founding commit: one bare fetch, before there is an agent with its mirror."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pygit2

from pvc_gitops.adapters.formation.journal import Journal
from pvc_gitops.adapters.git.tree import read_commit
from pvc_gitops.errors import RepoError, UsageError
from pvc_gitops.formation.seed import Seed
from pvc_gitops.model.ids import CommitId

MIRROR: Final = "/var/lib/pvc/formation/source.git"
PATIENCE_S: Final = 60.0  # a switch port that comes up late; then systemd tries again
LOOK_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingCommit:
    """The commit that the seed names, and what is read of it."""

    commit: CommitId
    subject: str
    author: str
    files: Mapping[str, bytes]


def read(seed: Seed) -> FoundingCommit:
    """The founding commit, fetched if it is not here yet.

    Raises:
        RepoError: the repository does not answer or lacks the branch; worth another try.
        UsageError: the branch does not hold the commit.
        SpecError: something lies in the tree that must not.
    """
    repository = _mirror()
    if seed.founding_commit not in repository:
        _fetch(repository, seed)
    if seed.founding_commit not in repository:
        raise UsageError(
            f"{seed.url} {seed.branch} does not hold the founding commit {seed.founding_commit[:12]}",
            hint="push that commit, or install the nodes from a seed that names a later one",
        )
    commit, files = read_commit(Path(MIRROR), seed.founding_commit, folder=seed.path)
    found = repository[commit].peel(pygit2.Commit)
    subject = found.message.splitlines()[0] if found.message else ""
    return FoundingCommit(commit=commit, subject=subject, author=found.author.name, files=files)


def wait_for(seed: Seed, journal: Journal) -> FoundingCommit:
    """As `read`, with patience for a repository that does not answer yet."""
    journal.begin("repository")
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            commit = read(seed)
        except RepoError as err:
            if time.monotonic() > end:
                raise
            journal.wait_for("repository", f"the repository ({err.reason})")
            time.sleep(LOOK_S)
        else:
            journal.end("repository", f"repository read at {commit.commit[:12]}")
            return commit


def _mirror() -> pygit2.Repository:
    if (Path(MIRROR) / "HEAD").exists():
        return pygit2.Repository(MIRROR)
    return pygit2.init_repository(MIRROR, bare=True)


def _fetch(repository: pygit2.Repository, seed: Seed) -> None:
    remote = repository.remotes.create_anonymous(seed.url)
    refspec = f"+refs/heads/{seed.branch}:refs/heads/{seed.branch}"
    try:
        remote.fetch([refspec])
    except pygit2.GitError as err:
        raise RepoError("fetch", seed.url, str(err), retryable=True) from err
