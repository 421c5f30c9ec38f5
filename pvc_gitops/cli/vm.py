"""`pvc vm`: what operators do to one guest for the moment, besides git."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pvc_gitops.cli.wishes import reason_option, repo_option, seconds, shown
from pvc_gitops.errors import UsageError

if TYPE_CHECKING:
    from pvc_gitops.adapters.client.client import Client
    from pvc_gitops.model.intents import Intent
    from pvc_gitops.model.records import PlacementRecord

LOOK_EVERY_S: Final = 1.0
WAIT_MAX_S: Final = 600.0  # longer than the longest `stop_timeout` that is usual, and a start


@click.group()
def vm() -> None:
    """Restart, stop, start and move one guest, whatever git says of its power.

    Git stays as it is, and is shown beside the operator's word until that ends. To change a guest for
    good, change its file.
    """


_for_option = click.option("--for", "for_text", metavar="2h", help="End by itself after that long.")
_wait_option = click.option(
    "--no-wait", "is_quick", is_flag=True, help="Do not wait until it is so."
)


@vm.command()
@click.argument("name")
@_wait_option
@reason_option
@repo_option
@click.pass_context
def restart(ctx: click.Context, repo: Path, name: str, reason: str, *, is_quick: bool) -> None:
    """Stop and start it once, in no window: what waits for a restart comes into force.

    It is asked to shut down, and ended when its `stop_timeout` is over.
    """
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.intents import IntentKind
    from pvc_gitops.model.records import GuestPhase

    with cluster(ctx.obj, repo) as client:
        before = _placement(client, name)
        if before.state is not GuestPhase.RUNNING:
            raise UsageError(
                f"vm/{name} is {before.state}, not running", hint=f"pvc vm start {name}"
            )
        click.echo(shown(client.wish(IntentKind.RESTART, f"vm/{name}", reason=reason)))
        if is_quick:
            return
        now = _wait(
            client,
            name,
            lambda p: p.state is GuestPhase.RUNNING and p.starts > before.starts,
        )
        click.echo(f"vm/{name} runs on {now.owner}, start {now.starts}")


@vm.command()
@click.argument("name")
@_for_option
@_wait_option
@reason_option
@repo_option
@click.pass_context
def stop(
    ctx: click.Context,
    repo: Path,
    name: str,
    reason: str,
    for_text: str | None,
    *,
    is_quick: bool,
) -> None:
    """Stop it, for a day unless `--for` says otherwise; then it is again as git says."""
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.records import GuestPhase

    with cluster(ctx.obj, repo) as client:
        _placement(client, name)
        _hold(client, name, "stop", reason=reason, for_s=seconds(for_text))
        if not is_quick:
            _wait(client, name, lambda p: p.state is GuestPhase.STOPPED)
            click.echo(f"vm/{name} is stopped")


@vm.command()
@click.argument("name")
@_for_option
@_wait_option
@reason_option
@repo_option
@click.pass_context
def start(
    ctx: click.Context,
    repo: Path,
    name: str,
    reason: str,
    for_text: str | None,
    *,
    is_quick: bool,
) -> None:
    """Start it: end who stopped it, or hold a guest started that git wants stopped.

    One that has failed, or powered itself off and was left so, is tried again as if for the first time.
    """
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.intents import IntentKind
    from pvc_gitops.model.records import GuestPhase

    with cluster(ctx.obj, repo) as client:
        before = _placement(client, name)
        record = client.inventory().applied.get(f"vm/{name}")  # type: ignore[call-overload]
        if record is not None and record.spec["run_state"] == "running":
            found = _held(client, name)
            for intent in found:
                client.end_intent(intent.id, reason=reason)
                click.echo(f"ended {shown(intent)}")
            if before.rests or before.state is GuestPhase.FAILED:
                click.echo(shown(client.wish(IntentKind.RETRY, f"vm/{name}", reason=reason)))
            elif not found:
                click.echo(f"git wants vm/{name} running, and nobody holds it stopped")
        else:
            _hold(client, name, "start", reason=reason, for_s=seconds(for_text))
        if not is_quick:
            now = _wait(client, name, lambda p: p.state is GuestPhase.RUNNING)
            click.echo(f"vm/{name} runs on {now.owner}")


@vm.command()
@click.argument("name")
@click.argument("node", required=False)
@click.option("--to", "to", metavar="NODE", help="The same as NODE.")
@click.option(
    "--restart",
    "is_restart",
    is_flag=True,
    help="Stop it and start it there, whatever it declares.",
)
@_wait_option
@reason_option
@repo_option
@click.pass_context
def migrate(
    ctx: click.Context,
    repo: Path,
    name: str,
    *,
    node: str | None,
    to: str | None,
    reason: str,
    is_restart: bool,
    is_quick: bool,
) -> None:
    """Move it to NODE, or to wherever it is best; alive, if its `migration.method` says so.

    It stays there: where a guest runs is the cluster's, and git says only what it may or would rather.
    """
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.ids import VmName
    from pvc_gitops.model.intents import IntentKind
    from pvc_gitops.model.records import GuestPhase

    if node is not None and to is not None:
        raise UsageError("one node is enough: NODE or --to NODE")
    data = {"node": node or to or "", "method": "shutdown" if is_restart else ""}
    with cluster(ctx.obj, repo) as client:
        before = _placement(client, name)
        made = client.wish(IntentKind.MIGRATE, f"vm/{name}", reason=reason, data=data)
        click.echo(shown(made))
        if is_quick:
            return

        def has_moved(_: PlacementRecord) -> bool:
            state = client.status()
            now = state.guests[VmName(name)]
            if made.id in state.moves.refused:
                raise UsageError(
                    f"vm/{name} cannot be moved now: {state.moves.refused[made.id]}",
                    hint=f"it moves when it can; pvc intent end {made.id}",
                )
            is_there = now.owner != before.owner and now.incoming is None
            if not is_there and all(each.id != made.id for each in state.intents):
                raise UsageError(f"vm/{name} was not moved: {now.why or 'its wish was ended'}")
            return is_there and now.state in (before.state, GuestPhase.RUNNING)

        _wait(client, name, has_moved)
        now = _placement(client, name)  # it was asked after what `_wait` had read
        click.echo(f"vm/{name} is {now.state} on {now.owner}")


def _placement(client: Client, name: str) -> PlacementRecord:
    guests = client.status().guests
    found = guests.get(name)  # type: ignore[call-overload]
    if found is None:
        raise UsageError(f"the cluster has no guest {name}", hint="pvc status shows what it has")
    return found  # type: ignore[no-any-return]


def _held(client: Client, name: str) -> list[Intent]:
    from pvc_gitops.model.intents import IntentKind

    return [
        intent
        for intent in client.intents()
        if intent.kind is IntentKind.POWER and intent.subject == f"vm/{name}"
    ]


def _hold(client: Client, name: str, power: str, *, reason: str, for_s: int | None) -> None:
    """One word at a time: the new one stands before the old ones end."""
    from pvc_gitops.model.intents import IntentKind

    old = _held(client, name)
    data = {"power": power}
    made = client.wish(IntentKind.POWER, f"vm/{name}", reason=reason, for_s=for_s, data=data)
    for intent in old:
        client.end_intent(intent.id, reason=f"{made.id} follows")
    click.echo(shown(made))


def _wait(client: Client, name: str, holds: Callable[[PlacementRecord], bool]) -> PlacementRecord:
    end = time.monotonic() + WAIT_MAX_S
    while True:
        now = _placement(client, name)
        if holds(now):
            return now
        if time.monotonic() > end:
            raise UsageError(
                f"vm/{name} is still {now.state} after {WAIT_MAX_S:.0f} s"
                + (f": {now.why}" if now.why else ""),
                hint=f"the cluster goes on trying; pvc status, pvc explain vm/{name}",
            )
        time.sleep(LOOK_EVERY_S)
