"""What an agent answers about where commits come from, and what it takes while the origin is away."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from pvc_gitops.controllers import blobs, origin
from pvc_gitops.controllers.answers import Poke, Recall, Refusal, Said, Value
from pvc_gitops.controllers.intents import REASON_MAX, ROOT, authority, in_force
from pvc_gitops.controllers.records import put, read, read_all, version_of, write
from pvc_gitops.controllers.source import spec_of
from pvc_gitops.model import paths
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import CommitId, NodeName
from pvc_gitops.model.records import Accepted, Applied, Asked, SourceSeen
from pvc_gitops.model.source import (
    Ahead,
    Diverged,
    Override,
    Source,
    SourceState,
    Submitted,
)
from pvc_gitops.spec.authority import admins
from pvc_gitops.world.ports import Create, World
from pvc_gitops.world.protocol import Question

SUBMIT_BYTES_MAX: Final = 8 * 1024 * 1024  # documents of years; it stands in the store meanwhile
LOOK_S: Final = 70.0  # a fetch is killed after 60
ACCEPT_S: Final = 30.0  # every coordinator looks, then the leader
PREFIX_MIN: Final = 7
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")

Handler = Callable[[Question, World, Recall], Iterator[Said]]


def _source(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    del question, recall
    store = world.store
    declared, mode = _declared(world)
    yield Value(
        value=SourceState(
            accepted=read(store, paths.ACCEPTED, Accepted),
            signers=mode,
            url=None if declared is None else declared.url,
            mirrors=() if declared is None else declared.mirrors,
            seen={NodeName(n): s for n, s in read_all(store, paths.SEEN, SourceSeen).items()},
            ahead=read(store, paths.AHEAD, Ahead),
            diverged=read(store, paths.DIVERGED, Diverged),
            submitted=read(store, paths.SUBMITTED, Submitted),
            override=read(store, paths.OVERRIDE, Override),
            now_s=world.clock.now_s(),
            answered_by=world.me.node,
        )
    )


def _declared(world: World) -> tuple[Source | None, str]:
    for record in read_all(world.store, paths.OWNED, Applied).values():
        if record.kind is Kind.CLUSTER:
            return Source.from_spec(record.spec, None), str(record.spec["source"]["signers"])
    return None, "none"


# --- handing commits over ----------------------------------------------------------------------------


def _submit(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """Take commits as a pack; answered when they are in force, or with what is wrong with them."""
    store = world.store
    refused = authority(world, question.operator)("submit", "cluster")
    if refused is not None:
        yield Refusal(code=refused.code, message=refused.message, hint=refused.hint)
        return
    pack = _pack(question)
    accepted = read(store, paths.ACCEPTED, Accepted)
    head, base = _commit(question, "head"), _commit(question, "base")
    if pack is None or head is None or base is None or accepted is None:
        yield Refusal(
            code="bad-arguments",
            message=f"head, base and a pack of at most {SUBMIT_BYTES_MAX // 1024 // 1024} MiB in base64",
        )
        return
    if base != accepted.commit:
        yield Refusal(
            code="behind",
            message=f"the cluster is at {accepted.commit[:7]}, and your commits follow {base[:7]}",
            hint="merge what is in force first: somebody else handed commits over, or pushed",
        )
        return
    yield from _looked(question, world, recall)
    seen = recall().source.seen
    if seen is not None and not seen.error:
        yield Refusal(
            code="origin-answers",
            message="the origin answers: commits come from there",
            hint="git push",
        )
        return
    record = Submitted(
        commit=head, base=base, by=question.operator or ROOT, at_s=world.clock.now_s()
    )
    if store.read(paths.PACKS) is None:
        store.commit((Create(path=paths.PACKS, value={}),))
    before = version_of(store.read(paths.SUBMITTED))
    held = (
        []
        if store.read(paths.pack(head))
        else blobs.creates(paths.pack(head), {"pack": base64.b64encode(pack).decode()})
    )
    for batch in blobs.batches((*origin.packs(store, keep=head), *held)):
        store.commit(batch)
    store.commit((put(paths.SUBMITTED, record, before),))
    world.journal.event("submitted", commit=head, by=record.by)
    yield from _looked(question, world, recall)
    yield from _outcome(world, recall, head)


def _pack(question: Question) -> bytes | None:
    text = question.args.get("pack")
    if not isinstance(text, str) or len(text) > SUBMIT_BYTES_MAX * 4 // 3 + 4:
        return None
    try:
        return base64.b64decode(text, validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _commit(question: Question, key: str) -> CommitId | None:
    text = str(question.args.get(key, ""))
    return CommitId(text) if _COMMIT.fullmatch(text) else None


# --- a commit that is refused ------------------------------------------------------------------------


def _accept(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """Adopt the branch's tip although it is refused: rewound, replaced, or signed by nobody."""
    store, operator = world.store, question.operator
    commit = in_force(store)
    if operator is not None and (
        commit is None or operator not in admins(spec_of(world.repo, commit))
    ):
        yield Refusal(
            code="not-allowed",
            message=f"{operator} may not: only admins, and root on a node, adopt what is refused",
            hint="an admin may; or push what the rules allow: pvc source status",
        )
        return
    reason = str(question.args.get("reason", "")).strip()[:REASON_MAX]
    yield from _looked(question, world, recall)
    seen, accepted = recall().source.seen, read(store, paths.ACCEPTED, Accepted)
    name = str(question.args.get("commit", ""))
    tip = None if seen is None else seen.tip
    if accepted is None or not reason or len(name) < PREFIX_MIN:
        yield Refusal(
            code="bad-arguments",
            message=f"a commit, of which {PREFIX_MIN} digits or more, and a reason",
        )
        return
    if tip is None or not tip.startswith(name) or seen is None or seen.error:
        where = "nobody sees the branch" if tip is None else f"the branch points at {tip[:7]}"
        yield Refusal(
            code="not-the-tip",
            message=f"{where}{', when last seen' if seen and seen.error else ''}",
            hint="push the commit that you mean to the tracked branch first; then accept that one",
        )
        return
    if tip == accepted.commit:
        yield Value(value={"accepted": accepted, "seen": seen})
        return
    record = Override(
        commit=tip,
        base=accepted.commit,
        by=operator or ROOT,
        reason=reason,
        at_s=world.clock.now_s(),
    )
    write(store, paths.OVERRIDE, record)
    world.journal.event("override", commit=tip, by=record.by, reason=reason)
    yield from _looked(question, world, recall)
    yield from _outcome(world, recall, tip)


