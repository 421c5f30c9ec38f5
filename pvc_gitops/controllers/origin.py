"""Does the origin hold what is in force? Commits may come by other ways while it is away. What is in
force then stands in the store as *ahead*, and an origin that comes back without it has *diverged*."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pvc_gitops.controllers import blobs, ledger
from pvc_gitops.controllers.ledger import Note
from pvc_gitops.controllers.records import put, read
from pvc_gitops.model import paths
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.ledger import EntryKind
from pvc_gitops.model.records import SourceSeen
from pvc_gitops.model.source import Ahead, Diverged, Override, Submitted
from pvc_gitops.world.ports import Delete, Leadership, Op, Repo, Store, World

CLUSTER = "the cluster"  # who did it, where nobody asked


def tend(world: World, lead: Leadership, seen: Sequence[SourceSeen], voters: int) -> None:
    """As leader: note that the origin lacks what is in force, or that it has caught up.

    Args:
        world: whose store holds the records.
        lead: proof of leading the planner's role.
        seen: what the coordinators saw.
        voters: how many coordinators there are.

    Raises:
        StoreError, RepoError.
    """
    store, now_s = world.store, world.clock.now_s()
    ahead, diverged = read(store, paths.AHEAD, Ahead), read(store, paths.DIVERGED, Diverged)
    notes: list[Note] = []
    ops: list[Op] = []
    is_held = ahead is not None and _is_held(world.repo, ahead, seen, voters)
    if ahead is not None and is_held:
        ops.append(Delete(path=paths.AHEAD, version=ahead.version))
        notes.append(_note(f"the origin holds {ahead.commit[:7]} now", ahead.commit))
    texts = [each.diverged for each in seen if each.diverged]
    if diverged is None and ahead is not None and 2 * len(texts) > voters:
        record = Diverged(commit=ahead.commit, text=texts[0], since_s=now_s)
        ops.append(put(paths.DIVERGED, record, None))
        notes.append(_note(texts[0], ahead.commit))
    elif diverged is not None and (is_held or ahead is None):
        ops.append(Delete(path=paths.DIVERGED, version=diverged.version))
    if ops:
        store.commit((*lead.checks, *ops, *ledger.appending(store, notes, now_s)))
        world.journal.event("origin", ahead=not is_held, diverged=len(texts))
    if ahead is None and 2 * sum(1 for each in seen if not each.error) > voters:
        _drop(store, lead)


def _is_held(repo: Repo, ahead: Ahead, seen: Sequence[SourceSeen], voters: int) -> bool:
    """Did a majority fetch from the origin what holds it?"""
    count = 0
    for each in seen:
        tip = each.tip
        if each.error or each.diverged or each.via or tip is None or each.head != tip:
            continue
        is_held = tip == ahead.commit or (repo.has(tip) and repo.is_ancestor(ahead.commit, tip))
        count += is_held
    return 2 * count > voters


def _drop(store: Store, lead: Leadership) -> None:
    """What was handed over and is not needed any more."""
    submitted = read(store, paths.SUBMITTED, Submitted)
    if submitted is not None:
        gone = Delete(path=paths.SUBMITTED, version=submitted.version)
        for batch in blobs.batches((gone, *packs(store))):
            store.commit((*lead.checks, *batch))


def packs(store: Store, keep: CommitId | None = None) -> Iterator[Op]:
    """The operations that remove handed over objects, children first."""
    for name, stamped in sorted(store.read_children(paths.PACKS).items()):
        path = f"{paths.PACKS}/{name}"
        if name == keep:
            continue
        for part, below in sorted(store.read_children(path).items()):
            yield Delete(path=f"{path}/{part}", version=below.version)
        yield Delete(path=path, version=stamped.version)


def override_of(store: Store, head: CommitId, base: CommitId) -> Override | None:
    """Somebody's word that this very commit is to follow this one."""
    found = read(store, paths.OVERRIDE, Override)
    return found if found is not None and (found.commit, found.base) == (head, base) else None


def signer_of(head: CommitId, seen: Mapping[str, SourceSeen]) -> str:
    """Who answers for it, by all who hold it alike; "" where nobody has to, or they differ."""
    found = {each.signer for each in seen.values() if each.head == head}
    return found.pop() if len(found) == 1 else ""


def accepting(
    store: Store,
    head: CommitId,
    seen: Mapping[str, SourceSeen],
    override: Override | None,
    now_s: int,
) -> tuple[tuple[Op, ...], tuple[Note, ...]]:
    """What belongs into the transaction that puts a commit in force, besides that."""
    ahead, diverged = read(store, paths.AHEAD, Ahead), read(store, paths.DIVERGED, Diverged)
    if override is not None:
        gone = [(paths.OVERRIDE, override), (paths.AHEAD, ahead), (paths.DIVERGED, diverged)]
        ops: tuple[Op, ...] = tuple(
            Delete(path=path, version=record.version) for path, record in gone if record is not None
        )
        words = f"{head[:7]} accepted although it was refused: {override.reason}"
        note = Note(
            kind=EntryKind.SOURCE,
            text=words,
            by=override.by,
            commit=head,
            data={"before": override.base, "reason": override.reason},
        )
        return ops, (note,)
    how = sorted({each.via for each in seen.values() if each.head == head})
    if not how or how[0] == "":  # somebody has it from the origin
        return (), ()
    record = Ahead(commit=head, how=how[0], since_s=now_s)
    before = None if ahead is None else ahead.version
    return (put(paths.AHEAD, record, before),), (_note(f"{head[:7]} {how[0]}", head),)


def _note(text: str, commit: CommitId) -> Note:
    return Note(kind=EntryKind.SOURCE, text=text, by=CLUSTER, commit=commit)
