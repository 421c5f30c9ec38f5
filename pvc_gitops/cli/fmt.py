"""`pvc fmt`: lay documents out in one way, keep comments, refresh the schemas that editors read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from pvc_gitops.errors import PvcError, UsageError


@click.command()
@click.option(
    "--repo", default=".", type=click.Path(path_type=Path), help="The repository's folder."
)
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if something would be changed.")
@click.option("--schemas", is_flag=True, help="Also write .pvc/schema as this release knows it.")
@click.option(
    "--inventory",
    "inventory_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Which words are done is read from here (`pvc export`), else asked of the cluster.",
)
@click.pass_context
def fmt(
    ctx: click.Context, repo: Path, *, check: bool, schemas: bool, inventory_file: Path | None
) -> None:
    """Lay out documents: modeline, indentation, quotes around doubtful words. Comments stay.

    Words of transitions.yaml that are done are taken out.
    """
    from pvc_gitops.adapters.folder import read_working_tree

    files = read_working_tree(repo)
    if "cluster.yaml" not in files:
        raise UsageError(
            f"{repo} is no cluster's repository: it has no cluster.yaml", hint="--repo DIR names it"
        )
    without, note = _without_done(ctx, repo, files, inventory_file)
    kept = {path: data for path, data in {**files, **without}.items() if data}
    changed, failed = changes(kept)
    changed = {**without, **changed}
    if schemas:
        changed |= _schema_changes(repo)
    for path, data in sorted(changed.items()):
        if not check and data:
            _replace(repo / path, data)
        elif not check:
            (repo / path).unlink()  # no word is left in it
        click.echo(f"{'would change' if check else 'changed'} {path}")
    for path, reason in sorted(failed.items()):
        click.echo(f"error: {path} was left alone: {reason}", err=True)
    if failed:
        click.echo("       pvc validate says more", err=True)
    if note:
        click.echo(note, err=True)
    if not changed and not failed:
        click.echo(f"{len(files)} files, nothing to change")
    ctx.exit(1 if failed or (check and changed) else 0)


def _without_done(
    ctx: click.Context, repo: Path, files: Mapping[str, bytes], inventory_file: Path | None
) -> tuple[dict[str, bytes], str]:
    """transitions.yaml without what is done, if that changes it; and why it was not looked at."""
    from pvc_gitops.spec.transitions import PATH

    data = files.get(PATH)
    if data is None:
        return {}, ""
    from pvc_gitops.cli.live import inventory
    from pvc_gitops.cli.planning import read_export
    from pvc_gitops.planner import words
    from pvc_gitops.spec.documents import Refused, parse
    from pvc_gitops.spec.scalars import Resolver
    from pvc_gitops.spec.transitions_file import without_entries

    try:
        known = (
            inventory(ctx.obj, repo)
            if inventory_file is None
            else read_export(inventory_file).inventory
        )
    except PvcError as error:
        return {}, f"note: which words of {PATH} are done is not known here: {error}"
    try:
        parse(data, Resolver())
        after = without_entries(data, lambda *entry: words.is_kept(known, *entry))
    except (Refused, AttributeError, KeyError, TypeError):
        return {}, ""  # it is no such document; pvc validate says so
    return ({} if after == data else {PATH: after if after is not None else b""}), ""


def changes(files: Mapping[str, bytes]) -> tuple[dict[str, bytes], dict[str, str]]:
    """What would be written, and what was left alone with the reason."""
    from pvc_gitops.spec.format import NotFormatted, format_document
    from pvc_gitops.spec.load import KIND_OF_FOLDER, TOP_KINDS

    changed: dict[str, bytes] = {}
    failed: dict[str, str] = {}
    for path, data in files.items():
        kind = TOP_KINDS.get(path) or KIND_OF_FOLDER.get(path.rpartition("/")[0])
        if kind is None:
            continue
        try:
            formatted = format_document(kind, data)
        except NotFormatted as err:
            failed[path] = str(err)
            continue
        if formatted != data:
            changed[path] = formatted
    return changed, failed


def _schema_changes(repo: Path) -> dict[str, bytes]:
    from pvc_gitops.spec.schema_files import schema_files

    result: dict[str, bytes] = {}
    for name, text in schema_files().items():
        path = repo / ".pvc" / "schema" / name
        if not path.is_file() or path.read_bytes() != text.encode():
            result[f".pvc/schema/{name}"] = text.encode()
    return result


def _replace(path: Path, data: bytes) -> None:
    # Through a new file: an interrupted write must not leave half a document.
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    new.replace(path)
