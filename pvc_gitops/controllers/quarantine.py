"""Rollback: an earlier accepted commit in force, and what came after it put aside.

The accepted head goes on by fast-forward as ever; only what is planned is another commit. It ends by
content, when the head holds none of the changes put aside, or by word; never by ancestry: an unrelated
merge on top brings nothing back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from pvc_gitops.controllers import ledger
from pvc_gitops.controllers.intents import Refused
from pvc_gitops.controllers.ledger import Note
from pvc_gitops.controllers.records import put, read, read_all, version_of
from pvc_gitops.controllers.source import spec_of
from pvc_gitops.errors import RepoError, SpecError
from pvc_gitops.model import paths
from pvc_gitops.model.control import Quarantine, Quarantined
from pvc_gitops.model.ids import Address, CommitId
from pvc_gitops.model.ledger import Entry, EntryKind
from pvc_gitops.model.plan import ItemKind, Plan, ReportItem
from pvc_gitops.model.records import Accepted, Formation
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.spec.rollback import Touch, returning, still_held, touches
from pvc_gitops.world.ports import Check, Delete, Leadership, Op, Repo, Store, World

SPAN_MAX: Final = 50  # accepted commits that one rollback may put aside; each is parsed
PREFIX_MIN: Final = 4


# --- what is in force --------------------------------------------------------------------------------


def tick(
    world: World, lead: Leadership, accepted: Accepted | None, told: str
) -> tuple[Quarantine | None, str]:
    """As leader: end a quarantine whose changes the accepted head holds no more.

    Returns the one that stands, and what was said last, so that it is said once.
    """
    store = world.store
    found = read(store, paths.QUARANTINED, Quarantine)
    if found is None or accepted is None:
        return found, ""
    try:
        held = holding(world.repo, found, accepted.commit)
    except (RepoError, SpecError) as error:
        why = f"cannot tell what {accepted.commit[:7]} still holds: {error}"
        if why != told:
            world.journal.event("quarantine_kept", why=why)
        return found, why
    if any(held.values()):
        return found, ""
    store.commit((*lead.checks, *ended(store, found, accepted, world.clock.now_s())))
    world.journal.event("quarantine_ended", commit=accepted.commit, why="the head holds it no more")
    return None, ""


def ended(store: Store, found: Quarantine, accepted: Accepted, now_s: int) -> tuple[Op, ...]:
    """The operations that put the accepted head in force again, since it holds nothing put aside."""
    names = ", ".join(each.commit[:7] for each in found.commits)
    note = Note(
        kind=EntryKind.RELEASED,
        text=f"{accepted.commit[:7]} holds nothing of {names} any more: it is in force",
        by=accepted.author,
        commit=accepted.commit,
    )
    return (
        Delete(path=paths.QUARANTINED, version=found.version),
        Check(path=paths.ACCEPTED, version=accepted.version),
        *ledger.appending(store, [note], now_s),
    )


def holding(
    repo: Repo, found: Quarantine, head: CommitId
) -> Mapping[CommitId, tuple[Address, ...]]:
    """What the head still holds of each commit put aside. Raises RepoError, SpecError."""
    tip, good = spec_of(repo, head), spec_of(repo, found.commit)
    return {
        each.commit: still_held(_touches(_Pair(repo, each.before, each.commit)), tip, good)
        for each in found.commits
    }


def planned_spec(repo: Repo, found: Quarantine | None, commit: CommitId) -> ClusterSpec:
    """What is planned for a commit: its documents, and the way back of what later ones moved.

    Raises RepoError, SpecError.
    """
    spec = spec_of(repo, commit)
    if found is None or found.commit != commit:
        return spec
    return returning(spec, [spec_of(repo, each.commit) for each in found.commits])


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """A cache key that is two commits alone, and still knows where to read them."""

    repo: Repo
    before: CommitId
    after: CommitId

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Pair) and (other.before, other.after) == (self.before, self.after)

    def __hash__(self) -> int:
        return hash((self.before, self.after))


@lru_cache(maxsize=SPAN_MAX)
def _touches(pair: _Pair) -> tuple[Touch, ...]:
    return touches(spec_of(pair.repo, pair.before), spec_of(pair.repo, pair.after))


# --- going back --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A commit to go back to, and what that puts aside."""

    quarantine: Quarantine
    subject: str
    author: str
    now: CommitId  # what is in force until then


def choose(world: World, wanted: str, *, by: str, reason: str) -> Choice | Refused:
    """The commit that `wanted` names, by itself or its first digits; "" is the last one before the one
    in force of which nothing was left to do."""
    store = world.store
    accepted = read(store, paths.ACCEPTED, Accepted)
    formation = read(store, paths.FORMAT, Formation)
    if accepted is None or formation is None:
        return Refused(code="not-ready", message="no commit is accepted yet")
    standing = read(store, paths.QUARANTINED, Quarantine)
    now = accepted.commit if standing is None else standing.commit
    entries = [*read_all(store, paths.LEDGER_ENTRIES, Entry).values()]
    chain = _chain(entries, formation.commit, accepted)
    at = _last_converged(entries, chain, now) if not wanted else _named(chain, wanted)
    if isinstance(at, Refused):
        return at
    link, aside = chain[at], chain[at + 1 :]
    if link.commit == now:
        return Refused(
            message=f"{link.commit[:7]} is in force already",
            hint="pvc history shows the commits before it",
        )
    if len(aside) > SPAN_MAX:
        return Refused(
            message=f"{len(aside)} accepted commits came after {link.commit[:7]}; a rollback goes "
            f"over at most {SPAN_MAX}",
            hint="push a commit with the content that you want",
        )
    if not world.repo.has(link.commit):
        return Refused(
            code="not-ready",
            message=f"{world.me.node} does not hold {link.commit[:7]}",
            hint="ask another node: pvc --host ssh://pvc@NODE rollback",
        )
    return Choice(
        quarantine=Quarantine(
            commit=link.commit,
            commits=tuple(aside),
            by=by,
            reason=reason,
            at_s=world.clock.now_s(),
        ),
        subject=link.subject,
        author=link.author,
        now=now,
    )


