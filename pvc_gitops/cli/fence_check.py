"""`pvc node fence-check`: would fencing work tonight?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pvc_gitops.cli.wishes import repo_option

if TYPE_CHECKING:
    from pvc_gitops.model.readiness import FenceReadiness

EXIT_BY_GRADE: Final = {"ready": 0, "partly": 1, "not": 2}


@click.command("fence-check")
@click.argument("name", metavar="[NODE]", required=False)
@click.option("-o", "--output", type=click.Choice(["pretty", "json"]), default="pretty")
@repo_option
@click.pass_context
def fence_check(ctx: click.Context, repo: Path, name: str | None, output: str) -> None:
    """Show whether nodes could be fenced now; try NODE's BMC at once.

    Nothing is switched: the BMC is logged in to, asked whose it is and whether the power is on, as every
    coordinator does by itself every five minutes. Exits 0 when all is ready, 1 when something is
    missing, 2 when nothing would prove some node's death.
    """
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.codec import encode

    with cluster(ctx.obj, repo) as client:
        found = client.fence_check(name)
        now_s = 0 if output == "json" else client.status().now_s
    if output == "json":
        click.echo(json.dumps([encode(each) for each in found], indent=1, sort_keys=True))
    else:
        click.echo("\n".join(text(found, now_s)))
    ctx.exit(max((EXIT_BY_GRADE[each.grade.value] for each in found), default=0))


def text(found: Sequence[FenceReadiness], now_s: int) -> Iterator[str]:
    """A line a node, and what is wrong below it."""
    from pvc_gitops.cli.show import ago

    yield "NODE      FENCING  WATCHDOG      BMC"
    for each in found:
        tried = "" if each.tried_at_s is None else f", tried {ago(now_s - each.tried_at_s)} ago"
        bmc = each.bmc if len(each.bmc) < 15 else "fault"  # noqa: PLR2004  a word, not a sentence
        yield f"{each.node:9} {each.grade:8} {each.watchdog:13} {bmc}{tried}"
        for trouble in each.troubles:
            yield f"          {trouble}"
