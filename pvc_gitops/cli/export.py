"""`pvc export`: the planner's inputs as the cluster has them, for `pvc plan --inventory`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvc_gitops.errors import UsageError
from pvc_gitops.model.values import replace

if TYPE_CHECKING:  # imported when it is needed
    from pvc_gitops.model.export import Export


@click.command()
@click.option("--repo", default=".", type=click.Path(path_type=Path), help="A checkout.")
@click.option("--plan", "plan_id", metavar="ID", help="What this plan was computed from, not now.")
@click.option("--files", "with_files", is_flag=True, help="With the repository of that commit.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.pass_context
def export(
    ctx: click.Context, repo: Path, *, plan_id: str | None, with_files: bool, file: Path
) -> None:
    """Write everything that the cluster's planner reads to FILE (- for standard output).

    `pvc plan --inventory FILE` computes from it what the cluster computes, byte for byte: inventory,
    policy, parent and accepted commit are in it, and with --files the repository as well, so that no
    checkout is needed. --plan names one of the cluster's last plans: `pvc history` lists them.
    """
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.export import files_to_text
    from pvc_gitops.planner.codec import export_to_bytes

    with cluster(ctx.obj, repo) as client:
        found = client.export(plan_id)
    if with_files:
        found = replace(found, files=files_to_text(_files(repo, found)))
    data = export_to_bytes(found)
    if str(file) == "-":
        sys.stdout.buffer.write(data)
        return
    file.write_bytes(data)
    click.echo(f"wrote {file}; pvc plan --inventory {file}")


def _files(repo: Path, found: Export) -> Mapping[str, bytes]:
    from pvc_gitops.adapters.git.tree import read_commit
    from pvc_gitops.cli.problems import folder_in_repository

    if found.commit is None:
        raise UsageError("the cluster has accepted no commit yet", hint="leave --files away")
    try:
        _, files = read_commit(repo, found.commit, folder=folder_in_repository(repo))
    except UsageError as err:
        raise UsageError(f"{err.message}: --files reads it here", hint="git fetch") from err
    return files