# --- both --------------------------------------------------------------------------------------------


def _looked(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """All nodes look now; goes on after a fetch of this node that began after this."""
    asked = Asked(by=world.me.node, operator=question.operator, at_s=world.clock.now_s())
    write(world.store, paths.ASKED, asked)
    needed = recall().source.fetches + (2 if recall().source.is_fetching else 1)
    until_s = world.clock.monotonic_s() + LOOK_S
    yield Poke()
    while recall().source.fetches < needed and world.clock.monotonic_s() < until_s:
        yield None


def _outcome(world: World, recall: Recall, head: CommitId) -> Iterator[Said]:
    """When it is in force; or what this node finds wrong with it; or where it stands after a while."""
    until_s = world.clock.monotonic_s() + ACCEPT_S
    while True:
        accepted, seen = read(world.store, paths.ACCEPTED, Accepted), recall().source.seen
        is_in_force = accepted is not None and accepted.commit == head
        is_refused = seen is not None and seen.tip == head and bool(seen.problems)
        if is_in_force or is_refused or world.clock.monotonic_s() > until_s:
            yield Value(value={"accepted": accepted if is_in_force else None, "seen": seen})
            return
        yield None


HANDLERS: Final[Mapping[str, Handler]] = {
    "source": _source,
    "source-submit": _submit,
    "source-accept": _accept,
}
