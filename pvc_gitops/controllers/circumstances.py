"""What the leading planner notices between plans: what a plan under way stands on, and drift."""

from __future__ import annotations

from collections.abc import Iterable

from pvc_gitops.model.intents import IntentKind
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import ItemKind, ReportItem
from pvc_gitops.planner import windows
from pvc_gitops.world.ports import World

Drifts = frozenset[tuple[str, str, str]]  # address, whose doing, what
_OF_GUESTS = frozenset(
    {IntentKind.POWER, IntentKind.RESTART, IntentKind.DRAIN, IntentKind.MAINTENANCE}
)


def circumstances(inv: Inventory) -> object:
    """What changes a plan while it is carried out: who is there, which windows are open, and what
    operators want of guests."""
    return (
        {name: facts.state for name, facts in inv.nodes.items()},
        windows.open_now(inv),
        frozenset(intent.id for intent in inv.intents.values() if intent.kind in _OF_GUESTS),
    )


def tell_drifts(world: World, known: Drifts, report: Iterable[ReportItem]) -> Drifts:
    """One line in the journal for every difference from what was applied, when it is first seen."""
    found = frozenset(
        (item.address, item.code, item.text) for item in report if item.kind is ItemKind.DRIFT
    )
    for of, by, text in sorted(found - known):
        world.journal.event("drift_seen", of=of, by=by, text=text)
    return found
