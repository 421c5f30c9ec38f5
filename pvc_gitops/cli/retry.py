"""`pvc retry`: try again what is not tried by itself any more."""

from __future__ import annotations

from pathlib import Path

import click

from pvc_gitops.cli.wishes import reason_option, repo_option, shown
from pvc_gitops.errors import UsageError


@click.command()
@reason_option
@repo_option
@click.pass_context
def retry(ctx: click.Context, repo: Path, reason: str) -> None:
    """Try again now what failed, and count anew; let the planner go on that has stopped itself."""
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.intents import IntentKind

    with cluster(ctx.obj, repo) as client:
        target = client.target()
        if target is None:
            raise UsageError("no plan was published yet", hint="pvc status says what it waits for")
        click.echo(shown(client.wish(IntentKind.RETRY, target.commit, reason=reason)))
        click.echo(f"{target.commit[:7]} is tried again: pvc status -w")
