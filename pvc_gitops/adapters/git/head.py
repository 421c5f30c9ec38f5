"""What commit a folder stands on, and whether it still says what that commit says."""

from __future__ import annotations

from pathlib import Path

import pygit2

from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """HEAD, and the files below the folder that differ from it, by their path inside the folder."""

    commit: CommitId
    changed: tuple[str, ...]


def read_head(folder: Path) -> Head | None:
    """None outside of git, before the first commit, and where libgit2 may not look (a repository of
    another user): a folder can be read without it."""
    try:
        found = pygit2.discover_repository(str(folder))
        repository = None if found is None else pygit2.Repository(found)
        if repository is None or repository.workdir is None or repository.head_is_unborn:
            return None
        inside = folder.resolve().relative_to(Path(repository.workdir).resolve()).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        clean = pygit2.enums.FileStatus.CURRENT | pygit2.enums.FileStatus.IGNORED
        changed = sorted(
            path.removeprefix(prefix)
            for path, flags in repository.status().items()
            if path.startswith(prefix) and flags & ~clean
        )
        commit = CommitId(str(repository.head.peel(pygit2.Commit).id))
    except pygit2.GitError:
        return None
    return Head(commit=commit, changed=tuple(changed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorship:
    """Who wrote a commit, and its first line."""

    author: str
    subject: str


def authorship(folder: Path, commit: CommitId) -> Authorship | None:
    """None where the repository around the folder does not have the commit."""
    try:
        found = pygit2.discover_repository(str(folder))
        each = None if found is None else pygit2.Repository(found).get(commit)
    except (pygit2.GitError, ValueError):
        return None
    if not isinstance(each, pygit2.Commit):
        return None
    author = f"{each.author.name} <{each.author.email}>"
    return Authorship(author=author, subject=each.message.partition("\n")[0])
