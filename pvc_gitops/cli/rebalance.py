"""`pvc rebalance`: carry out the moves that `pvc plan --rebalance` shows, as wishes of this operator.

Each move is a wish of its own, judged by the operator's roles and begun by the HA manager like any
other; this command only asks for them in their order. Where it ends early, what was asked for is moved,
nothing else is, and the next call begins with what is then left.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import click

from pvc_gitops.cli.wishes import reason_option, shown
from pvc_gitops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pvc_gitops.model.intents import Intent, IntentId, IntentKind
    from pvc_gitops.model.plan import Rebalance
    from pvc_gitops.world.protocol import Status

LOOK_EVERY_S: Final = 1.0
REFUSED_LOOKS_MAX: Final = 15  # in a row: room that others are just leaving is free by then
_NOTHING: Final = 0
_BLOCKED: Final = 3
_REASON: Final = "rebalance"


class Desk(Protocol):
    """What is asked of the cluster."""

    def status(self) -> Status: ...

    def wish(
        self, kind: IntentKind, subject: str, *, reason: str, data: Mapping[str, str]
    ) -> Intent: ...

    def end_intent(self, name: IntentId, *, reason: str) -> Intent: ...


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@reason_option
@click.option(
    "--repo", type=click.Path(path_type=Path), help="The repository's folder. Default: here."
)
@click.pass_context
def rebalance(ctx: click.Context, repo: Path | None, reason: str, *, yes: bool) -> None:
    """Move running guests so that the nodes are alike, if that is worth the moves.

    Shows the moves of `pvc plan --rebalance` first. Guests move alive, two at a time for each node at
    most, in an order in which each has room on arrival. Below the threshold nothing is moved. Exit code
    0: done, or nothing to do; 3: somebody could not be moved.
    """
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.cli.planning import Wish, planned
    from pvc_gitops.planner.lines_moves import rebalanced

    found = planned(ctx.obj, Wish(repo=repo, rebalance=True)).plan
    if found.steps:
        raise UsageError(
            f"this folder plans {len(found.steps)} steps; moves are chosen for what is then",
            hint="pvc apply, or a checkout of what is applied; then pvc rebalance",
        )
    click.echo("\n".join(rebalanced(found)))
    assert found.rebalance is not None  # it was asked for
    if not found.rebalance.moves:
        return
    if not (yes or click.confirm("Move them?", default=True)):
        raise UsageError("Nothing was moved.")
    with cluster(ctx.obj, repo or Path()) as client:
        ctx.exit(carry_out(found.rebalance, client, reason or _REASON, _pause))


def carry_out(found: Rebalance, desk: Desk, reason: str, pause: Callable[[], None]) -> int:
    """Ask for each move when those that it waits for have ended; the exit code.

    After one that fails no other is asked for: what it should have made room for may not fit.
    """
    from pvc_gitops.model.intents import IntentKind

    asked: dict[str, IntentId] = {}
    ended: set[str] = set()
    refusals: dict[str, int] = {}
    failed: dict[str, str] = {}
    while True:
        for move in found.moves:
            is_ready = move.id not in asked and ended.issuperset(move.after)
            if is_ready and not failed:
                data = {"node": move.to, "method": move.method.value}
                made = desk.wish(IntentKind.MIGRATE, f"vm/{move.vm}", reason=reason, data=data)
                click.echo(shown(made))
                asked[move.id] = made.id
        open_ = {m.id: m for m in found.moves if m.id in asked and m.id not in ended | {*failed}}
        if not open_:
            break
        pause()
        before = desk.status()
        now = desk.status()  # places of after the wishes: a wish that is gone has left its trace
        for name, move in open_.items():
            if all(each.id != asked[name] for each in before.intents):
                placement = now.guests.get(move.vm)
                if placement is not None and placement.owner == move.to:
                    click.echo(f"vm/{move.vm} is on {move.to}")
                    ended.add(name)
                else:
                    why = "it is gone" if placement is None else placement.why
                    failed[name] = why or "its wish was ended"
                continue
            why = now.moves.refused.get(asked[name], "")
            refusals[name] = refusals.get(name, 0) + 1 if why else 0
            if refusals[name] >= REFUSED_LOOKS_MAX:
                desk.end_intent(asked[name], reason=f"it cannot be moved now: {why}")
                failed[name] = why
    for name, why in sorted(failed.items()):
        click.echo(f"! {name.split(' ')[0]}  {why}")
    if failed:
        click.echo(f"{len(found.moves) - len(ended)} of {len(found.moves)} moves were not made.")
        return _BLOCKED
    click.echo(f"Nodes differ by {found.after:.1f} points now; it was {found.before:.1f}.")
    return _NOTHING


def _pause() -> None:
    time.sleep(LOOK_EVERY_S)
