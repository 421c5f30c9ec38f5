"""What keeps the cluster from taking up a commit now, in words and exit code of plan and apply."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from pvc_gitops.model.ids import CommitId
    from pvc_gitops.model.intents import Intent
    from pvc_gitops.model.inventory import Inventory

EXIT_STOPPED: Final = 5  # DESIGN section 5: frozen, halted or another apply is running


def stopping(intents: Iterable[Intent]) -> tuple[Intent, ...]:
    """Halts, then freezes."""
    from pvc_gitops.model.intents import IntentKind

    found = [each for each in intents if each.kind in (IntentKind.HALT, IntentKind.FREEZE)]
    return tuple(sorted(found, key=lambda each: (each.kind is IntentKind.FREEZE, each.made_at_s)))


def line(intent: Intent) -> str:
    """`frozen by ann until 18:00: "disk check" (freeze-3)`."""
    from pvc_gitops.model.intents import IntentKind

    words = {IntentKind.FREEZE: "frozen", IntentKind.HALT: "halted"}
    end = "" if intent.expires_at_s is None else f" until {moment(intent.expires_at_s)}"
    reason = f': "{intent.reason}"' if intent.reason else ""
    return f"{words.get(intent.kind, intent.kind)} by {intent.by}{end}{reason} ({intent.id})"


def moment(at_s: int) -> str:
    """A time as people read it; the day only where it is not today."""
    at, now = datetime.fromtimestamp(at_s, tz=UTC), datetime.now(tz=UTC)
    return at.strftime("%H:%M UTC" if at.date() == now.date() else "%a %d %b %H:%M UTC")


def told(inventory: Inventory, commit: CommitId | None) -> bool:
    """Say on standard error why a commit would not be taken up now; False where nothing is in its way."""
    found = stopping(inventory.intents.values())
    for intent in found:
        click.echo(f"The cluster is {line(intent)}: pvc {intent.kind} --end", err=True)
    if found:
        return True
    if inventory.claims and commit != inventory.accepted:
        now = (inventory.accepted or "")[:7]
        click.echo(
            f"Another apply is running: {len(inventory.claims)} steps of {now} are being carried "
            "out; this plan is of a moment in between: pvc status -w",
            err=True,
        )
        return True
    return False
