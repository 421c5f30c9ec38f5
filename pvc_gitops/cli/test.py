"""`pvc test`: the repository's own expectations of every plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

import click

from pvc_gitops.cli.planning import Wish, planned
from pvc_gitops.errors import UsageError

if TYPE_CHECKING:  # imported when they are needed
    from collections.abc import Mapping, Sequence

    from pvc_gitops.planner.expectations import Rule, Verdict

FORMATS = ("pretty", "json", "junit")
_WIDTH = 80


@click.command()
@click.option("--repo", type=click.Path(path_type=Path), help="The repository's folder.")
@click.option("--commit", "rev", metavar="REV", help="Test this commit instead of the folder.")
@click.option("--base", metavar="REV", help="What it is a change of: test the plan of its merge.")
@click.option("--empty", is_flag=True, help="Against the declared nodes, with nothing on them; with "
              "--base: against a cluster that has just applied the base.")  # fmt: skip
@click.option(
    "--inventory",
    "inventory_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Against what `pvc export` wrote.",
)
@click.option("--now", metavar="TIME", help="With --empty: the moment, as 2026-11-29T02:00Z.")
@click.option(
    "-o", "--output", "form", type=click.Choice(FORMATS), default="pretty", show_default=True
)
@click.pass_context
def test(
    ctx: click.Context,
    repo: Path | None,
    rev: str | None,
    base: str | None,
    *,
    empty: bool,
    inventory_file: Path | None,
    now: str | None,
    form: str,
) -> None:
    """Hold a plan against the rules in tests/*.yaml of the repository.

    "This change restarts no guest with tag db", "nothing is destroyed", "N-1 holds": docs/preview.md
    lists the words. The plan is the one that `pvc plan` would show with the same options. Exits 0 if
    every rule holds, 1 if one does not.
    """
    wish = Wish(repo=repo, rev=rev, base=base, empty=empty, inventory_file=inventory_file, now=now)
    rules = _rules(wish)
    from pvc_gitops.planner.expectations import verdicts

    found = planned(ctx.obj, wish)
    outcome = verdicts(rules, found.plan, found.spec, found.inventory)
    click.echo(render(form, outcome))
    ctx.exit(0 if all(each.holds for each in outcome) else 1)


def _rules(wish: Wish) -> tuple[Rule, ...]:
    from pvc_gitops.planner.expectations import Rule
    from pvc_gitops.spec import plan_tests

    files = _files(wish)
    if not files:
        raise UsageError(
            f"no tests/*.yaml in {wish.folder}",
            hint="docs/preview.md shows one; pvc init writes one",
        )
    return tuple(
        Rule(
            name=rule.name,
            file=rule.file,
            line=rule.line,
            select=rule.select,
            expect=rule.expect,
        )
        for rule in plan_tests.read(files)
    )


def _files(wish: Wish) -> Mapping[str, bytes]:
    """From where the plan is from: a branch is tested by its own rules, which its review shows."""
    if wish.rev is not None:
        from pvc_gitops.adapters.git.tree import read_tests
        from pvc_gitops.cli.problems import folder_in_repository

        return read_tests(wish.folder, wish.rev, folder_in_repository(wish.folder))
    from pvc_gitops.adapters.folder import read_tests as read_folder

    return read_folder(wish.folder)


def render(form: str, outcome: Sequence[Verdict]) -> str:
    """The whole output in one of FORMATS."""
    if form == "json":
        return _as_json(outcome)
    return _as_junit(outcome) if form == "junit" else _pretty(outcome)


def _pretty(outcome: Sequence[Verdict]) -> str:
    rows: list[str] = []
    file = ""
    for each in outcome:
        rule = each.rule
        if rule.file != file:
            file = rule.file
            rows.append(file)
        left = f"  {'ok  ' if each.holds else 'FAIL'}  {rule.name}"
        place = "" if each.holds else f"{rule.file}:{rule.line}"
        gap = _WIDTH - len(left) - len(place)
        rows.append((left + " " * gap + place if gap > 1 else f"{left}  {place}").rstrip())
        rows.extend(f"        {line}" for line in each.failures)
    failed = sum(not each.holds for each in outcome)
    count = len(outcome)
    rules = "1 rule" if count == 1 else f"{count} rules"
    rows.append(f"{rules}, {failed} failed" if failed else f"{rules}, all hold")
    return "\n".join(rows)


def _as_json(outcome: Sequence[Verdict]) -> str:
    rows = [
        {
            "file": each.rule.file,
            "line": each.rule.line,
            "name": each.rule.name,
            "holds": each.holds,
            "failures": list(each.failures),
        }
        for each in outcome
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def _as_junit(outcome: Sequence[Verdict]) -> str:
    failed = sum(not each.holds for each in outcome)
    rows = ['<?xml version="1.0" encoding="UTF-8"?>']
    rows.append(f'<testsuite name="pvc test" tests="{len(outcome)}" failures="{failed}">')
    for each in outcome:
        name, file = quoteattr(each.rule.name), quoteattr(each.rule.file)
        if each.holds:
            rows.append(f"  <testcase classname={file} name={name}/>")
            continue
        rows.append(f"  <testcase classname={file} name={name}>")
        rows.append(
            f"    <failure message={quoteattr(each.failures[0])}>"
            f"{escape(chr(10).join(each.failures))}</failure>"
        )
        rows.append("  </testcase>")
    rows.append("</testsuite>")
    return "\n".join(rows)
