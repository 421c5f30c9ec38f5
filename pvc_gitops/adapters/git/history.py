"""What judging a commit needs of a repository's history: what is new, what it changed, what it merged.

Everything is bounded: a history that is made to be endless is refused, not walked.
"""

from __future__ import annotations

from typing import Any

import pygit2
from pygit2.enums import SortMode

from pvc_gitops.errors import RepoError
from pvc_gitops.model.ids import CommitId


def new_commits(
    repository: Any, base: CommitId, tip: CommitId, most: int  # noqa: ANN401
) -> tuple[CommitId, ...]:  # fmt: skip
    """What `tip` holds and `base` does not, parents before children. Raises RepoError beyond `most`."""
    try:
        walker = repository.walk(tip, SortMode.TOPOLOGICAL)
        walker.hide(base)
        found: list[CommitId] = []
        for commit in walker:
            found.append(CommitId(str(commit.id)))
            if len(found) > most:
                raise RepoError(
                    "read", tip, f"it brings more than {most} commits at once", retryable=False
                )
    except (pygit2.GitError, KeyError, ValueError) as err:
        raise RepoError("read", tip, f"its history is not whole: {err}", retryable=True) from err
    return tuple(reversed(found))


def changed(
    repository: Any, before: CommitId | None, commit: CommitId, folder: str  # noqa: ANN401
) -> tuple[str, ...]:  # fmt: skip
    """Paths in which a commit differs from another, in order; all of them where there is none.

    Those inside the folder that is read are given without it, those beside it are given whole.
    """
    found = _commit(repository, commit)
    try:
        if before is None:
            deltas = found.tree.diff_to_tree(swap=True).deltas
        else:
            deltas = _commit(repository, before).tree.diff_to_tree(found.tree).deltas
        paths = {path for delta in deltas for path in (delta.old_file.path, delta.new_file.path)}
    except (pygit2.GitError, KeyError) as err:
        raise RepoError("read", commit, f"it is not whole: {err}", retryable=True) from err
    prefix = "" if folder in ("", ".") else f"{folder.rstrip('/')}/"
    return tuple(sorted(path.removeprefix(prefix) for path in paths))


def is_clean_merge(repository: Any, commit: CommitId) -> bool:  # noqa: ANN401
    """Is it a merge of two, whose tree is what merging them without a conflict gives?

    Then it says nothing of its own, whoever made it.
    """
    found = _commit(repository, commit)
    if len(found.parent_ids) != 2:  # noqa: PLR2004
        return False
    try:
        index = repository.merge_commits(*found.parent_ids)
        return index.conflicts is None and index.write_tree(repository) == found.tree.id
    except (pygit2.GitError, KeyError) as err:
        raise RepoError(
            "read", commit, f"its parents cannot be merged: {err}", retryable=True
        ) from err


def raw(repository: Any, commit: CommitId) -> bytes:  # noqa: ANN401
    """The commit object as it is signed. Raises RepoError."""
    return bytes(_commit(repository, commit).read_raw())


def _commit(repository: Any, commit: CommitId) -> Any:  # noqa: ANN401
    try:
        found = repository[commit]
    except (KeyError, ValueError, pygit2.GitError) as err:
        raise RepoError("read", commit, "the mirror does not hold it", retryable=True) from err
    if not isinstance(found, pygit2.Commit):
        raise RepoError("read", commit, "it is no commit", retryable=False)
    return found


def find(repository: Any, name: str) -> CommitId | None:  # noqa: ANN401
    """The commit whose id begins so; None where there is none, or several."""
    try:
        found = repository[name]
    except (KeyError, ValueError, pygit2.GitError):
        return None
    return CommitId(str(found.id)) if isinstance(found, pygit2.Commit) else None
