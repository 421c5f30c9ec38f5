"""`pvc hold` and `pvc maintenance`: nobody is fenced while somebody works on the cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pvc_gitops.cli.wishes import reason_option, repo_option, seconds, shown
from pvc_gitops.errors import UsageError

if TYPE_CHECKING:
    from pvc_gitops.model.intents import IntentKind

HOLDS: Final = "hold"  # the subject under which status says who observes it


@click.group()
def hold() -> None:
    """Suspend fencing and self-fencing together, for a while: for work on networks and ZooKeeper.

    First nobody is fenced any more, then every node's guard takes it up and records it: from then on
    its guests outlive its lease. At the end guards arm again by their own clocks. A node that did not
    hear of an end is fenced by its BMC only. Guests of a node that dies meanwhile wait.
    """


@click.group()
def maintenance() -> None:
    """Alarms of the whole cluster are silent, and fencing is on hold, for a while.

    For one node: `pvc node maintenance`.
    """


def _verbs(group: click.Group, kind: str) -> None:
    @group.command()
    @click.option(
        "--for", "for_text", metavar="30m", required=True, help="Ends by itself; 4h at most."
    )
    @reason_option
    @repo_option
    @click.pass_context
    def on(ctx: click.Context, repo: Path, for_text: str, reason: str) -> None:
        """Begin it. `status` says when every node observes it."""
        from pvc_gitops.cli.live import cluster
        from pvc_gitops.model.intents import CLUSTER, IntentKind

        with cluster(ctx.obj, repo) as client:
            made = client.wish(IntentKind(kind), CLUSTER, reason=reason, for_s=seconds(for_text))
        click.echo(shown(made))
        click.echo(f"Not in force everywhere at once: pvc {kind} status", err=True)

    @group.command()
    @reason_option
    @repo_option
    @click.pass_context
    def off(ctx: click.Context, repo: Path, reason: str) -> None:
        """End it before its time."""
        from pvc_gitops.cli.live import cluster

        with cluster(ctx.obj, repo) as client:
            found = [each for each in client.intents() if _is_of(kind)(each.kind, each.subject)]
            if not found:
                raise UsageError(
                    f"there is no {kind} of the cluster to end", hint="pvc intent list"
                )
            for intent in found:
                client.end_intent(intent.id, reason=reason)
                click.echo(f"ended {shown(intent)}")

    @group.command("status")
    @repo_option
    @click.pass_context
    def status_(ctx: click.Context, repo: Path) -> None:
        """Who asked for it, until when, and which nodes observe it."""
        from pvc_gitops.cli.live import cluster

        with cluster(ctx.obj, repo) as client:
            state = client.status()
        found = [each for each in state.intents if _is_of(kind)(each.kind, each.subject)]
        lines = [shown(each) for each in found] or [f"There is no {kind} of the cluster."]
        lines += [what for subject, what, _ in state.waiting if subject == HOLDS]
        click.echo("\n".join(lines))


def _is_of(kind: str) -> Callable[[IntentKind, str], bool]:
    from pvc_gitops.model.intents import CLUSTER

    return lambda found, subject: found.value == kind and subject == CLUSTER


_verbs(hold, "hold")
_verbs(maintenance, "maintenance")
