"""`pvc history`: the ledger as people read it, and what stood at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pvc_gitops.errors import UsageError

if TYPE_CHECKING:
    from pvc_gitops.model.ledger import Entry, Moment

LIMIT_MAX: Final = 10_000  # what an agent tells at once
_KIND_WIDTH: Final = 12


@click.command()
@click.option("--repo", default=".", type=click.Path(path_type=Path), help="A checkout.")
@click.option("--since", metavar="TIME|AGE", help="Not older: 2026-11-29T02:00Z, 03:00, 2h, 7d.")
@click.option("--at", "at", metavar="TIME|AGE", help="What was in force at that time instead.")
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1, LIMIT_MAX))
@click.option("--verify", is_flag=True, help="Check that the entries form one unbroken chain.")
@click.option("-o", "--output", type=click.Choice(["pretty", "json"]), default="pretty")
@click.argument("address", required=False)
@click.pass_context
def history(
    ctx: click.Context,
    repo: Path,
    *,
    since: str | None,
    at: str | None,
    limit: int,
    verify: bool,
    output: str,
    address: str | None,
) -> None:
    """Show what happened, the newest last: accepted commits, plans, steps with what they found,
    intents, and what the cluster did by itself. With ADDRESS (as vm/web1), only what concerns it.

    Entries are chained: --verify exits 1 where one was changed or is missing.
    """
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.cli.terminal import width
    from pvc_gitops.model.codec import encode
    from pvc_gitops.model.ids import Address
    from pvc_gitops.model.ledger import broken_links, moment

    if verify and address is not None:
        raise UsageError("--verify checks the whole chain", hint="leave the address out")
    now_s = int(time.time())
    at_s = None if at is None else moment_s(at, now_s)
    with cluster(ctx.obj, repo) as client:
        entries = client.history(
            limit=LIMIT_MAX if verify or at is not None else limit,
            since_s=None if since is None else moment_s(since, now_s),
            until_s=at_s,
            address=None if address is None else Address(address),
        )
    if verify:
        broken = broken_links(entries)
        for line in broken:
            click.echo(f"broken: {line}")
        click.echo(f"{len(entries)} entries{_span(entries)}: {_verdict(bool(broken))}")
        ctx.exit(1 if broken else 0)
    if output == "json":
        click.echo(json.dumps([encode(entry) for entry in entries], indent=1, sort_keys=True))
    elif at_s is not None:
        click.echo("\n".join(_stood(moment(entries, at_s), at_s)))
    elif not entries:
        click.echo("nothing is written down of that")
    else:
        columns = width()
        click.echo("\n".join(line for entry in entries for line in lines(entry, columns)))


def moment_s(text: str, now_s: int) -> int:
    """A time, a time of today, or an age. Raises UsageError."""
    from pvc_gitops.model.units import duration_s

    try:
        return now_s - int(duration_s(text))
    except ValueError:
        pass
    try:
        if "T" not in text and "-" not in text:
            clock = datetime.strptime(text, "%H:%M").replace(tzinfo=UTC)
            today = datetime.fromtimestamp(now_s, UTC)
            found = today.replace(hour=clock.hour, minute=clock.minute, second=0)
            return int(found.timestamp()) - (86_400 if found > today else 0)
        found = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(
            f"{text}: not a time", hint="2026-11-29T02:00Z, 03:00 (UTC), or an age as 2h"
        ) from err
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def when(at_s: int) -> str:
    """As people sort by."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def lines(entry: Entry, columns: int) -> Iterable[str]:
    """One line, cut to the terminal, and what is worth a second one."""
    by = entry.by.partition(" <")[0]
    head = f"{when(entry.at_s)}  {entry.kind:{_KIND_WIDTH}} {entry.text}"
    room = max(20, columns - len(by) - 2)
    yield f"{head if len(head) <= room else head[: room - 1] + '…'}  {by}"


def _stood(found: Moment, at_s: int) -> Iterable[str]:
    yield f"at {when(at_s)} UTC"
    if found.commit is None:
        yield "  commit    none that is still written down"
    else:
        yield f"  commit    {found.commit.text}, since {when(found.commit.at_s)}"
    if found.plan is not None:
        yield f"  plan      {found.plan.text}, since {when(found.plan.at_s)}"
    for entry in found.intents:
        yield f"  intent    {entry.text}, by {entry.by}"
    for address, entry in found.steps.items():
        operation = (entry.step or "").partition(" ")[0]
        yield f"  {address:30} {operation} {when(entry.at_s)} by {entry.by}"


def _span(entries: tuple[Entry, ...]) -> str:
    return f", {entries[0].number} to {entries[-1].number}" if entries else ""


def _verdict(is_broken: bool) -> str:
    return "not one chain" if is_broken else "one unbroken chain"
