"""Suspending fencing and self-fencing together (DESIGN section 8): the leader's hold begins with the
intent, then it tells the guards; a guard's is in force when its incarnation says so.

A hold that is over ends in the other order by itself: guards arm first and record it, and whoever's
record still names a hold is proven dead by its BMC only (`controllers.fences` notes that in the fence).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pvc_gitops.controllers.beats import read_incarnations
from pvc_gitops.controllers.records import read
from pvc_gitops.model import paths
from pvc_gitops.model.codec import encode
from pvc_gitops.model.ha import HoldRecord
from pvc_gitops.model.intents import CLUSTER, Intent, IntentKind
from pvc_gitops.world.ports import Create, Delete, Leadership, Op, Put, Store, World

# Maintenance of the whole cluster is a hold, besides that alarms are silent.
HOLDING: Final = frozenset({IntentKind.HOLD, IntentKind.MAINTENANCE})


def holds(intents: Iterable[Intent], now_s: int) -> tuple[Intent, ...]:
    """Those that suspend fencing now, the oldest first."""
    found = [
        intent
        for intent in intents
        if intent.kind in HOLDING and intent.subject == CLUSTER and not intent.is_over(now_s)
    ]
    return tuple(sorted(found, key=lambda intent: (intent.made_at_s, intent.id)))


def is_in_maintenance(intents: Iterable[Intent], now_s: int) -> bool:
    """Are alarms of the whole cluster silent?"""
    return any(intent.kind is IntentKind.MAINTENANCE for intent in holds(intents, now_s))


def observed(store: Store, intents: Iterable[Intent], now_s: int) -> str:
    """Who observes a hold that somebody asked for, or one that is over, as people read it; else ""."""
    named = {name: record.hold for name, record in read_incarnations(store).items()}
    by = [name for name, hold in sorted(named.items()) if hold]
    others = [name for name, hold in sorted(named.items()) if not hold]
    if not holds(intents, now_s):
        return f"it is over, and still observed by {', '.join(by)}" if by else ""
    if not by:
        return "fencing is on hold; no node observes it yet, and each may still fence itself"
    more = f"; not yet by {', '.join(others)}" if others else ""
    return f"fencing is on hold; observed by {', '.join(by)}{more}"


def tell(world: World, lead: Leadership, standing: tuple[Intent, ...]) -> None:
    """As leader: let the guards' record follow the intents. Raises StoreError."""
    op = _change(world.store, standing)
    if op is not None:
        world.store.commit((*lead.checks, op))
        world.journal.event("hold", of=",".join(intent.id for intent in standing))


def _change(store: Store, standing: tuple[Intent, ...]) -> Op | None:
    record = read(store, paths.HOLD, HoldRecord)
    ends = [intent.expires_at_s for intent in standing if intent.expires_at_s is not None]
    if not ends:  # an intent of these kinds has an end; without one it would hold for ever
        return None if record is None else Delete(path=paths.HOLD, version=record.version)
    if record is None:
        wanted = HoldRecord(id=standing[0].id, ends_at_s=max(ends))
        return Create(path=paths.HOLD, value=encode(wanted))
    if record.ends_at_s == max(ends):
        return None
    wanted = HoldRecord(id=record.id, ends_at_s=max(ends))
    return Put(path=paths.HOLD, value=encode(wanted), version=record.version)
