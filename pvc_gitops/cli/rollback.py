"""`pvc rollback`: an earlier commit in force again, and git made to agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pvc_gitops.cli.wishes import reason_option, repo_option
from pvc_gitops.errors import UsageError

if TYPE_CHECKING:
    from pvc_gitops.adapters.client import Client
    from pvc_gitops.world.protocol import Rollback

EXIT_FAILED: Final = 1
EXIT_NOT_ALL: Final = 3
FOLLOW_TIMEOUT_S: Final = 1800.0


@click.command()
@click.argument("commit", default="")
@click.option(
    "--push", is_flag=True, help="Make the revert commit in the checkout and push it, too."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--timeout", "timeout_s", default=FOLLOW_TIMEOUT_S, show_default=True,
              help="Seconds to follow; the cluster goes on by itself afterwards.")  # fmt: skip
@reason_option
@repo_option
@click.pass_context
def rollback(
    ctx: click.Context,
    repo: Path,
    commit: str,
    reason: str,
    timeout_s: float,
    *,
    push: bool,
    yes: bool,
) -> None:
    """Put COMMIT in force again, by default the last one before that was carried out to its end.

    The plan is shown first, with what cannot be undone. What came after the commit is put aside: the
    cluster follows the branch again once its head holds nothing of that any more, which a revert
    does, or once `pvc source release` says so. A commit on top that changes something else does not
    bring it back.

    Deletions have the same budgets as those of any commit. Exits 3 when something stays that cannot
    be undone, 4 when the cluster would do something else by then, 5 when it is frozen or halted.
    """
    from pvc_gitops.cli.live import cluster

    with cluster(ctx.obj, repo) as client:
        shown = client.rollback(commit, reason=reason)
        _tell(shown)
        if push:
            _can_push(repo, shown)
        question = "Go on, although that stays as it is?" if shown.not_undone else "Go on?"
        if not (yes or click.confirm(question, default=not shown.not_undone)):
            raise UsageError("Nothing was changed.")
        client.rollback(shown.commit, reason=reason, effect=shown.plan.effect)
        click.echo(f"{shown.commit[:7]} is in force; what came after it is put aside.")
        is_done = _followed(client, shown, timeout_s)
    if push:
        _push(repo, shown)
    else:
        click.echo(f"Now make git agree:\n   {_revert_command(shown)} && git push")
        names = " ".join(each.commit[:7] for each in shown.quarantined)
        click.echo(f"or, if it was good after all: pvc source release {names} --reason …")
    ctx.exit(EXIT_FAILED if not is_done else EXIT_NOT_ALL if shown.not_undone else 0)


def _tell(shown: Rollback) -> None:
    from pvc_gitops.cli.terminal import wants_color, width
    from pvc_gitops.planner.render import text

    author = f" ({shown.author})" if shown.author else ""
    click.echo(f'{shown.now[:7]} -> {shown.commit[:7]} "{shown.subject}"{author}, putting aside')
    for each in shown.quarantined:
        click.echo(f'   {each.commit[:7]} "{each.subject}" ({each.author})')
    click.echo(text(shown.plan, width=width(), color=wants_color()))
    if shown.not_undone:
        click.echo(f"Not undone: {len(shown.not_undone)}")
        for item in shown.not_undone:
            click.echo(f"   {item.address}  {item.text}")


def _followed(client: Client, shown: Rollback, timeout_s: float) -> bool:
    """Show the steps; did they all come to a good end?"""
    import time

    from pvc_gitops.cli.following import follow, words

    ended = follow(client, shown.commit, timeout_s, began_s=time.monotonic())
    if ended.outcome == "applied":
        click.echo(f"Done in {ended.took_s:.0f} s.")
        return True
    click.echo(words(ended))
    return False


def _revert_command(shown: Rollback) -> str:
    if len(shown.quarantined) == 1:
        return f"git revert --no-edit {shown.quarantined[0].commit[:7]}"
    return f"git revert --no-edit {shown.commit[:7]}..{shown.quarantined[-1].commit[:7]}"


def _can_push(repo: Path, shown: Rollback) -> None:
    """Before anything is done. Raises UsageError."""
    from pvc_gitops.adapters.git import checkout
    from pvc_gitops.cli.live import spec_at

    tracked = spec_at(repo, "HEAD").cluster.source_branch
    state = checkout.read(repo, tracked, None)
    head = shown.quarantined[-1].commit
    if state.branch != tracked or state.dirty or state.head != head:
        raise UsageError(
            f"--push needs {tracked} at {head[:7]} with nothing changed in it",
            hint=f"git switch {tracked} && git pull, or go without --push",
        )


def _push(repo: Path, shown: Rollback) -> None:
    from pvc_gitops.adapters.git import checkout
    from pvc_gitops.cli.live import spec_at

    tracked = spec_at(repo, "HEAD").cluster.source_branch
    remote = checkout.read(repo, tracked, None).remote
    names = ", ".join(each.commit[:7] for each in shown.quarantined)
    message = f'Revert to {shown.commit[:7]} "{shown.subject}"\n\nThis takes back {names}.\n'
    head = checkout.commit_tree_of(repo, shown.commit, message)
    checkout.push(repo, remote, tracked)
    click.echo(f"{tracked} is {head[:7]}, with the content of {shown.commit[:7]}, and pushed.")
