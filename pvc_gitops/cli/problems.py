"""How commands show problems and find the files they speak about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.problem import Problem


def read_files(
    repo: Path, rev: str | None
) -> tuple[CommitId | None, Mapping[str, bytes], tuple[Problem, ...]]:
    """A repository's files, from the folder as it is or from a commit, and what must not be there."""
    if rev is None:
        from pvc_gitops.adapters.folder import scan_working_tree

        files, refused = scan_working_tree(repo)
        return None, files, refused
    from pvc_gitops.adapters.git.tree import scan_commit

    return scan_commit(repo, rev, folder=folder_in_repository(repo))


def folder_in_repository(repo: Path) -> str:
    """The folder's path below the top of its working tree; "." where there is none (a bare one)."""
    import pygit2

    found = pygit2.discover_repository(str(repo))
    workdir = None if found is None else pygit2.Repository(found).workdir
    if workdir is None:
        return "."
    return repo.resolve().relative_to(Path(workdir).resolve()).as_posix()


def show_problems(
    problems: Sequence[Problem], *, files: int, elapsed_ms: float, word: str = "error"
) -> None:
    """The pretty form on standard error, as every command shows a repository that is refused."""
    from pvc_gitops.spec.report import pretty, summary

    for problem in problems:
        click.echo(pretty(problem, word=word), err=True)
    click.echo(summary(problems, files=files, elapsed_ms=elapsed_ms), err=True)
