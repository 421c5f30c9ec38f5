"""`pvc preview`: what the cluster says of branches and pull requests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # imported when it is needed
    from pvc_gitops.model.preview import Preview as PreviewRecord

_DIGITS = 7
_REF_WIDTH = 28


@click.group()
def preview() -> None:
    """What open branches and pull requests would do, as the cluster planned it.

    Which ones it looks at stands in policies/forge/*.yaml.
    """


_REPO = click.option("--repo", default=".", type=click.Path(path_type=Path), help="A checkout.")


@preview.command("list")
@_REPO
@click.option("-o", "--output", type=click.Choice(["pretty", "json"]), default="pretty")
@click.pass_context
def list_(ctx: click.Context, repo: Path, output: str) -> None:
    """All proposals that are open, a line each."""
    from pvc_gitops.cli.live import cluster

    with cluster(ctx.obj, repo) as client:
        found = client.previews()
    if output == "json":
        click.echo(_json(list(found)))
        return
    for each in found:
        click.echo(f"{_name(each):<{_REF_WIDTH}} {each.head[:_DIGITS]}  {each.status}")
    if not found:
        click.echo("No proposal is open, or policies/forge/*.yaml names none.")


@preview.command()
@_REPO
@click.option("-o", "--output", type=click.Choice(["pretty", "markdown", "json"]), default="pretty")
@click.argument("ref")
@click.pass_context
def show(ctx: click.Context, repo: Path, output: str, ref: str) -> None:
    """One proposal: a branch's name, a pull request's number, or a whole ref.

    Exits as `pvc plan` does: 0 nothing to do, 2 changes, 3 something is blocked, 1 not planned.
    """
    from pvc_gitops.cli.live import cluster

    with cluster(ctx.obj, repo) as client:
        found = client.preview_of(ref)
    if output == "json":
        click.echo(_json(found))
    elif output == "markdown":
        click.echo(found.markdown, nl=False)
    else:
        moment = f"{datetime.fromtimestamp(found.made_at_s, UTC):%Y-%m-%d %H:%M} UTC"
        onto = found.base[:_DIGITS]
        click.echo(f"{_name(found)} {found.head[:_DIGITS]} onto {onto}, planned {moment}")
        click.echo(found.text)
    ctx.exit(found.exit_code)


def _name(of: PreviewRecord) -> str:
    return of.ref.removeprefix("refs/heads/").removeprefix("refs/")


def _json(value: object) -> str:
    import json

    from pvc_gitops.model.codec import encode

    return json.dumps(encode(value), indent=2, sort_keys=True, ensure_ascii=False)
