"""A commit's files, read as git objects: no checkout, no filters, no hooks (DESIGN D8)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pygit2
from pygit2.enums import RepositoryOpenFlag

from pvc_gitops.errors import SpecError, UsageError
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.tree import ENTRIES_MAX, Entry, EntryType, admit, is_read

TESTS: Final = "tests"
_TREE: Final = 0o040000
_FILES: Final = frozenset({0o100644, 0o100755})
_SYMLINK: Final = 0o120000
_SUBMODULE: Final = 0o160000


def read_commit(
    repo_path: Path, rev: str, *, folder: str = "."
) -> tuple[CommitId, Mapping[str, bytes]]:
    """Everything that is read of one commit, path to bytes.

    Args:
        repo_path: a working tree, a bare repository, or a folder below one.
        rev: anything that names a commit.
        folder: the folder inside the repository that holds cluster.yaml (`source.path`).

    Raises:
        SpecError: something lies there that must not.
        UsageError: no repository, no such commit, or no such folder in it.
    """
    commit, files, problems = scan_commit(repo_path, rev, folder=folder)
    if problems:
        raise SpecError(problems)
    return commit, files


def scan_commit(
    repo_path: Path, rev: str, *, folder: str = "."
) -> tuple[CommitId, Mapping[str, bytes], tuple[Problem, ...]]:
    """As `read_commit`, with the refusals as values."""
    repository = open_repository(repo_path)
    commit = commit_of(repository, rev)
    files, problems = scan_tree(repository, commit.tree, folder)
    return CommitId(str(commit.id)), files, problems


def scan_tree(
    repository: Any, tree: Any, folder: str  # noqa: ANN401  pygit2 has no types
) -> tuple[Mapping[str, bytes], tuple[Problem, ...]]:  # fmt: skip
    """What is read of one tree, and what must not be there. Raises UsageError."""
    found: dict[str, Any] = {}
    paths, problems = admit(_walk(repository, _subtree(tree, folder), found))
    return {path: repository[found[path]].data for path in paths}, problems


def read_tests(repo_path: Path, rev: str, folder: str) -> Mapping[str, bytes]:
    """The documents in the folder `tests` of a commit, which no cluster reads. Raises UsageError."""
    repository = open_repository(repo_path)
    root = _subtree(commit_of(repository, rev).tree, folder)
    try:
        tests = root[TESTS]
    except KeyError:
        return {}
    found = {}
    for item in tests if isinstance(tests, pygit2.Tree) else ():
        name = (item.raw_name or b"").decode("utf-8", "replace")
        if name.endswith(".yaml") and item.filemode in _FILES:
            found[f"{TESTS}/{name}"] = repository[item.id].data
    return found


def commit_of(repository: Any, rev: str) -> Any:  # noqa: ANN401
    """Anything that names a commit. Raises UsageError."""
    try:
        return repository.revparse_single(rev).peel(pygit2.Commit)
    except (KeyError, ValueError, pygit2.GitError) as err:
        where = repository.workdir or repository.path
        raise UsageError(f"{where} has no commit {rev!r}", hint="git log shows them") from err


def open_repository(path: Path) -> Any:  # noqa: ANN401
    """The repository around a path: a working tree, a bare one, or one that is receiving a push.

    Raises UsageError.
    """
    found = pygit2.discover_repository(str(path))
    if found is None:
        raise UsageError(
            f"{path} is not in a git repository", hint="leave --commit away, or git init"
        )
    try:
        if _is_receiving(found):
            # What is being pushed lies in a quarantine until the hook has said yes; only git's
            # environment names it (git-receive-pack(1)).
            return pygit2.Repository(found, RepositoryOpenFlag.FROM_ENV)
        return pygit2.Repository(found)
    except pygit2.GitError as err:
        # Most often: it belongs to another user, and libgit2 asks for safe.directory.
        raise UsageError(f"cannot open the git repository {found}: {err}") from err


def _is_receiving(found: str) -> bool:
    """Are we run by a hook of this very repository?"""
    git_dir = os.environ.get("GIT_DIR")
    if git_dir is None or "GIT_QUARANTINE_PATH" not in os.environ:
        return False
    return Path(git_dir).resolve() == Path(found).resolve()


def _subtree(tree: Any, folder: str) -> Any:  # noqa: ANN401
    if folder in ("", "."):
        return tree
    try:
        below = tree[folder]
    except KeyError:
        below = None
    if not isinstance(below, pygit2.Tree):
        raise UsageError(
            f"the commit has no folder {folder}", hint="see source.path in cluster.yaml"
        )
    return below


def _walk(repository: Any, root: Any, found: dict[str, Any]) -> Iterator[Entry]:  # noqa: ANN401
    """Entries below `root`; `found` gets the id of each blob. Stops a little beyond ENTRIES_MAX."""
    waiting: list[tuple[str, Any]] = [("", root)]
    count = 0
    while waiting:
        prefix, tree = waiting.pop()
        for item in tree:
            path = prefix + item.raw_name.decode("utf-8", "replace")
            if not is_read(path):
                continue
            count += 1
            if item.filemode == _TREE:
                waiting.append((path + "/", item))
            else:
                found[path] = item.id
                yield _entry(repository, path, item)
            if count > ENTRIES_MAX:
                return


def _entry(repository: Any, path: str, item: Any) -> Entry:  # noqa: ANN401
    if item.filemode == _SYMLINK:
        return Entry(path=path, type=EntryType.SYMLINK, size_bytes=0)
    if item.filemode == _SUBMODULE:
        return Entry(path=path, type=EntryType.SUBMODULE, size_bytes=0)
    # libgit2 reads the object for this. The mirror's fetch has a limit on the pack, so that is bounded;
    # reading only the header is not offered by Debian 13's pygit2.
    return Entry(path=path, type=EntryType.FILE, size_bytes=repository[item.id].size)
