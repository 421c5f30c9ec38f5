"""`pvc plan`: what would change, where, why, and for how long."""

from __future__ import annotations

import gc
import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvc_gitops.errors import InvariantViolation, UsageError
from pvc_gitops.model.checkout import EXIT_BEHIND

if TYPE_CHECKING:  # imported when they are needed: start-up is most of a small plan's time
    from pvc_gitops.model.ids import CommitId
    from pvc_gitops.model.inventory import Inventory
    from pvc_gitops.model.plan import Plan
    from pvc_gitops.model.spec import ClusterSpec

_FILES_NAMED_MAX = 3
_WIDTH_FILE = 80
_WIDTH_MIN = 60
_WIDTH_MAX = 120


@click.command()
@click.option(
    "--repo", default=".", type=click.Path(path_type=Path), help="The repository's folder."
)
@click.option("--commit", "rev", metavar="REV", help="Plan this commit instead of the folder.")
@click.option("--empty", is_flag=True, help="Against the declared nodes, with nothing on them.")
@click.option(
    "--inventory",
    "inventory_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Against an inventory that `pvc export` wrote.",
)
@click.option("--json", "json_file", metavar="FILE|-", help="Write the plan as JSON too; - alone.")
@click.option("--now", metavar="TIME", help="With --empty: the moment, as 2026-11-29T02:00Z.")
@click.pass_context
def plan(
    ctx: click.Context,
    repo: Path,
    rev: str | None,
    *,
    empty: bool,
    inventory_file: Path | None,
    json_file: str | None,
    now: str | None,
) -> None:
    """Show what the cluster would do to become what the repository says.

    Without --empty and --inventory the live cluster is asked what it is. Exits 0 if there is nothing
    to do, 2 if something changes, 3 if something is blocked, 4 if the cluster follows commits that
    this checkout has not, 1 on an error.
    """
    # One plan is made and the process ends: there is nothing to collect, and looking for it takes a
    # fifth of the time of a large plan.
    gc.disable()
    started = time.perf_counter()
    if empty and inventory_file is not None:
        raise UsageError("--empty and --inventory exclude each other", hint="choose one of them")
    if now is not None and not empty:
        raise UsageError("--now goes with --empty only", hint="an inventory brings its own time")
    spec, source = _spec(repo, rev)
    inventory = _inventory(ctx, spec, empty=empty, file=inventory_file, now=now, repo=repo)

    from pvc_gitops.planner import planner
    from pvc_gitops.planner.check import problems

    made = planner.plan(spec, inventory, planner.POLICY, inventory.target)
    wrong = problems(made, inventory)
    if wrong:
        listed = "\n       ".join(wrong[:10])
        raise InvariantViolation(
            f"the verifier refuses this plan; please report it:\n       {listed}"
        )
    _show(made, json_file, source=source, elapsed_s=time.perf_counter() - started)
    is_live = not empty and inventory_file is None
    if is_live and rev is None and _is_behind(repo, spec, inventory):
        ctx.exit(EXIT_BEHIND)
    ctx.exit(planner.exit_code(made))


def _is_behind(repo: Path, spec: ClusterSpec, inventory: Inventory) -> bool:
    """Does the cluster follow commits that this checkout has not? Then the plan would undo them."""
    from pvc_gitops.adapters.git import checkout
    from pvc_gitops.model.checkout import Relation, refusal

    tracked = spec.cluster.source_branch
    state = checkout.read(repo, tracked, inventory.accepted)
    if state.relation not in (Relation.BEHIND, Relation.DIVERGED):
        return False
    behind = refusal(replace(state, branch=tracked, dirty=()), tracked, may_push=True)
    assert behind is not None
    click.echo(f"{behind.message} This plan would undo that: {behind.hint}", err=True)
    return True


def _spec(repo: Path, rev: str | None) -> tuple[ClusterSpec, str]:
    """What is planned, and in words where it comes from, where that is not plain."""
    from pvc_gitops.cli.problems import read_files, show_problems
    from pvc_gitops.errors import SpecError
    from pvc_gitops.spec.load import load

    started = time.perf_counter()
    commit, files, refused = read_files(repo, rev)
    source = ""
    if rev is None:
        commit, source = _head(repo)
    try:
        spec = load(files, commit=commit)
        found = list(refused)
    except SpecError as err:
        found = sorted({*refused, *err.problems})
    if found:
        elapsed_ms = (time.perf_counter() - started) * 1000
        show_problems(found, files=len(files), elapsed_ms=elapsed_ms)
        raise UsageError("the repository is not valid: nothing was planned", hint="pvc validate")
    return spec, source


def _head(repo: Path) -> tuple[CommitId | None, str]:
    """The commit that the folder is, or none and how it differs from it."""
    if not any(
        (folder / ".git").exists() for folder in (repo.absolute(), *repo.absolute().parents)
    ):
        return None, ""  # libgit2 takes longer to load than a small plan to make
    from pvc_gitops.adapters.git.head import read_head

    head = read_head(repo)
    if head is None:
        return None, ""
    if not head.changed:
        return head.commit, ""
    count = len(head.changed)
    named = ", ".join(head.changed[:_FILES_NAMED_MAX]) + (", …" if count > _FILES_NAMED_MAX else "")
    files = "1 file differs" if count == 1 else f"{count} files differ"
    return None, f"your tree: {files} from {head.commit[:7]} ({named})"


def _inventory(
    ctx: click.Context,
    spec: ClusterSpec,
    *,
    empty: bool,
    file: Path | None,
    now: str | None,
    repo: Path,
) -> Inventory:
    if empty:
        from pvc_gitops.planner.inventory import empty as empty_inventory

        return empty_inventory(spec, 0 if now is None else _moment_s(now))
    if file is not None:
        from pvc_gitops.planner.codec import inventory_from_bytes

        try:
            return inventory_from_bytes(file.read_bytes())
        except OSError as err:
            hint = "pvc export -o FILE writes one"
            raise UsageError(f"{file}: {err.strerror}", hint=hint) from err
    from pvc_gitops.cli import live

    return live.inventory(ctx.obj, repo)


def _moment_s(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"--now {text}: not a time", hint="2026-11-29T02:00Z") from err
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())


def _show(made: Plan, json_file: str | None, *, source: str, elapsed_s: float) -> None:
    if json_file is not None:
        from pvc_gitops.planner.codec import plan_to_bytes

        data = plan_to_bytes(made)
        if json_file == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        Path(json_file).write_bytes(data)
    from pvc_gitops.planner.render import text

    if source:
        click.echo(source)
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    click.echo(
        text(
            made,
            width=_width(),
            unicode=encoding == "utf8",
            color=sys.stdout.isatty() and "NO_COLOR" not in os.environ,
            elapsed_s=elapsed_s,
        )
    )


def _width() -> int:
    """Eighty columns unless a person looks at more, or fewer."""
    import shutil

    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH_FILE
    return max(_WIDTH_MIN, min(columns, _WIDTH_MAX))
