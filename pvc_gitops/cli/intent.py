"""`pvc intent`: what operators want for the moment, besides git."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pvc_gitops.cli.wishes import reason_option, repo_option, shown, table


@click.group()
def intent() -> None:
    """What operators want for the moment, besides git: freezes, halts, drains, held guests.

    An intent never changes git, and git never ends an intent; both are shown side by side. Each has an
    author, a reason and an end. Before an end that will do something, `pvc status` says so for half an
    hour.
    """


@intent.command("list")
@click.option("-o", "--output", type=click.Choice(["pretty", "json"]), default="pretty")
@repo_option
@click.pass_context
def list_(ctx: click.Context, repo: Path, output: str) -> None:
    """Show all that are in force, the oldest first."""
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.codec import encode

    with cluster(ctx.obj, repo) as client:
        found = client.intents()
    if output == "json":
        click.echo(json.dumps([encode(each) for each in found], indent=1, sort_keys=True))
    else:
        click.echo(table(found))


@intent.command()
@click.argument("name", metavar="ID")
@reason_option
@repo_option
@click.pass_context
def end(ctx: click.Context, repo: Path, name: str, reason: str) -> None:
    """End one before its time: `pvc intent end freeze-3`."""
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.intents import IntentId

    with cluster(ctx.obj, repo) as client:
        click.echo(f"ended {shown(client.end_intent(IntentId(name), reason=reason))}")
