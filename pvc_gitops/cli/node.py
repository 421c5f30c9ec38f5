"""`pvc node`: what is momentary about a node."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pvc_gitops.cli.fence_check import fence_check
from pvc_gitops.errors import UsageError

_NOTHING = 0
_MOVES = 2
_BLOCKED = 3


@click.group()
def node() -> None:
    """Empty a node, see beforehand what that takes, and whether it could be fenced."""


node.add_command(fence_check)


@node.command()
@click.argument("name", metavar="NODE")
@click.option(
    "--plan", "is_plan", is_flag=True, help="Only show how: 0 empty, 2 moves, 3 somebody stays."
)
@click.option(
    "--repo", type=click.Path(path_type=Path), help="The repository's folder. Default: here."
)
@click.option(
    "--inventory",
    "inventory_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Against what `pvc export` wrote.",
)
@click.option("--json", "is_json", is_flag=True, help="As JSON.")
@click.pass_context
def drain(
    ctx: click.Context,
    name: str,
    *,
    is_plan: bool,
    repo: Path | None,
    inventory_file: Path | None,
    is_json: bool,
) -> None:
    """Show who would leave NODE, where to, in which order, and who cannot.

    This release plans a drain and cannot carry one out: without --plan it shows the same and exits 1.
    """
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
    if not is_plan:
        raise UsageError(
            "nothing was moved: this release plans a drain and cannot carry it out",
            hint="--plan shows the plan alone",
        )
    if answer.is_complete:
        ctx.exit(_MOVES if answer.moves else _NOTHING)
    ctx.exit(_BLOCKED)
