"""What the verbs that make and end intents share: options, durations, and how an intent is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pvc_gitops.errors import UsageError

if TYPE_CHECKING:
    from pvc_gitops.model.intents import Intent, IntentKind

F = TypeVar("F", bound=Callable[..., Any])
_MINUTE_S: Final = 60


def repo_option(command: F) -> F:
    """`--repo`, by which the cluster is found."""
    option = click.option(
        "--repo", default=".", type=click.Path(path_type=Path), help="A checkout."
    )
    return option(command)


def reason_option(command: F) -> F:
    """`--reason`."""
    return click.option("--reason", default="", help="Why; shown to everybody.")(command)


def seconds(text: str | None) -> int | None:
    """`2h` as seconds. Raises UsageError."""
    if text is None:
        return None
    from pvc_gitops.model.units import duration_s

    try:
        return int(duration_s(text))
    except ValueError as err:
        raise UsageError(f"--for {text}: not a duration", hint="30m, 2h, 1d") from err


def switch(
    host: str | None,
    repo: Path,
    kind: IntentKind,
    *,
    is_end: bool,
    reason: str,
    for_text: str | None,
) -> None:
    """Make an intent about the whole cluster, or end all of its kind."""
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.intents import CLUSTER

    with cluster(host, repo) as client:
        if not is_end:
            click.echo(shown(client.wish(kind, CLUSTER, reason=reason, for_s=seconds(for_text))))
            return
        found = [each for each in client.intents() if each.kind is kind]
        if not found:
            raise UsageError(f"there is no {kind} to end", hint="pvc intent list")
        for intent in found:
            client.end_intent(intent.id, reason=reason)
            click.echo(f"ended {shown(intent)}")


def shown(intent: Intent) -> str:
    """One line: what, whose, until when, why."""
    from pvc_gitops.cli.stops import moment

    subject = "" if intent.subject == "cluster" else f" {intent.subject}"
    data = "".join(f" {key} {value}" for key, value in sorted(intent.data.items()))
    end = "until ended" if intent.expires_at_s is None else f"until {moment(intent.expires_at_s)}"
    reason = f'  "{intent.reason}"' if intent.reason else ""
    return f"{intent.id}  {intent.kind}{subject}{data}  by {intent.by}, {end}{reason}"


def table(intents: Iterable[Intent]) -> str:
    """All of them, a line each."""
    return "\n".join(shown(intent) for intent in intents) or "No intents are in force."
