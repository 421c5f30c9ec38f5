"""`pvc status`: is everything all right? One screen, the first line alone must answer."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

WATCH_EVERY_S = 2.0
EXIT_BY_HEALTH = {"HEALTHY": 0, "DEGRADED": 1, "CRITICAL": 2, "UNKNOWN": 2}


@click.command()
@click.option("--repo", default=".", type=click.Path(path_type=Path), help="A checkout.")
@click.option("-o", "--output", type=click.Choice(["pretty", "json"]), default="pretty")
@click.option("-w", "--watch", is_flag=True, help="Redraw until interrupted.")
@click.option("--exit-code", is_flag=True, help="0 healthy, 1 degraded, 2 critical or unknown.")
@click.pass_context
def status(ctx: click.Context, repo: Path, output: str, watch: bool, exit_code: bool) -> None:
    """Show the whole cluster on one screen: source, plan, storage, nodes, what needs you."""
    from pvc_gitops.cli import show
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.cli.terminal import wants_color, width
    from pvc_gitops.model.codec import encode

    with cluster(ctx.obj, repo) as client:
        while True:
            state = client.status()
            observed = None if output == "json" else client.inventory()
            if output == "json":
                click.echo(json.dumps(encode(state), indent=1, sort_keys=True))
            else:
                text = show.status_text(state, observed, width=width(), color=wants_color())
                click.echo(("\x1b[H\x1b[2J" if watch else "") + text)
            if not watch:
                break
            time.sleep(WATCH_EVERY_S)
    if exit_code:
        ctx.exit(EXIT_BY_HEALTH[show.health(state).word])
