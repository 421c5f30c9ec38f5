"""What operators hold for the moment, shown beside git's wish (DESIGN D11).

Held power is told with what it makes different (`planner.drift`); all else that stands is told here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from pvc_gitops.model.ids import Address
from pvc_gitops.model.intents import CLUSTER, Intent, IntentKind
from pvc_gitops.model.plan import ItemKind
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.draft import Draft

_SAYS: Final[Mapping[IntentKind, str]] = {
    IntentKind.FREEZE: "frozen by {by}: no plan becomes the target",
    IntentKind.HALT: "halted by {by}: no step begins",
    IntentKind.HOLD: "fencing is suspended by {by}",
    IntentKind.MAINTENANCE: "in maintenance by {by}: its alarms are silent{hold}",
    IntentKind.DRAIN: "drained by {by}: its guests leave, none comes",
    IntentKind.PLACE: "kept on {node} by {by}",
}


def tell(context: Context, draft: Draft) -> None:
    """One line for each, with the command that ends it."""
    found = context.inventory.intents.values()
    for intent in sorted(found, key=lambda each: (each.made_at_s, each.id)):
        if intent.kind in _SAYS:
            draft.item(
                ItemKind.HELD,
                _address(context, intent),
                f"intent-{intent.kind}",
                _words(intent),
                remedy=f"pvc intent end {intent.id}",
            )


def _address(context: Context, intent: Intent) -> Address:
    if intent.subject != CLUSTER:
        return Address(intent.subject)
    return Address(f"{CLUSTER}/{context.cluster.name}")


def _words(intent: Intent) -> str:
    hold = ", nobody is fenced" if intent.subject == CLUSTER else ""
    text = _SAYS[intent.kind].format(by=intent.by, node=intent.data.get("node", ""), hold=hold)
    if intent.expires_at_s is not None:
        until = datetime.fromtimestamp(intent.expires_at_s, UTC)
        text += until.strftime(", until %a %d %b %H:%M UTC")
    return f'{text} "{intent.reason}"' if intent.reason else text
