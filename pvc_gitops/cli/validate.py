"""`pvc validate`: every problem of a repository, each with its place and what to write instead."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.problem import Problem

FORMATS = ("pretty", "json", "github", "junit")


@click.command()
@click.option(
    "--repo", default=".", type=click.Path(path_type=Path), help="The repository's folder."
)
@click.option("--commit", "rev", metavar="REV", help="Read this commit instead of the folder.")
@click.option(
    "-o", "--output", "form", type=click.Choice(FORMATS), default="pretty", show_default=True
)
@click.pass_context
def validate(ctx: click.Context, repo: Path, rev: str | None, form: str) -> None:
    """Check a repository: every problem at once, each with its place and what to write instead.

    Exits 0 if it is valid, 1 if it has problems. Warnings never change the exit code.
    """
    from pvc_gitops.cli.problems import read_files

    started = time.perf_counter()
    commit, files, refused = read_files(repo, rev)
    problems, warned = examine(commit, files, refused)
    elapsed_ms = (time.perf_counter() - started) * 1000
    click.echo(render(form, problems, warned, files=len(files), elapsed_ms=elapsed_ms))
    ctx.exit(1 if problems else 0)


def examine(
    commit: CommitId | None, files: Mapping[str, bytes], refused: Sequence[Problem]
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Problems and, for a repository without any, warnings."""
    from pvc_gitops.spec import load
    from pvc_gitops.spec.warnings import warnings

    loaded = load.examine(files)
    found = tuple(sorted({*refused, *loaded.problems}))
    if found:
        return load.capped(found), ()
    return (), warnings(load.spec_of(loaded, commit=commit), files)


def render(
    form: str,
    problems: Sequence[Problem],
    warned: Sequence[Problem],
    *,
    files: int,
    elapsed_ms: float,
) -> str:
    """The whole output in one of FORMATS. Programs get problems only."""
    from pvc_gitops.spec import report

    if form == "json":
        return report.as_json(problems)
    if form == "junit":
        return report.as_junit(problems, files=files)
    if form == "github":
        rows = [report.as_github(problem) for problem in problems]
        rows += [report.as_github(problem, word="warning") for problem in warned]
        return "\n".join(rows)
    rows = [report.pretty(problem) for problem in problems]
    rows += [report.pretty(problem, word="warning") for problem in warned]
    return "\n".join([*rows, report.summary(problems, files=files, elapsed_ms=elapsed_ms)])
