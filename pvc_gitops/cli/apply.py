"""`pvc apply`: what is on the tracked branch is put in force, and one watches it happen.

It changes nothing itself. The cluster adopts what was pushed; this command makes sure that what one sees
here is what lies there, shows the plan, asks, tells the cluster to look now, and follows the steps.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvc_gitops.errors import UsageError

if TYPE_CHECKING:  # heavy; only what runs needs them
    from pvc_gitops.adapters.client import Client
    from pvc_gitops.model.checkout import Checkout
    from pvc_gitops.model.ids import CommitId
    from pvc_gitops.model.plan import Plan

EXIT_FAILED = 1
EXIT_BLOCKED = 3
EXIT_DIFFERENT = 4
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

    Only what is committed and pushed on the branch that the cluster follows is ever applied. Exits 0
    when git = cluster, 3 when something is blocked, 4 when the checkout is behind.
    """
    from pvc_gitops.adapters.git import checkout as git_checkout
    from pvc_gitops.cli.live import cluster

    with cluster(ctx.obj, repo) as client:
        tracked = _tracked_branch(repo)
        state = git_checkout.read(repo, tracked, _cluster_tip(client))
        _refuse(state, tracked, may_push=push)
        plan = _preview(client, repo, state)
        if plan.is_empty and _is_applied(client, state):
            blocked = plan.summary.blocked
            if not blocked:
                click.echo(f"Nothing to do: {tracked} {state.head[:7]} is applied.")
            ctx.exit(EXIT_BLOCKED if blocked else 0)
        if not (yes or click.confirm("Apply?", default=True)):
            raise UsageError(
                "Not applied.", hint="what is pushed is adopted at the next poll anyway"
            )
        if push:
            git_checkout.push(repo, state.remote, tracked)
        ctx.exit(_follow(client, state, plan, timeout_s))


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


def _preview(client: Client, repo: Path, state: Checkout) -> Plan:
    from pvc_gitops.cli.live import spec_at
    from pvc_gitops.cli.terminal import wants_color, width
    from pvc_gitops.planner import planner, render

    inventory = client.inventory()
    plan = planner.plan(spec_at(repo, state.head), inventory, planner.POLICY, inventory.target)
    click.echo(render.text(plan, width=width(), color=wants_color()))
    return plan


def _is_applied(client: Client, state: Checkout) -> bool:
    status = client.status()
    accepted = status.accepted
    return accepted is not None and accepted.commit == state.head and status.is_applied


def _follow(client: Client, state: Checkout, preview: Plan, timeout_s: float) -> int:
    from pvc_gitops.cli.progress import Progress

    began = time.monotonic()
    seen = client.look_at_git()
    if seen.problems or (seen.error and seen.tip != state.head):
        raise UsageError(
            f"the cluster does not adopt {state.head[:7]}: {'; '.join(seen.problems) or seen.error}",
            hint="pvc validate, then commit and push what it asks for",
        )
    progress = Progress(began_s=began)
    outcome = None
    for event in client.follow(state.head, timeout_s):
        if "outcome" in event:
            outcome = event
            break
        line = progress.line(event, now_s=time.monotonic())
        if line:
            click.echo(line)
    if outcome is None:
        raise UsageError("the connection ended", hint="pvc status shows how far it is")
    return _end(str(outcome["outcome"]), preview, time.monotonic() - began, progress.failed)


def _end(outcome: str, preview: Plan, took_s: float, failed: int) -> int:
    if outcome == "applied":
        blocked = preview.summary.blocked
        but = f", but {blocked} blocked" if blocked else ""
        click.echo(f"Applied in {took_s:.0f} s. git = cluster{but}.")
        return EXIT_BLOCKED if blocked else 0
    if outcome == "failed":
        steps = "1 step" if failed == 1 else f"{failed} steps"
        click.echo(f"{steps} failed; what depends on them waits, the rest is done: pvc status")
        return EXIT_FAILED
    click.echo(
        f"Not done after {took_s:.0f} s; the cluster goes on. pvc status shows how far it is."
    )
    return EXIT_FAILED
