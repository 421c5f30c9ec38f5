"""`pvc simulate`: play a script on the repository, in a cluster in memory, with the real controllers."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # imported when it is needed
    from pvc_gitops.model.ids import NodeName
    from pvc_gitops.sim.cluster import SimCluster

SHOWN_AT_MOST = 200  # lines of events on a terminal; --json has them all


class _WithManual(click.Command):
    """Shows the language behind the options, a command a line."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from pvc_gitops.sim.script import manual

        del ctx
        with formatter.section("Commands of a script"):
            for each in manual().splitlines():
                formatter.write(f"{' ' * formatter.current_indent}{each}\n")


@click.command(cls=_WithManual)
@click.argument("script", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--repo", type=click.Path(path_type=Path), help="The repository's folder: here.")
@click.option(
    "--inventory",
    "inventory_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Begin as a copy of the cluster of which `pvc export --files` wrote this.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--json", "json_file", metavar="FILE|-", help="Write the result as JSON; - alone.")
@click.pass_context
def simulate(
    ctx: click.Context,
    script: Path,
    repo: Path | None,
    inventory_file: Path | None,
    *,
    seed: int,
    json_file: str | None,
) -> None:
    """Play SCRIPT on a simulated cluster of the repository's nodes, on a virtual clock.

    The nodes begin powered off; with --inventory those that were at work are on, with their guests,
    before the script begins. The same planner, HA manager, agents and guards as on nodes.

    Exits 0 if no rule was broken, 1 if one was, 2 if the script cannot be played. One command a line;
    those that `;` parts happen at one instant; `#` begins a remark.
    """
    from pvc_gitops.model.codec import encode
    from pvc_gitops.sim.cluster import SimCluster
    from pvc_gitops.sim.play import Player

    text, base, name = _script(script)
    if inventory_file is None:
        cluster = SimCluster(files_of(repo or Path()))
        at_work: tuple[NodeName, ...] = ()
    else:
        cluster, at_work = _copy(inventory_file, repo)
    player = Player(cluster, lambda folder: files_of(base / folder), seed=seed)
    player.begin(at_work)
    player.play(text, name=name)
    result = encode(player.result())
    if json_file is not None:
        out = json.dumps(result, indent=1, sort_keys=True, default=str) + "\n"
        if json_file == "-":
            click.echo(out, nl=False)
        else:
            Path(json_file).write_text(out, encoding="utf-8")
    if json_file != "-":
        click.echo(_text(result))
    ctx.exit(1 if result["violations"] else 0)


def _copy(file: Path, repo: Path | None) -> tuple[SimCluster, tuple[NodeName, ...]]:
    """A cluster like the one that was exported, and who was at work there."""
    from pvc_gitops.cli.planning import Wish, read_export, read_source
    from pvc_gitops.errors import SpecError
    from pvc_gitops.sim.cluster import SimCluster
    from pvc_gitops.sim.copied import restore

    export = read_export(file)
    source = read_source(Wish(repo=repo, inventory_file=file), export)
    if source.problems:
        raise SpecError(source.problems)
    cluster = SimCluster(source.files, past=export.inventory)
    return cluster, restore(cluster, export.inventory)


def files_of(folder: Path) -> Mapping[str, bytes]:
    """What is read of a folder. Raises SpecError where something may not lie there."""
    from pvc_gitops.cli.problems import read_files
    from pvc_gitops.errors import SpecError, UsageError

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint="name one that holds cluster.yaml")
    _, files, refused = read_files(folder, None)
    if refused:
        raise SpecError(refused)
    return files


def _script(path: Path) -> tuple[str, Path, str]:
    from pvc_gitops.errors import UsageError

    if str(path) == "-":
        return sys.stdin.read(), Path(), "stdin"
    try:
        return path.read_text(encoding="utf-8"), path.parent, path.name
    except OSError as err:
        raise UsageError(f"the script cannot be read: {err}") from err


def _text(result: Mapping[str, Any]) -> str:
    lines = [line(event) for event in result["events"][-SHOWN_AT_MOST:]]
    lines.append("")
    for name, node in result["nodes"].items():
        lines.append(f"{name:12} {node['state']:10} power {node['power']}")
    for name, vm in result["vms"].items():
        lines.append(f"{name:12} {vm['state']:10} on {vm['node']}, {len(vm['starts'])} starts")
    lines += [f"VIOLATION at {v['t']} s: {v['rule']}: {v['text']}" for v in result["violations"]]
    settled = "settled" if result["settled"] else "not settled"
    rules = (
        f"{len(result['violations'])} rules broken" if result["violations"] else "all rules held"
    )
    lines.append(f"{result['ended_at_s']:.1f} s, {settled}, {rules}")
    return "\n".join(lines)


def line(event: Mapping[str, Any]) -> str:
    """One event for people."""
    words = " ".join(
        f"{key}={_quoted(value)}"
        for key, value in event.items()
        if key not in ("t", "kind") and value != ""
    )
    return f"{event['t']:10.2f}  {event['kind']:14} {words}".rstrip()


def _quoted(value: object) -> str:
    text = str(value)
    return f'"{text}"' if " " in text else text
