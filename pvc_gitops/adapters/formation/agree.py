"""The founding record: written down before anything of membership; all must have written the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from pvc_gitops.adapters.formation import files, peers, store
from pvc_gitops.adapters.formation.context import FirstStart, Founding
from pvc_gitops.adapters.formation.credentials import OWN
from pvc_gitops.errors import StoreUnavailable, UsageError
from pvc_gitops.formation.record import FoundingRecord, Standing, Told, agreement, standing
from pvc_gitops.model.codec import canonical, decode
from pvc_gitops.model.ids import NodeName

RECORD: Final = "/var/lib/pvc/formation/record.json"
AGREED: Final = "agreed"
RETURNING: Final = "returning"  # it was a member, and its disk was lost
STAGE: Final = "agreement"


def write_down(record: FoundingRecord) -> None:
    """Durably. A record of something else is never replaced: this node may have voted for it."""
    known = files.read(RECORD)
    if known is None:
        files.write(RECORD, canonical(record), mode=0o600)
    elif decode(FoundingRecord, json.loads(known)) != record:
        raise UsageError(
            f"{RECORD} says that this node set out to found something else",
            hint="give the node the seed of that founding, or wipe its disk and install it anew",
        )


def agree(founding: Founding) -> None:
    """Wait until all coordinators are about to found the same. No-op once that was seen."""
    if founding.progress.has(AGREED):
        return
    founding.journal.begin(STAGE)
    founding.wait(STAGE, lambda: _missing(founding))
    if _is_founded(founding):
        founding.wait(STAGE, lambda: _missing_history(founding))
    founding.progress.mark(AGREED)
    members = len(founding.record.members)
    founding.journal.end(STAGE, f"{members} of {members} coordinators found the same")


def _missing(founding: Founding) -> str | None:
    mine, me = founding.record, founding.layout.me.name
    records = {n: None if t is None else t.record for n, t in _answers(founding).items()}
    found = agreement(mine, me, records)
    if found.different:
        # Waited for and not given up: it may be installed anew while we stand ready.
        names = ", ".join(found.different)
        return f"{names} to found the same as here ({mine.commit[:12]}): install it from this seed"
    if found.is_complete or _standing(founding) is not Standing.STRANGER:
        return None
    return f"{', '.join(found.absent)} ({len(found.same)} of {len(mine.members)} here)"


def _is_founded(founding: Founding) -> bool:
    """Have others gone on without this node, lately or long ago?"""
    if any(told is not None and told.is_founded for told in _answers(founding).values()):
        return True
    return any(store.mode_of(member.address) for member in founding.record.members)


def _missing_history(founding: Founding) -> str | None:
    """Others have founded already. Only their store tells a coordinator that was down meanwhile from one
    that took part, voted, and has lost its disk: what it voted for must not be forgotten."""
    try:
        has_lived = founding_store(founding).has_lived(founding.layout.me.name)
        found = _told_standing(founding)
    except StoreUnavailable as err:
        return f"the store of the running cluster ({err.reason})"
    if has_lived or found is Standing.LOST:
        founding.progress.mark(RETURNING)
        founding.journal.say("this node was a member before: it comes back without a vote at first")
    return None


def _answers(founding: Founding) -> Mapping[NodeName, Told | None]:
    others = {
        member.name: member.address
        for member in founding.record.members
        if member.name != founding.layout.me.name
    }
    return peers.ask_all(others, OWN)


def _standing(founding: Founding) -> Standing:
    """The others may have seen our record, founded and ended while we were down: then their ensemble
    runs, holds the same founding and counts us among its servers, or has lost us since."""
    if not any(store.mode_of(member.address) for member in founding.record.members):
        return Standing.STRANGER
    try:
        return _told_standing(founding)
    except StoreUnavailable:
        return Standing.STRANGER


def _told_standing(founding: Founding) -> Standing:
    """Raises StoreUnavailable."""
    ensemble = founding_store(founding)
    formed, servers = ensemble.formation(), ensemble.servers()
    return standing(founding.record, founding.layout.me.name, formed, servers)


def founding_store(start: FirstStart) -> store.FoundingStore:
    """The ensemble of the members, as every node may read it."""
    return store.FoundingStore(
        [member.cluster for member in start.layout.members],
        password=start.node_secrets.zookeeper_pvc,
    )
