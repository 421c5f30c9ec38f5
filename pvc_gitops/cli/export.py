"""`pvc export`: the planner's inputs as the cluster sees them, for `pvc plan --inventory`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--repo", default=".", type=click.Path(path_type=Path), help="A checkout.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.pass_context
def export(ctx: click.Context, repo: Path, file: Path) -> None:
    """Write the cluster's inventory to FILE (- for standard output).

    `pvc plan --inventory FILE` computes from it what the cluster computes.
    """
    from pvc_gitops.cli.live import inventory
    from pvc_gitops.planner import codec

    data = codec.inventory_to_bytes(inventory(ctx.obj, repo))
    if str(file) == "-":
        click.echo(data, nl=False)
        return
    file.write_bytes(data)
    click.echo(f"wrote {file}; pvc plan --inventory {file}")
