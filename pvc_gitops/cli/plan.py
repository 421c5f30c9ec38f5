"""`pvc plan`: what would change, where, why, and for how long."""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvc_gitops.cli.planning import Wish, planned, setting_of, title
from pvc_gitops.cli.stops import EXIT_STOPPED, told
from pvc_gitops.errors import UsageError
from pvc_gitops.model.checkout import EXIT_BEHIND
from pvc_gitops.model.values import replace

if TYPE_CHECKING:  # imported when they are needed: start-up is most of a small plan's time
    from pvc_gitops.cli.planning import Planned

EXIT_DIFFERENT = 4
_WIDTH_FILE = 80
_WIDTH_MIN = 60
_WIDTH_MAX = 120


@click.command()
@click.option(
    "--repo",
    type=click.Path(path_type=Path),
    help="The repository's folder, or a bare one with --commit. Default: here.",
)
@click.option("--commit", "rev", metavar="REV", help="Plan this commit instead of the folder.")
@click.option(
    "--base",
    metavar="REV",
    help="What it is a change of: plan its merge, judged by the base's rules.",
)
@click.option("--empty", is_flag=True, help="Against the declared nodes, with nothing on them.")
@click.option(
    "--inventory",
    "inventory_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Against what `pvc export` wrote.",
)
@click.option("--remote", is_flag=True, help="Have the cluster plan it, with its own planner.")
@click.option("--rebalance", is_flag=True, help="Look for moves that spread the guests better.")
@click.option(
    "--what-if",
    "losses",
    multiple=True,
    metavar="KIND=NAME",
    help="After it: what happens to each guest without node=NAME, pool=NAME or vm=NAME.",
)
@click.option("--every-node", is_flag=True, help="The same for every node in turn.")
@click.option("--json", "json_file", metavar="FILE|-", help="Write the plan as JSON too; - alone.")
@click.option(
    "--markdown", "markdown_file", metavar="FILE|-",
    help="Write it as a comment for a forge too; - alone.",
)  # fmt: skip
@click.option("--now", metavar="TIME", help="With --empty: the moment, as 2026-11-29T02:00Z.")
@click.pass_context
def plan(
    ctx: click.Context,
    repo: Path | None,
    rev: str | None,
    base: str | None,
    *,
    empty: bool,
    inventory_file: Path | None,
    now: str | None,
    rebalance: bool,
    remote: bool,
    losses: tuple[str, ...],
    every_node: bool,
    json_file: str | None,
    markdown_file: str | None,
) -> None:
    """Show what the cluster would do to become what the repository says.

    Without --empty and --inventory the live cluster is asked what it is. Exits 0 if there is nothing
    to do, 2 if something changes, 3 if something is blocked, 5 if the cluster is frozen or halted or
    another apply is running, 4 if the cluster follows commits that
    this checkout has not or would do something else than this says, 1 on an error.
    """
    # One plan is made and the process ends: there is nothing to collect, and looking for it takes a
    # fifth of the time of a large plan.
    gc.disable()
    started = time.perf_counter()
    wish = Wish(
        repo=repo,
        rev=rev,
        base=base,
        empty=empty,
        inventory_file=inventory_file,
        now=now,
        rebalance=rebalance,
    )
    if "-" in (json_file, markdown_file) and json_file == markdown_file:
        raise UsageError("one of --json and --markdown can be -", hint="name a file for the other")
    if remote:
        from pvc_gitops.cli.remote import ask

        ctx.exit(ask(ctx.obj, wish, json_file=json_file, markdown_file=markdown_file))
    found = planned(ctx.obj, wish)
    if losses or every_node:
        from pvc_gitops.cli.what_if import show

        ctx.exit(show(found, losses, every_node=every_node, json_file=json_file))
    _show(found, wish, json_file, markdown_file, elapsed_s=time.perf_counter() - started)
    if wish.is_live and wish.base is None and told(found.inventory, found.spec.commit):
        ctx.exit(EXIT_STOPPED)
    if wish.is_live and wish.rev is None and wish.base is None and _is_behind(found, wish):
        ctx.exit(EXIT_BEHIND)
    from pvc_gitops.planner.planner import exit_code

    ctx.exit(exit_code(found.plan))


def _is_behind(found: Planned, wish: Wish) -> bool:
    """Does the cluster follow commits that this checkout has not? Then the plan would undo them."""
    from pvc_gitops.adapters.git import checkout
    from pvc_gitops.model.checkout import Relation, refusal

    tracked = found.spec.cluster.source_branch
    state = checkout.read(wish.folder, tracked, found.inventory.accepted)
    if state.relation not in (Relation.BEHIND, Relation.DIVERGED):
        return False
    behind = refusal(replace(state, branch=tracked, dirty=()), tracked, may_push=True)
    assert behind is not None
    click.echo(f"{behind.message} This plan would undo that: {behind.hint}", err=True)
    return True


def _show(
    found: Planned,
    wish: Wish,
    json_file: str | None,
    markdown_file: str | None,
    *,
    elapsed_s: float,
) -> None:
    written = []
    if json_file is not None:
        from pvc_gitops.planner.codec import plan_to_bytes

        written.append(write(json_file, plan_to_bytes(found.plan)))
    if markdown_file is not None:
        from pvc_gitops.planner.markdown import markdown

        text = markdown(found.plan, setting_of(found, wish))
        written.append(write(markdown_file, text.encode()))
    if not any(written):
        _show_text(found, wish, elapsed_s)


def _show_text(found: Planned, wish: Wish, elapsed_s: float) -> None:
    from pvc_gitops.cli.terminal import wants_color
    from pvc_gitops.planner.preview import is_exact
    from pvc_gitops.planner.render import text

    if wish.base is not None:
        click.echo(title(found, wish))
    elif found.source.remark:
        click.echo(found.source.remark)
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    click.echo(
        text(
            found.plan,
            width=_width(),
            unicode=encoding == "utf8",
            color=wants_color(),
            elapsed_s=elapsed_s,
            already=found.already,
        )
    )
    if not wish.empty and (wish.base is not None or not is_exact(found.inventory)):
        click.echo(found.exact)


def write(file: str, data: bytes) -> bool:
    """To a file, or to standard output where it is `-`; whether it was that."""
    if file != "-":
        Path(file).write_bytes(data)
        return False
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return True


def _width() -> int:
    """Eighty columns unless a person looks at more, or fewer."""
    columns = _WIDTH_FILE
    if sys.stdout.isatty():
        import shutil  # brings the archivers of the standard library along

        columns = shutil.get_terminal_size().columns
    return max(_WIDTH_MIN, min(columns, _WIDTH_MAX))
