"""`pvc source`: the repository as the cluster sees it."""

from __future__ import annotations

from pathlib import Path

import click

from pvc_gitops.cli.wishes import repo_option


@click.group()
def source() -> None:
    """The repository as the cluster sees it."""


@source.command()
@click.argument("commit")
@click.option("--reason", required=True, help="Why it is good after all; shown to everybody.")
@repo_option
@click.pass_context
def release(ctx: click.Context, repo: Path, commit: str, reason: str) -> None:
    """Take COMMIT out of quarantine, where a rollback has put it.

    When none is left there, the head of the branch is in force again, with all that it holds. The
    other way out is a revert of the commit: `pvc rollback` prints it.
    """
    from pvc_gitops.cli.live import cluster

    with cluster(ctx.obj, repo) as client:
        found = client.release(commit, reason=reason)
        click.echo(f'{found.commit[:7]} "{found.subject}" is out of quarantine.')
