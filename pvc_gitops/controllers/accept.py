"""Which commit is in force: the one that a majority of coordinators hold and verified (D7)."""

from __future__ import annotations

from collections.abc import Sequence

from pvc_gitops.controllers import ledger, origin, quarantine
from pvc_gitops.controllers.intents import Wish, authority, drafted, refused_words
from pvc_gitops.controllers.ledger import Note
from pvc_gitops.controllers.records import put, read, read_all
from pvc_gitops.errors import RepoError
from pvc_gitops.model import paths
from pvc_gitops.model.control import Quarantine
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.intents import IntentKind
from pvc_gitops.model.ledger import EntryKind
from pvc_gitops.model.records import Accepted, Applied, Formation, SourceSeen
from pvc_gitops.model.spec import Node, NodeRole
from pvc_gitops.model.trailers import APPROVE, RELEASE, trailer
from pvc_gitops.model.trust import PLAYER
from pvc_gitops.world.ports import CommitInfo, Leadership, Op, World


def accept(world: World, formation: Formation, lead: Leadership) -> None:
    """Take up the commit that a majority of coordinators hold and verified (D7)."""
    store = world.store
    accepted = read(store, paths.ACCEPTED, Accepted)
    base = formation.commit if accepted is None else accepted.commit
    voters = coordinators(world)
    seen = {
        name: record
        for name, record in read_all(store, paths.SEEN, SourceSeen).items()
        if name in voters
    }
    head = majority_head([record.head for record in seen.values()], len(voters))
    try:
        origin.tend(world, lead, list(seen.values()), len(voters))
        if head is None or (accepted is not None and head == accepted.commit):
            return
        override = origin.override_of(store, head, base)
        if not world.repo.has(head) or not (
            override is not None
            or head == base
            or (world.repo.has(base) and world.repo.is_ancestor(base, head))
        ):
            return
        info = world.repo.info(head)
    except RepoError:
        return
    record = Accepted(
        commit=head,
        subject=info.subject,
        author=info.author,
        accepted_at_s=world.clock.now_s(),
        before=None if head == base else base,
    )
    before = None if accepted is None else accepted.version
    note = Note(
        kind=EntryKind.ACCEPTED,
        text=f"{head[:7]} {info.subject}",
        by=info.author,
        commit=head,
        data={"after": "" if accepted is None else accepted.commit},
    )
    signer = origin.signer_of(head, seen)
    ops, notes = _words(world, info, signer, record.accepted_at_s)
    more, said = origin.accepting(store, head, seen, override, record.accepted_at_s)
    ops, notes = (*ops, *more), (*notes, *said)
    told = ledger.appending(store, [note, *notes], record.accepted_at_s)
    store.commit((*lead.checks, put(paths.ACCEPTED, record, before), *ops, *told))
    world.journal.event("accepted", commit=head, subject=info.subject)


def _words(
    world: World, info: CommitInfo, signer: str, now_s: int
) -> tuple[tuple[Op, ...], tuple[Note, ...]]:
    """What a commit says besides its content: that a plan is approved, that another commit is out of
    quarantine. It counts if the operator who signed it may say so; where nobody has to sign, nobody
    knows who says it."""
    if not signer:
        return (), ()
    allowed = authority(world, None if signer == PLAYER else signer)
    released = None if allowed("rollback", "cluster") else _released(world, info, signer)
    if released:
        return released
    effects = trailer(info.message, APPROVE)
    if not effects or not _is_same_content(world, info) or allowed("approve", "cluster"):
        return (), ()
    wish = Wish(
        kind=IntentKind.APPROVE,
        subject=effects[-1],
        by=signer,
        reason=f"commit {info.commit[:7]}",
        for_s=None,
        data={"commit": info.commit},
    )
    if refused_words(wish) is not None:
        return (), ()
    _, ops, note = drafted(world.store, wish, now_s)
    return ops, (note,)


def _released(
    world: World, info: CommitInfo, signer: str
) -> tuple[tuple[Op, ...], tuple[Note, ...]] | None:
    found = read(world.store, paths.QUARANTINED, Quarantine)
    named = [name for name in trailer(info.message, RELEASE) if len(name) >= quarantine.PREFIX_MIN]
    if found is None or not named:
        return None
    mine = [each for each in found.commits if each.commit.startswith(tuple(named))]
    if not mine:
        return None
    return quarantine.releasing(found, mine, by=signer, reason=f"commit {info.commit[:7]}")


def _is_same_content(world: World, info: CommitInfo) -> bool:
    """Is it a commit that changes nothing, so that it can only mean its words?"""
    try:
        return bool(info.parents) and world.repo.info(info.parents[0]).tree == info.tree
    except RepoError:
        return False


def majority_head(heads: Sequence[CommitId | None], coordinators: int) -> CommitId | None:
    """The commit that more than half of the coordinators hold; there is at most one."""
    for head in sorted({head for head in heads if head is not None}):
        if 2 * heads.count(head) > coordinators:
            return head
    return None


def coordinators(world: World) -> frozenset[str]:
    """The declared ones that are not retired, by name."""
    found = set()
    for record in read_all(world.store, paths.OWNED, Applied).values():
        if record.address.startswith("node/"):
            node = Node.from_spec(record.name, record.spec)
            if node.role is NodeRole.COORDINATOR and not node.is_retired:
                found.add(record.name)
    return frozenset(found)
