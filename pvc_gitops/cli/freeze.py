"""`pvc freeze`: the cluster stays with the plan it has."""

from __future__ import annotations

from pathlib import Path

import click

from pvc_gitops.cli.wishes import reason_option, repo_option, switch


@click.command()
@click.option("--end", "is_end", is_flag=True, help="End the freeze: the branch is followed again.")
@click.option("--for", "for_text", metavar="2h", help="End by itself after that long.")
@reason_option
@repo_option
@click.pass_context
def freeze(
    ctx: click.Context, repo: Path, reason: str, for_text: str | None, *, is_end: bool
) -> None:
    """Let no new plan become the target, whoever pushes what, until the freeze is ended.

    Commits are read and accepted, and wait. Steps of the plan in force go on: `pvc halt` stops those.
    Not stopped: what keeps things as they are. Guests that die are started again, networks are kept up,
    and what a lost node ran is recovered elsewhere.
    """
    from pvc_gitops.model.intents import IntentKind

    switch(ctx.obj, repo, IntentKind.FREEZE, is_end=is_end, reason=reason, for_text=for_text)
