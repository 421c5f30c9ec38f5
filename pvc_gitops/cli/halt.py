"""`pvc halt`: stop at the next step boundary."""

from __future__ import annotations

from pathlib import Path

import click

from pvc_gitops.cli.wishes import reason_option, repo_option, switch


@click.command()
@click.option("--end", "is_end", is_flag=True, help="End the halt: steps begin again.")
@click.option("--for", "for_text", metavar="2h", help="End by itself after that long.")
@reason_option
@repo_option
@click.pass_context
def halt(
    ctx: click.Context, repo: Path, reason: str, for_text: str | None, *, is_end: bool
) -> None:
    """Let steps that run come to their end and begin no other, until the halt is ended.

    Once this command returns, no node begins a step any more. The target stays, and nothing new
    becomes the target meanwhile. Not stopped: what keeps things as they are. Guests that die are
    started again, networks are kept up, and what a lost node ran is recovered elsewhere.
    """
    from pvc_gitops.model.intents import IntentKind

    switch(ctx.obj, repo, IntentKind.HALT, is_end=is_end, reason=reason, for_text=for_text)
