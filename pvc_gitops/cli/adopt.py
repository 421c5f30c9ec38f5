"""`pvc adopt`: documents for what is live and not ours, and the words that make it ours as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvc_gitops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pvc_gitops.spec.found import Found


@click.command()
@click.argument("what", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that can be adopted.")
@click.option("--repo", default=".", type=click.Path(path_type=Path), help="A checkout.")
@click.option(
    "--inventory",
    "inventory_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="From an inventory that `pvc export` wrote.",
)
@click.pass_context
def adopt(
    ctx: click.Context,
    what: tuple[str, ...],
    *,
    everything: bool,
    repo: Path,
    inventory_file: Path | None,
) -> None:
    """Write documents for domains, RBD images and networks that run or lie here and are not ours.

    Without WHAT it lists them: a domain or a bridge by its name, an image as rbd/POOL/IMAGE. With a
    domain come the networks that it is on. Nothing is touched until the documents are committed; then
    what runs goes on as it runs, under our care.
    """
    from pvc_gitops.cli.planning import Wish, planned
    from pvc_gitops.spec.found import found

    seen = planned(ctx.obj, Wish(repo=repo, inventory_file=inventory_file))
    known = found(seen.inventory, seen.spec)
    if not known:
        click.echo("Nothing here that is not ours.")
        return
    if not what and not everything:
        _list(known)
        return
    chosen = [each for each in known if each.text] if everything else _chosen(known, what)
    _write(repo, chosen)


def _list(known: Sequence[Found]) -> None:
    width = max(len(each.what) for each in known)
    for each in known:
        note = f"cannot be adopted: {each.hindrance}" if each.hindrance else f"as {each.address}"
        click.echo(f"  {each.what:{width}}  {each.where}, {note}")
    click.echo("pvc adopt NAME writes documents for one of them, --all for all that can be.")


def _chosen(known: Sequence[Found], what: tuple[str, ...]) -> list[Found]:
    chosen = []
    for name in what:
        each = next((each for each in known if name in (each.what, each.address)), None)
        if each is None:
            raise UsageError(f"nothing here is called {name}", hint="pvc adopt lists what there is")
        if each.text is None:
            raise UsageError(f"{name} cannot be adopted: {each.hindrance}")
        chosen.append(each)
    needed = {of for each in chosen for of in each.needs}
    chosen += [each for each in known if each.address in needed]
    return list({each.address: each for each in chosen}.values())


def _write(repo: Path, chosen: Sequence[Found]) -> None:
    from pvc_gitops.cli.allow import show_diff, write
    from pvc_gitops.model.transitions import Word

    for each in chosen:
        if (repo / each.path).exists():
            raise UsageError(f"{each.path} exists already", hint="rename it, then adopt again")
    for each in chosen:
        assert each.text is not None  # chosen
        path = repo / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(each.text, encoding="utf-8")
        show_diff(each.path, None, each.text.encode())
    write(repo, [(Word.ADOPTED, each.address, each.source) for each in chosen])
    click.echo("pvc plan shows what it does: nothing restarts.")
