"""`pvc allow`: write into transitions.yaml what would let pass what the plan refuses."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvc_gitops.errors import UsageError

if TYPE_CHECKING:
    from pvc_gitops.model.ids import Address
    from pvc_gitops.model.plan import Permit, Plan
    from pvc_gitops.model.transitions import Word

PATH = "transitions.yaml"


@click.command()
@click.argument("what", nargs=-1, metavar="[EFFECT|ADDRESS]...")
@click.option("--last", is_flag=True, help="All that the plan of this folder refuses for a word.")
@click.option(
    "--repo", default=".", type=click.Path(path_type=Path), help="The repository's folder."
)
@click.option(
    "--inventory",
    "inventory_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Plan against an inventory that `pvc export` wrote.",
)
@click.pass_context
def allow(
    ctx: click.Context,
    what: tuple[str, ...],
    *,
    last: bool,
    repo: Path,
    inventory_file: Path | None,
) -> None:
    """Add the words to transitions.yaml that a BLOCKED step of the plan asks for, and show the diff.

    EFFECT names the plan that was looked at; it is refused if the folder plans to something else by
    now. ADDRESS takes the words for one object only. Nothing is committed.
    """
    from pvc_gitops.cli.planning import Wish, planned

    if last == bool(what):
        raise UsageError("say which: --last, an effect, or addresses", hint="pvc allow --last")
    found = planned(ctx.obj, Wish(repo=repo, inventory_file=inventory_file))
    permits = _asked_for(found.plan, what)
    if not permits:
        raise UsageError(
            "no word would let anything pass that this plan refuses",
            hint="pvc plan says what each refusal asks for",
        )
    write(repo, [(each.word, each.address, each.source) for each in permits])


def _asked_for(plan: Plan, what: tuple[str, ...]) -> list[Permit]:
    """Each word once, in order of address."""
    permits = [permit for item in plan.report for permit in item.permits]
    addresses = {word for word in what if "/" in word}
    for effect in set(what) - addresses:
        if effect != plan.effect:
            raise UsageError(
                f"this folder plans to effect {plan.effect}, not {effect}",
                hint="look at it with pvc plan, then pvc allow --last",
            )
    about = {
        permit: {item.address, permit.address, permit.source}
        for item in plan.report
        for permit in item.permits
    }
    unknown = sorted(a for a in addresses if not any(a in each for each in about.values()))
    if unknown:
        raise UsageError(f"the plan asks for no word about {unknown[0]}", hint="pvc plan shows it")
    chosen = [p for p in permits if not addresses or addresses & about[p]]
    return list(dict.fromkeys(chosen))


def write(repo: Path, entries: Iterable[tuple[Word, Address, Address | None]]) -> None:
    """Add entries to the checkout's transitions.yaml, unless it would be invalid; print the diff."""
    from pvc_gitops.cli.problems import read_files
    from pvc_gitops.spec.load import examine
    from pvc_gitops.spec.report import pretty
    from pvc_gitops.spec.transitions_file import with_entries

    _, files, _ = read_files(repo, None)
    before = files.get(PATH)
    after = with_entries(before, entries)
    wrong = [p for p in examine({**files, PATH: after}).problems if p.file == PATH]
    if wrong:
        raise UsageError(
            f"{PATH} was not written; it would not be valid:\n"
            + "\n".join(pretty(problem) for problem in wrong)
        )
    (repo / PATH).write_bytes(after)
    show_diff(PATH, before, after)


def show_diff(path: str, before: bytes | None, after: bytes) -> None:
    """As `git diff` would."""
    old = [] if before is None else before.decode().splitlines(keepends=True)
    new = after.decode().splitlines(keepends=True)
    source = "/dev/null" if before is None else f"a/{path}"
    text = "".join(difflib.unified_diff(old, new, source, f"b/{path}"))
    click.echo(text or f"{path} says so already", nl=not text)
