"""The founding record: written down before anything of membership; all must have written the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from pvc_gitops.adapters.formation import files, peers, store
from pvc_gitops.adapters.formation.context import FirstStart, Founding
from pvc_gitops.adapters.formation.credentials import OWN
from pvc_gitops.errors import StoreUnavailable, UsageError
from pvc_gitops.formation.record import FoundingRecord, Told, agreement
from pvc_gitops.model.codec import canonical, decode
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.records import Formation

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
    if found.is_complete or _was_founded_with_me(founding):
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
        ensemble = founding_store(founding)
        formed = ensemble.formation()
        has_lived = ensemble.has_lived(founding.layout.me.name)
    except StoreUnavailable as err:
        return f"the store of the running cluster ({err.reason})"
    if has_lived or (formed is not None and _is_recovered(formed, founding)):
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


def _was_founded_with_me(founding: Founding) -> bool:
    """The others may have seen our record, founded and ended while we were down: then their ensemble
    runs, holds the same founding and counts us among its servers."""
    if not any(store.mode_of(member.address) for member in founding.record.members):
        return False
    try:
        ensemble = founding_store(founding)
        formed, servers = ensemble.formation(), ensemble.servers()
    except StoreUnavailable:
        return False
    mine, record = founding.layout.my_member, founding.record
    if mine is None or formed is None:
        return False
    if (formed.cluster_id, formed.commit) != (record.cluster_id, record.commit):
        return False
    is_member = servers.get(mine.id) == mine.cluster
    return is_member if formed.formation == record.formation else _is_recovered(formed, founding)


def _is_recovered(formed: Formation, founding: Founding) -> bool:
    """Was the quorum made anew when most of its members were gone for good? It knows us no more."""
    return formed.formation > founding.record.formation


def founding_store(start: FirstStart) -> store.FoundingStore:
    """The ensemble of the members, as every node may read it."""
    return store.FoundingStore(
        [member.cluster for member in start.layout.members],
        password=start.node_secrets.zookeeper_pvc,
    )