def _chain(
    entries: Sequence[Entry], founded: CommitId, accepted: Accepted
) -> tuple[Quarantined, ...]:
    """All accepted commits that the ledger still knows, the oldest first. Each but the first names the
    one before it."""
    found: list[Quarantined] = []
    before = founded
    if entries and entries[0].number == 1:  # nothing is archived yet
        found.append(Quarantined(commit=founded, before=founded, subject="founding", author=""))
    for entry in entries:
        if entry.kind is not EntryKind.ACCEPTED or entry.commit is None or entry.commit == founded:
            continue
        before = CommitId(entry.data.get("after", "") or before)
        found.append(
            Quarantined(
                commit=entry.commit,
                before=before,
                subject=entry.text.partition(" ")[2],
                author=entry.by,
            )
        )
        before = entry.commit
    if not found or found[-1].commit != accepted.commit:  # accepted before all that still stands
        found.append(
            Quarantined(
                commit=accepted.commit,
                before=found[-1].commit if found else accepted.commit,
                subject=accepted.subject,
                author=accepted.author,
            )
        )
    return tuple(found)


def _named(chain: Sequence[Quarantined], wanted: str) -> int | Refused:
    found = [n for n, link in enumerate(chain) if link.commit.startswith(wanted)]
    if len(wanted) >= PREFIX_MIN and len(found) == 1:
        return found[0]
    known = ", ".join(link.commit[:7] for link in chain[-6:])
    return Refused(
        code="no-commit",
        message=f"{wanted!r} names no accepted commit"
        if not found
        else f"{wanted!r} names {len(found)} accepted commits",
        hint=f"the last ones are {known}; pvc history shows all",
    )


def _last_converged(
    entries: Sequence[Entry], chain: Sequence[Quarantined], now: CommitId
) -> int | Refused:
    done = {entry.commit for entry in entries if entry.kind is EntryKind.CONVERGED}
    place = next((n for n, link in enumerate(chain) if link.commit == now), len(chain))
    found = [n for n, link in enumerate(chain[:place]) if link.commit in done]
    if found:
        return found[-1]
    return Refused(
        code="no-commit",
        message=f"no commit before {now[:7]} was ever carried out to its end",
        hint="name one: pvc rollback COMMIT; pvc history shows them",
    )


def begin(world: World, choice: Choice, also: Sequence[Op], notes: Sequence[Note]) -> None:
    """Put it in force. Raises StoreConflict where something was accepted or rolled back meanwhile."""
    store, found = world.store, choice.quarantine
    names = ", ".join(each.commit[:7] for each in found.commits)
    because = f": {found.reason}" if found.reason else ""
    note = Note(
        kind=EntryKind.ROLLBACK,
        text=f"back to {found.commit[:7]} {choice.subject}; {names} put aside{because}",
        by=found.by,
        commit=found.commit,
        data={"quarantined": " ".join(each.commit for each in found.commits)},
        at_s=found.at_s,
    )
    before = version_of(store.read(paths.QUARANTINED))
    accepted = store.read(paths.ACCEPTED)
    assert accepted is not None  # the choice was made from it
    told = ledger.appending(store, [note, *notes], found.at_s)
    store.commit(
        (
            Check(path=paths.ACCEPTED, version=accepted.version),
            put(paths.QUARANTINED, found, before),
            *also,
            *told,
        )
    )
    world.journal.event("rollback", commit=found.commit, by=found.by, reason=found.reason)


def release(world: World, wanted: str, by: str, reason: str) -> Quarantined | Refused:
    """Take one commit out of quarantine by word. Raises StoreError, StoreConflict."""
    store = world.store
    found = read(store, paths.QUARANTINED, Quarantine)
    mine = [] if found is None else [c for c in found.commits if c.commit.startswith(wanted)]
    if found is None or len(wanted) < PREFIX_MIN or len(mine) != 1:
        known = "none" if found is None else ", ".join(c.commit[:7] for c in found.commits)
        return Refused(
            code="no-commit",
            message=f"{wanted!r} names no commit in quarantine",
            hint=f"in quarantine: {known}",
        )
    ops, notes = releasing(found, mine, by=by, reason=reason)
    store.commit((*ops, *ledger.appending(store, notes, world.clock.now_s())))
    world.journal.event("released", commit=mine[0].commit, by=by, reason=reason)
    return mine[0]


def releasing(
    found: Quarantine, mine: Sequence[Quarantined], *, by: str, reason: str
) -> tuple[tuple[Op, ...], tuple[Note, ...]]:
    """What takes commits out of quarantine, for a transaction of the caller's."""
    left = tuple(each for each in found.commits if each not in mine)
    because = f": {reason}" if reason else ""
    notes = tuple(
        Note(
            kind=EntryKind.RELEASED,
            text=f"{each.commit[:7]} {each.subject} is out of quarantine{because}",
            by=by,
            commit=each.commit,
        )
        for each in mine
    )
    after: Op = (
        put(paths.QUARANTINED, replace(found, commits=left), found.version)
        if left
        else Delete(path=paths.QUARANTINED, version=found.version)
    )
    return (after,), notes


def not_undone(plan: Plan) -> tuple[ReportItem, ...]:
    """What stays as it is although the commit says otherwise: refused, or only used when an object is
    made anew."""
    return tuple(item for item in plan.report if item.kind in (ItemKind.BLOCKED, ItemKind.NOTE))
