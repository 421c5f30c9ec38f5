"""The ledger: commit -> plan -> step -> evidence, one chained entry after the other.

Entries stand under `/pvc/ledger/entries/<number>`, the end of the chain in `/pvc/ledger/head`. An entry
holds the digest of the one before it, so that none can be changed or left out unseen. The leading
planner writes them, by compare-and-set on the head; old ones go to an archive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from pvc_gitops.model.codec import canonical, encode
from pvc_gitops.model.ids import Address, CommitId, PlanId
from pvc_gitops.model.records import digest_of
from pvc_gitops.model.values import dataclass


class EntryKind(StrEnum):
    """What happened."""

    FOUNDED = "founded"
    ACCEPTED = "accepted"  # a commit came into force
    PLAN = "plan"  # a plan became the target
    STEP = "step"  # a step ended, done or failed
    CONVERGED = "converged"  # nothing of a commit was left to do
    INTENT = "intent"  # somebody wants something for the moment
    INTENT_ENDED = "intent-ended"
    ROLLBACK = (
        "rollback"  # an earlier accepted commit is the target; what came after is quarantined
    )
    RELEASED = "released"  # out of quarantine
    SOURCE = "source"  # what was refused of the repository, and overrides
    ACT = "act"  # what the cluster did by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened. `data` is plain text by key: what the kind needs to be told again."""

    number: int  # 1, 2, …
    previous: str  # digest of the entry before; "" of the first
    at_s: int
    kind: EntryKind
    text: str  # one sentence, as `pvc history` shows it
    by: str  # author of the commit, operator, or node
    addresses: tuple[Address, ...]
    commit: CommitId | None
    plan: PlanId | None
    step: str | None
    data: Mapping[str, str]

    @property
    def digest(self) -> str:
        return digest_of(encode(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What steps that ended within one hour cost, in words of the budgets: `destroyed.vms`."""

    hour: int  # since 1970
    word: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerHead:
    """The end of the chain, what of it still stands in the store, and what is summed up from it.

    The sums stand here, so that planning reads one record and not a day of history.
    """

    number: int
    digest: str
    oldest: int  # lowest number that stands in the store
    costs: tuple[Cost, ...]  # of the last 24 h, oldest first
    took_s: Mapping[str, tuple[int, ...]]  # by operation: the last few durations, oldest first
    version: int = 0


def broken_links(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Where a run of entries is not one chain, in sentences; none if it is whole."""
    found: list[str] = []
    before: Entry | None = None
    for entry in entries:
        if before is not None and entry.number != before.number + 1:
            found.append(f"entries {before.number + 1} to {entry.number - 1} are missing")
        elif before is not None and entry.previous != before.digest:
            found.append(f"entry {entry.number} does not follow entry {before.number} as it stands")
        before = entry
    return tuple(found)


def size_bytes(entry: Entry) -> int:
    """As it stands in the store."""
    return len(canonical(entry))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What was in force at one time, as far as some entries tell."""

    commit: Entry | None  # the last accepted before
    plan: Entry | None
    steps: Mapping[Address, Entry]  # the last step of each address that was done, by address
    intents: tuple[Entry, ...]  # made and not ended


def moment(entries: Iterable[Entry], at_s: int) -> Moment:
    """Read a time off a run of entries, the oldest first. Newer entries are passed over."""
    commit: Entry | None = None
    plan: Entry | None = None
    steps: dict[Address, Entry] = {}
    intents: dict[str, Entry] = {}
    for entry in entries:
        if entry.at_s > at_s:
            continue
        match entry.kind:
            case EntryKind.ACCEPTED | EntryKind.ROLLBACK:
                commit = entry
            case EntryKind.PLAN:
                plan = entry
            case EntryKind.STEP if entry.data.get("status") == "done":
                steps |= dict.fromkeys(entry.addresses, entry)
            case EntryKind.INTENT:
                intents[entry.data.get("intent", "")] = entry
            case EntryKind.INTENT_ENDED:
                intents.pop(entry.data.get("intent", ""), None)
            case _:
                pass
    return Moment(
        commit=commit,
        plan=plan,
        steps=dict(sorted(steps.items())),
        intents=tuple(intents.values()),
    )
