"""`pvc source`: the repository as the cluster sees it, and what is done when it is away or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvc_gitops.cli.wishes import repo_option
from pvc_gitops.errors import UsageError

if TYPE_CHECKING:  # heavy; only what runs needs them
    from pvc_gitops.model.source import SourceOutcome

EXIT_REFUSED = 1


@click.group()
def source() -> None:
    """The repository as the cluster sees it."""


@source.command()
@click.option("-o", "--output", type=click.Choice(["pretty", "json"]), default="pretty")
@repo_option
@click.pass_context
def status(ctx: click.Context, repo: Path, output: str) -> None:
    """Show what is in force, what is refused and why, and what to do about it.

    Exits 1 while something is refused or the origin has diverged.
    """
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.cli.show_source import is_quiet, source_text
    from pvc_gitops.model.codec import encode

    with cluster(ctx.obj, repo) as client:
        state = client.source()
    if output == "json":
        click.echo(json.dumps(encode(state), indent=1, sort_keys=True))
    else:
        click.echo(source_text(state))
    ctx.exit(0 if is_quiet(state) else EXIT_REFUSED)


@source.command()
@click.argument("rev", default="HEAD")
@repo_option
@click.pass_context
def submit(ctx: click.Context, repo: Path, rev: str) -> None:
    """Hand the commits of REV to the cluster while the git server is away.

    They are judged as those of a fetch are: fast-forward, signed, valid. Push them when the server is
    back: until it holds them, nothing else of it is adopted.
    """
    from pvc_gitops.adapters.git import submission
    from pvc_gitops.cli.live import cluster

    with cluster(ctx.obj, repo) as client:
        accepted = client.source().accepted
        if accepted is None:
            raise UsageError("no commit is in force yet", hint="pvc status")
        found = submission.read(repo, rev, accepted.commit)
        if found.head == accepted.commit:
            click.echo(f"{found.head[:7]} is in force already.")
            return
        commits = "1 commit" if found.count == 1 else f"{found.count} commits"
        size = len(found.pack) // 1024 + 1
        follows = f"{found.head[:7]} follows {accepted.commit[:7]}"
        click.echo(f"Sending {commits}, {size} KiB; {follows}.")
        outcome = client.submit(found.head, accepted.commit, found.pack)
    _tell(outcome)
    click.echo("The origin lacks it and is compared when it answers. Push it then: git push")


@source.command()
@click.argument("commit")
@click.option("--reason", required=True, help="Why; shown to everybody and kept in the ledger.")
@repo_option
@click.pass_context
def accept(ctx: click.Context, repo: Path, commit: str, reason: str) -> None:
    """Adopt COMMIT, the tip of the branch, although it is refused.

    For a branch that was set back or replaced on purpose, and for the day when no key is left that
    may sign. Only admins, and root on a node. What it holds must be valid all the same.
    """
    from pvc_gitops.cli.live import cluster

    with cluster(ctx.obj, repo) as client:
        outcome = client.accept(commit, reason)
    _tell(outcome)


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


def _tell(outcome: SourceOutcome) -> None:
    if outcome.accepted is not None:
        accepted = outcome.accepted
        click.echo(f'Accepted: {accepted.commit[:7]} "{accepted.subject}" ({accepted.author}).')
        return
    seen = outcome.seen
    words = () if seen is None else seen.problems
    raise UsageError(
        "not adopted" + "".join(f"\n       {line}" for line in words),
        hint="" if words else "pvc source status: not every coordinator has looked yet",
    )
