"""`pvc node drain`, `undrain` and `maintenance`: emptying a node, and taking that back."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pvc_gitops.cli.wishes import reason_option, repo_option, seconds, shown
from pvc_gitops.errors import UsageError

if TYPE_CHECKING:
    from pvc_gitops.adapters.client.client import Client
    from pvc_gitops.model.intents import Intent
    from pvc_gitops.model.moves import DrainState

_NOTHING: Final = 0
_MOVES: Final = 2
_BLOCKED: Final = 3
LOOK_EVERY_S: Final = 1.0
TAKEN_UP_S: Final = 30.0  # longer than the HA managers take to elect another leader
STUCK_S: Final = 5.0  # nobody moves for so long, and all who are left are said to stay


@click.command()
@click.argument("name", metavar="NODE")
@click.option(
    "--plan", "is_plan", is_flag=True, help="Only show how: 0 empty, 2 moves, 3 somebody stays."
)
@click.option(
    "--wait", "is_waited", is_flag=True, help="Until it is empty: 0, or 3 where somebody stays."
)
@click.option("--for", "for_text", metavar="2h", help="Remind after that long; it does not end.")
@reason_option
@click.option(
    "--repo", type=click.Path(path_type=Path), help="The repository's folder. Default: here."
)
@click.option(
    "--inventory",
    "inventory_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="With --plan: against what `pvc export` wrote.",
)
@click.option("--json", "is_json", is_flag=True, help="With --plan: as JSON.")
@click.pass_context
def drain(
    ctx: click.Context,
    name: str,
    *,
    is_plan: bool,
    is_waited: bool,
    for_text: str | None,
    reason: str,
    repo: Path | None,
    inventory_file: Path | None,
    is_json: bool,
) -> None:
    """Move all guests off NODE, and let none come, until `pvc node undrain`.

    Running guests move alive, or as their `migration.method` says. Needs neither git nor the planner.
    """
    if is_plan:
        _show(ctx, name, repo, inventory_file, is_json=is_json)
        return
    if inventory_file is not None or is_json:
        raise UsageError("--inventory and --json are for --plan")
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.intents import IntentKind

    with cluster(ctx.obj, repo or Path()) as client:
        made = client.wish(IntentKind.DRAIN, f"node/{name}", reason=reason, for_s=seconds(for_text))
        click.echo(shown(made))
        if is_waited:
            ctx.exit(_follow(client, name, made))


@click.command()
@click.argument("name", metavar="NODE")
@click.option("--stay", is_flag=True, help="Whom the drain moved away stays where it is.")
@reason_option
@repo_option
@click.pass_context
def undrain(ctx: click.Context, repo: Path, name: str, reason: str, *, stay: bool) -> None:
    """Let guests come to NODE again, and bring back whom this drain moved away."""
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.intents import IntentKind

    with cluster(ctx.obj, repo) as client:
        kinds = (IntentKind.DRAIN, IntentKind.MAINTENANCE)
        found = [i for i in client.intents() if i.kind in kinds and i.subject == f"node/{name}"]
        if not found:
            raise UsageError(f"{name} is not drained", hint="pvc intent list")
        for intent in found:
            client.end_intent(intent.id, reason=reason, stays=stay)
            click.echo(f"ended {shown(intent)}")


@click.command()
@click.argument("name", metavar="NODE")
@click.option("--for", "for_text", metavar="2h", required=True, help="Ends by itself after that.")
@click.option(
    "--wait", "is_waited", is_flag=True, help="Until it is empty: 0, or 3 where somebody stays."
)
@reason_option
@repo_option
@click.pass_context
def maintenance(
    ctx: click.Context, repo: Path, name: str, reason: str, for_text: str, *, is_waited: bool
) -> None:
    """Drain NODE and keep its alarms silent, for a while: then whom it moved away comes back."""
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.intents import IntentKind

    with cluster(ctx.obj, repo) as client:
        made = client.wish(
            IntentKind.MAINTENANCE, f"node/{name}", reason=reason, for_s=seconds(for_text)
        )
        click.echo(shown(made))
        if is_waited:
            ctx.exit(_follow(client, name, made))


def _show(
    ctx: click.Context,
    name: str,
    repo: Path | None,
    inventory_file: Path | None,
    *,
    is_json: bool,
) -> None:
    from pvc_gitops.cli.planning import Wish, planned
    from pvc_gitops.model.codec import encode
    from pvc_gitops.model.ids import NodeName
    from pvc_gitops.planner.drain import drained, text
    from pvc_gitops.planner.planner import POLICY

    found = planned(ctx.obj, Wish(repo=repo, inventory_file=inventory_file))
    answer = drained(found.spec, found.inventory, POLICY, NodeName(name))
    if is_json:
        plain = encode(answer) | {"is_complete": answer.is_complete}
        click.echo(json.dumps(plain, indent=2, sort_keys=True))
    else:
        click.echo("\n".join(text(answer)))
    if answer.is_complete:
        ctx.exit(_MOVES if answer.moves else _NOTHING)
    ctx.exit(_BLOCKED)


def _follow(client: Client, name: str, made: Intent) -> int:
    """A line for whatever is new, until nobody is left or nobody who is left can leave."""
    from pvc_gitops.model.ids import NodeName

    begun_s = time.monotonic()
    moved_s, before = begun_s, ""
    while True:
        state = client.status().moves.drains.get(NodeName(name))
        now_s = time.monotonic()
        if state is None or state.intent != made.id:
            if now_s > begun_s + TAKEN_UP_S:
                raise UsageError(
                    f"nobody carries out {made.id}: no pvc-ha leads",
                    hint="systemctl status pvc-ha, on the coordinators",
                )
        else:
            line = _line(name, state)
            if line != before:
                click.echo(line)
                moved_s, before = now_s, line
            if state.is_done:
                click.echo(f"{name} is empty, after {now_s - begun_s:.0f} s.")
                return _NOTHING
            is_stuck = not state.moving and set(state.left) <= state.staying.keys()
            if is_stuck and now_s > moved_s + STUCK_S:
                for vm, why in sorted(state.staying.items()):
                    click.echo(f"! {vm}  {why}")
                click.echo(f"{name} is not empty; whoever can leave later will.")
                return _BLOCKED
        time.sleep(LOOK_EVERY_S)


def _line(name: str, state: DrainState) -> str:
    moving = ", ".join(f"{vm} -> {to}" for vm, to in sorted(state.moving.items()))
    words = [f"{name}: {len(state.left)} left"]
    words += [f"moving {moving}"] if moving else []
    words += [f"{len(state.staying)} cannot leave now"] if state.staying else []
    return ", ".join(words)
