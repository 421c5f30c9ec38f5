"""What operators want for the moment, besides git: one record each, with an author, a reason and an
end (DESIGN D11). They stand under `/pvc/intents/<id>`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NewType

from pvc_gitops.model.records import PlacementRecord
from pvc_gitops.model.values import dataclass

IntentId = NewType("IntentId", str)
CLUSTER: Final = "cluster"  # the subject of what is about all of it


class IntentKind(StrEnum):
    """What is wanted. `subject` by kind is an address, or what stands beside it."""

    FREEZE = "freeze"  # "cluster": no new target
    HALT = "halt"  # "cluster": no further step begins
    APPROVE = "approve"  # an effect: a plan that waits in manual mode may be published
    RETRY = "retry"  # a commit or an address that is not tried any more by itself
    MIGRATE = (
        "migrate"  # vm/NAME: it leaves `data["from"]` for `data["node"]`; "": for wherever is best;
        # `data["method"]`: live, shutdown, or "" for what it declares
    )
    RETURN = "return"  # node/NAME: whom the drain `data["drain"]` moved away comes back
    DRAIN = "drain"  # node/NAME: its guests leave, none comes; never ends by itself
    MAINTENANCE = "maintenance"  # node/NAME or cluster: alarms are paused
    HOLD = "hold"  # cluster: fencing and self-fencing are suspended
    PLACE = "place"  # vm/NAME: it stays on `data["node"]`
    POWER = "power"  # vm/NAME: `data["power"]` is started or stopped, whatever git says
    RESTART = (
        "restart"  # vm/NAME: stopped and started once, so that pending changes come into force;
        # `data["starts"]` is how often it had been started when it was asked for
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One wish. `id` is unique for ever and readable: `drain-hv1-3`."""

    id: IntentId
    kind: IntentKind
    subject: str
    by: str  # an operator's name; "root" for who has a node's root
    reason: str
    made_at_s: int
    expires_at_s: int | None  # None: until it is ended by word
    data: Mapping[str, str]
    version: int = 0

    def is_over(self, now_s: int) -> bool:
        """A drain never ends by itself: a node between two reboots would get guests."""
        if self.expires_at_s is None or self.kind is IntentKind.DRAIN:
            return False
        return now_s >= self.expires_at_s


def is_answered(intent: Intent, placement: PlacementRecord) -> bool:
    """Has a guest been started since a restart of it was asked for? By the count of its starts, which
    the asking noted; not by the clock of whoever looks."""
    return placement.starts > int(intent.data.get("starts", "0"))


def standing(
    intents: Iterable[Intent], kind: IntentKind, subject: str, now_s: int
) -> tuple[Intent, ...]:
    """Those of a kind about a subject that are in force, the oldest first."""
    found = [
        intent
        for intent in intents
        if intent.kind is kind and intent.subject == subject and not intent.is_over(now_s)
    ]
    return tuple(sorted(found, key=lambda intent: (intent.made_at_s, intent.id)))
