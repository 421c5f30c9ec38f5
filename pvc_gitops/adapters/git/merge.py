"""What a branch would be once it is merged: its files onto a base's, in memory.

Nothing is checked out, no ref moves and no commit is made. libgit2 leaves the blobs of files that both
sides changed among the repository's loose objects, as `git merge-tree` does; git collects them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pygit2

from pvc_gitops.adapters.git.tree import commit_of, open_repository, scan_tree
from pvc_gitops.errors import UsageError
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.tree import ENTRIES_MAX, Entry, EntryType, admit, is_read
from pvc_gitops.model.values import dataclass

_SYMLINK: Final = 0o120000
_SUBMODULE: Final = 0o160000
_CONFLICTS_NAMED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A branch onto a base. `commit` is None where their merge would be a commit of its own."""

    base: CommitId
    head: CommitId
    commit: CommitId | None
    files: Mapping[str, bytes]
    problems: tuple[Problem, ...]  # of what lies in the result
    base_files: Mapping[str, bytes]


def merge(repo_path: Path, base_rev: str, head_rev: str, *, folder: str = ".") -> Merged:
    """Read both, and their merge.

    Raises:
        UsageError: no repository, no such commit, nothing in common, or files that both changed.
    """
    repository = open_repository(repo_path)
    base, head = commit_of(repository, base_rev), commit_of(repository, head_rev)
    base_files, base_problems = scan_tree(repository, base.tree, folder)
    if base_problems:
        raise UsageError(
            f"the base {base_rev} is not valid itself: {base_problems[0].message}",
            hint=f"pvc validate --commit {base_rev}",
        )
    commit = _contained(repository, base, head)
    if commit is not None:
        files, problems = scan_tree(repository, commit.tree, folder)
    else:
        files, problems = _merged(repository, base, head, folder)
    return Merged(
        base=CommitId(str(base.id)),
        head=CommitId(str(head.id)),
        commit=None if commit is None else CommitId(str(commit.id)),
        files=files,
        problems=problems,
        base_files=base_files,
    )


def contains(repo_path: Path, base_rev: str) -> CommitId | None:
    """The base, if what is checked out descends from it, else None. Raises UsageError."""
    repository = open_repository(repo_path)
    base, head = commit_of(repository, base_rev), commit_of(repository, "HEAD")
    is_contained = base.id == head.id or repository.descendant_of(head.id, base.id)
    return CommitId(str(base.id)) if is_contained else None


def _contained(repository: Any, base: Any, head: Any) -> Any | None:  # noqa: ANN401  pygit2's
    """The one of the two that holds the other: their merge is that commit."""
    if base.id == head.id or repository.descendant_of(head.id, base.id):
        return head
    return base if repository.descendant_of(base.id, head.id) else None


def _merged(
    repository: Any, base: Any, head: Any, folder: str  # noqa: ANN401
) -> tuple[Mapping[str, bytes], tuple[Problem, ...]]:  # fmt: skip
    try:
        index = repository.merge_commits(base, head)
    except (pygit2.GitError, KeyError) as err:
        raise UsageError(
            f"{str(head.id)[:7]} and {str(base.id)[:7]} cannot be merged: {err}",
            hint="do they come from one repository, and is its history whole? git fetch --unshallow",
        ) from err
    if index.conflicts is not None:
        names = sorted({_name(each) for each in index.conflicts})
        more = len(names) - _CONFLICTS_NAMED
        shown = ", ".join(names[:_CONFLICTS_NAMED]) + (f" and {more} more" if more > 0 else "")
        raise UsageError(
            f"it does not merge into {str(base.id)[:7]}: both changed {shown}",
            hint=f"git rebase {str(base.id)[:7]}, or merge it and solve the conflict",
        )
    found: dict[str, Any] = {}
    paths, problems = admit(_entries(repository, index, folder, found))
    return {path: repository[found[path]].data for path in paths}, problems


def _name(conflict: Any) -> str:  # noqa: ANN401
    return str(next(side.path for side in conflict if side is not None))


def _entries(
    repository: Any, index: Any, folder: str, found: dict[str, Any]  # noqa: ANN401
) -> Iterator[Entry]:  # fmt: skip
    prefix = "" if folder in ("", ".") else f"{folder.rstrip('/')}/"
    for count, item in enumerate(index):
        if count > ENTRIES_MAX:
            return
        path = item.path.removeprefix(prefix)
        if not item.path.startswith(prefix) or not is_read(path):
            continue
        kind = {_SYMLINK: EntryType.SYMLINK, _SUBMODULE: EntryType.SUBMODULE}.get(int(item.mode))
        found[path] = item.id
        size = repository[item.id].size if kind is None else 0
        yield Entry(path=path, type=kind or EntryType.FILE, size_bytes=size)
