"""`pvc apply`: what is on the tracked branch is put in force, and one watches it happen.

It changes nothing itself. The cluster adopts what was pushed; this command makes sure that what one sees
here is what lies there, shows the plan, asks, tells the cluster to look now, and follows the steps.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvc_gitops.cli.following import Ended, follow, words
from pvc_gitops.cli.stops import EXIT_STOPPED, told
from pvc_gitops.errors import UsageError

if TYPE_CHECKING:  # heavy; only what runs needs them
    from collections.abc import Sequence

    from pvc_gitops.adapters.client import Client
    from pvc_gitops.model.checkout import Checkout
    from pvc_gitops.model.ids import CommitId
    from pvc_gitops.model.inventory import Inventory
    from pvc_gitops.model.plan import Plan, Summary

EXIT_FAILED = 1
EXIT_BLOCKED = 3
EXIT_DIFFERENT = 4
DIFFERENCES_MAX = 20  # lines
FOLLOW_TIMEOUT_S = 1800.0  # an import of a large image is the longest thing that a person waits for


@click.command()
@click.option("--repo", default=".", type=click.Path(path_type=Path), help="A checkout.")
@click.option("--push", is_flag=True, help="Push the tracked branch first.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--timeout",
    "timeout_s",
    default=FOLLOW_TIMEOUT_S,
    show_default=True,
    help="Seconds to follow; the cluster goes on by itself afterwards.",
)
@click.pass_context
def apply(ctx: click.Context, repo: Path, push: bool, yes: bool, timeout_s: float) -> None:
    """Preview what the branch changes, ask, and follow the cluster until it is done.

    Only what is committed and pushed on the branch that the cluster follows is ever applied. With
    `apply.mode: manual` it asks for the approval of what waits. Exits 0 when git = cluster, 5 when the
    cluster is frozen or halted or another apply is running, 4 when the checkout is behind or the
    cluster did something else than was shown, 3 when something is blocked or waits for approval.
    """
    from pvc_gitops.adapters.git import checkout as git_checkout
    from pvc_gitops.cli.live import cluster

    with cluster(ctx.obj, repo) as client:
        tracked = _tracked_branch(repo)
        state = git_checkout.read(repo, tracked, _cluster_tip(client))
        _refuse(state, tracked, may_push=push)
        plan, inventory = _preview(ctx.obj, repo, state)
        if told(inventory, state.head):
            ctx.exit(EXIT_STOPPED)
        if plan.is_empty and _is_applied(client, state):
            blocked = plan.summary.blocked
            if not blocked:
                click.echo(f"Nothing to do: {tracked} {state.head[:7]} is applied.")
            ctx.exit(EXIT_BLOCKED if blocked else 0)
        if _is_begun(client, state):
            click.echo("The cluster is at it already; shown is what was left.")
        if not (yes or click.confirm("Apply?", default=True)):
            raise UsageError(
                "Not applied.", hint="what is pushed is adopted at the next poll anyway"
            )
        if push:
            git_checkout.push(repo, state.remote, tracked)
        may_ask = not yes and sys.stdin.isatty()
        ctx.exit(_follow(client, state, plan, inventory, timeout_s, may_ask=may_ask))


def _tracked_branch(repo: Path) -> str:
    from pvc_gitops.cli.live import spec_at

    return spec_at(repo, "HEAD").cluster.source_branch


def _cluster_tip(client: Client) -> CommitId | None:
    status = client.status()
    tips = [seen.tip for _, seen in sorted(status.seen.items()) if seen.tip]
    return tips[0] if tips else None


def _refuse(state: Checkout, tracked: str, *, may_push: bool) -> None:
    from pvc_gitops.model.checkout import refusal

    refused = refusal(state, tracked, may_push=may_push)
    if refused is not None:
        raise UsageError(refused.message, hint=refused.hint, exit_code=refused.exit_code)


def _preview(host: str | None, repo: Path, state: Checkout) -> tuple[Plan, Inventory]:
    from pvc_gitops.cli.planning import Wish, planned
    from pvc_gitops.cli.terminal import wants_color, width
    from pvc_gitops.planner import render

    found = planned(host, Wish(repo=repo, rev=state.head))
    click.echo(render.text(found.plan, width=width(), color=wants_color()))
    return found.plan, found.inventory


def _is_applied(client: Client, state: Checkout) -> bool:
    status = client.status()
    accepted = status.accepted
    return accepted is not None and accepted.commit == state.head and status.is_applied


def _is_begun(client: Client, state: Checkout) -> bool:
    target = client.target()
    return target is not None and target.commit == state.head


def _follow(
    client: Client,
    state: Checkout,
    preview: Plan,
    at: Inventory,
    timeout_s: float,
    *,
    may_ask: bool,
) -> int:
    began_s = time.monotonic()
    seen = client.look_at_git()
    if seen.problems or (seen.error and seen.tip != state.head):
        raise UsageError(
            f"the cluster does not adopt {state.head[:7]}: {'; '.join(seen.problems) or seen.error}",
            hint="pvc validate, then commit and push what it asks for",
        )
    ended = follow(client, state.head, timeout_s, began_s=began_s)
    if may_ask and _is_approved(client, ended):
        ended = follow(client, state.head, timeout_s, began_s=began_s)
    if ended.outcome != "applied":
        click.echo(words(ended))
        return _exit_code(ended)
    done = [client.plan(plan) for plan in ended.plans]
    last = done[-1].summary if done else preview.summary
    click.echo(f"Applied in {ended.took_s:.0f} s. {_reached(last)}")
    if _differs(client, preview, at, done):
        return EXIT_DIFFERENT
    return EXIT_BLOCKED if last.blocked else 0


def _reached(summary: Summary) -> str:
    open_ = [
        f"{count} {word}"
        for count, word in ((summary.blocked, "blocked"), (summary.waiting, "waiting"))
        if count
    ]
    return f"git = cluster, but {' and '.join(open_)}: pvc status" if open_ else "git = cluster."


def _differs(client: Client, preview: Plan, at: Inventory, done: Sequence[Plan]) -> bool:
    """Say so, where the cluster did something else than was shown."""
    from pvc_gitops.planner.departures import departures

    if all(plan.effect == preview.effect for plan in done):
        return False
    found = departures(preview, at, done, client.inventory())
    if not found:
        return False
    click.echo("The cluster did something else than was shown; it had changed meanwhile:")
    for line in found[:DIFFERENCES_MAX]:
        click.echo(f"  {line}")
    if len(found) > DIFFERENCES_MAX:
        click.echo(f"  … and {len(found) - DIFFERENCES_MAX} more")
    click.echo("pvc history shows every step.")
    return True


def _is_approved(client: Client, ended: Ended) -> bool:
    """In manual mode: ask whoever sits there, who needs the right to approve."""
    from pvc_gitops.model.control import Obstacle
    from pvc_gitops.model.intents import IntentKind

    held = ended.withheld
    if held is None or held.obstacle is not Obstacle.APPROVAL:
        return False
    click.echo(words(ended))
    if not click.confirm(f"Approve effect {held.effect}?", default=False):
        return False
    client.wish(IntentKind.APPROVE, held.effect, reason="pvc apply")
    return True


def _exit_code(ended: Ended) -> int:
    from pvc_gitops.model.control import Obstacle

    held = ended.withheld
    if ended.outcome in ("halted", "superseded"):
        return EXIT_STOPPED
    if held is not None:
        is_stopped = held.obstacle in (Obstacle.FROZEN, Obstacle.HALTED)
        return EXIT_STOPPED if is_stopped else EXIT_BLOCKED
    return EXIT_BLOCKED if ended.outcome == "quarantined" else EXIT_FAILED
