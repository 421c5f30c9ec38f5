"""`pvc approve`: let a plan go that waits in manual mode."""

from __future__ import annotations

from pathlib import Path

import click

from pvc_gitops.cli.wishes import reason_option, repo_option, shown
from pvc_gitops.errors import UsageError

EXIT_DIFFERENT = 4


@click.command()
@click.argument("effect")
@reason_option
@repo_option
@click.pass_context
def approve(ctx: click.Context, repo: Path, effect: str, reason: str) -> None:
    """Approve the plan with this EFFECT, which `pvc plan`, `pvc status` and the waiting plan itself
    show, and which is the same for a preview and for the merge of it.

    One approval lets one plan go. If by then the cluster would do something else, the effect is
    another and the plan waits for another approval (exit 4).
    """
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.control import Obstacle
    from pvc_gitops.model.intents import IntentKind

    with cluster(ctx.obj, repo) as client:
        held = client.status().withheld
        if held is None or held.obstacle is not Obstacle.APPROVAL:
            raise UsageError(
                "no plan waits for approval", hint="pvc status says what the cluster does"
            )
        if held.effect != effect:
            raise UsageError(
                f"effect {held.effect} waits, not {effect}: {held.text}",
                hint=f"pvc plan shows it; then: pvc approve {held.effect}",
                exit_code=EXIT_DIFFERENT,
            )
        click.echo(shown(client.wish(IntentKind.APPROVE, effect, reason=reason)))
        click.echo("pvc status -w, or pvc apply, follows it.")
