"""This node's mirror of the repository: fetch, judge, and say what it holds (D7).

A commit counts only if it came by fast-forward from the accepted one, was signed by whom the accepted one
wants (`controllers.trust`), and everything in it parsed. Otherwise nothing is adopted, the sentences that
say why stand in the store, and the last accepted commit stays in force.

While the origin is away, mirrors are asked in order, and operators may hand commits over (`pvc source
submit`); both may only go forward, by the same rules. When it is back it must hold what is in force.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from pvc_gitops.controllers import blobs, trust
from pvc_gitops.controllers.records import read, read_all, write
from pvc_gitops.controllers.view import View
from pvc_gitops.errors import RepoError, SpecError
from pvc_gitops.model import paths
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import CommitId, NodeName
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.records import Applied, SourceSeen
from pvc_gitops.model.source import Ahead, Override, Source, Submitted
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.spec.load import load
from pvc_gitops.world.ports import Repo, World

JOB: Final = "source.fetch"
POLL_DEFAULT_S: Final = 15.0  # until the Cluster document in force says otherwise
JITTER_SHARE: Final = 0.2  # nodes ask the origin at different moments
SAY_EVERY_S: Final = 30  # that there is no news; every write wakes whoever leads
PROBLEMS_SHOWN_MAX: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMemory:
    """When to look next, and what was said last."""

    due_at_s: float = 0.0
    is_fetching: bool = False
    seen: SourceSeen | None = None
    judged: CommitId | None = None  # the tip that `seen` is about
    fetches: int = 0  # that have ended, for those who wait for one


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a fetch found. `head` is None where the tip is not adopted."""

    tip: CommitId | None
    head: CommitId | None
    problems: tuple[str, ...]
    error: str
    signer: str | None = None  # None: as it was said before
    via: str = ""
    diverged: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a fetch is judged by.

    `base`: the accepted commit, from which a new one must descend. `judged`: a tip that was found good
    before; it is not judged again. `pack`: the objects of `submitted`, where the mirror lacks them.
    """

    base: CommitId
    now_s: int  # wall clock: keys have times
    judged: CommitId | None = None
    source: Source | None = None
    ahead: Ahead | None = None
    override: Override | None = None
    submitted: Submitted | None = None
    pack: bytes | None = None


def tick(world: World, view: View, memory: SourceMemory, *, is_poked: bool) -> SourceMemory:
    """Fetch when it is time or somebody asked; write down what was found."""
    if memory.seen is None:
        known = read(world.store, paths.seen(world.me.node), SourceSeen)
        memory = replace(memory, seen=known)
    if memory.is_fetching:
        job = world.jobs.state(JOB)
        if job is not None and not job.is_done:
            # Asked again meanwhile: what is under way may have looked too early.
            return replace(memory, due_at_s=view.now_s) if is_poked else memory
        world.jobs.forget(JOB)
        memory = replace(memory, is_fetching=False)
        if job is not None:
            if job.error is not None:
                raise job.error  # a bug of ours: `judge` returns what it refuses
            memory = _said(world, memory, job.value)
    if view.now_s < memory.due_at_s and not is_poked:
        return memory
    base = view.formation.commit if view.accepted is None else view.accepted.commit
    terms = _terms(world, base, memory.judged)
    world.jobs.start(JOB, lambda _: judge(world.repo, terms))
    every_s = POLL_DEFAULT_S if view.cluster is None else view.cluster.poll_s
    return replace(memory, is_fetching=True, due_at_s=view.now_s + poll_s(every_s, world.me.node))


def _terms(world: World, base: CommitId, judged: CommitId | None) -> Terms:
    store = world.store
    submitted, pack = read(store, paths.SUBMITTED, Submitted), None
    if submitted is not None and not world.repo.has(submitted.commit):
        held = blobs.read(store, paths.pack(submitted.commit))
        pack = None if held is None else base64.b64decode(held["pack"])
    return Terms(
        base=base,
        now_s=world.clock.now_s(),
        judged=judged,
        source=_source(world, base),
        ahead=read(store, paths.AHEAD, Ahead),
        override=read(store, paths.OVERRIDE, Override),
        submitted=submitted,
        pack=pack,
    )


def _source(world: World, base: CommitId) -> Source | None:
    """Of the Cluster document in force."""
    for record in read_all(world.store, paths.OWNED, Applied).values():
        if record.kind is Kind.CLUSTER:
            return Source.from_spec(record.spec, base)
    return None


def poll_s(every_s: float, node: NodeName) -> float:
    """The interval of one node: never longer than declared, the same on every day."""
    share = zlib.crc32(node.encode()) / 2**32
    return every_s * (1 - JITTER_SHARE * share)


def _said(world: World, memory: SourceMemory, found: Judgement) -> SourceMemory:
    before = memory.seen
    head = found.head
    if head is None and before is not None:
        head = before.head  # the last good one
    seen = SourceSeen(
        head=head,
        tip=found.tip if found.tip is not None or before is None else before.tip,
        problems=found.problems if found.tip is not None or before is None else before.problems,
        fetched_at_s=world.clock.now_s()
        if not found.error or before is None
        else before.fetched_at_s,
        error=found.error,
        signer=_kept(found.signer, None if before is None else before.signer),
        via=found.via if found.head is not None or before is None else before.via,
        diverged=found.diverged
        if found.tip is not None or before is None
        else before.diverged,  # nobody has looked since
    )
    is_news = before is None or replace(seen, fetched_at_s=before.fetched_at_s) != before
    if is_news:
        world.journal.event(
            "source",
            head=seen.head,
            tip=seen.tip,
            problems=len(seen.problems),
            error=seen.error or (seen.problems[0] if seen.problems else ""),
        )
    if is_news or before is None or seen.fetched_at_s >= before.fetched_at_s + SAY_EVERY_S:
        write(world.store, paths.seen(world.me.node), seen)
    else:
        seen = before
    # A tip that was refused for not descending is judged again: the accepted commit may move.
    judged = found.tip if found.head is not None else None
    return replace(memory, seen=seen, judged=judged, fetches=memory.fetches + 1)


def _kept(signer: str | None, before: str | None) -> str:
    return signer if signer is not None else before or ""


def judge(repo: Repo, terms: Terms) -> Judgement:
    """Fetch, and say whether the tip may be adopted."""
    error, unpacked = "", _taken(repo, terms)
    try:
        fetched = repo.fetch(terms.source)
        if not fetched.mirror:
            return _of_origin(repo, terms, fetched.tip)
        error = fetched.error
        base, tip = terms.base, fetched.tip
        words = f"from the mirror {fetched.mirror}"
        if _contains(repo, base, tip):  # it lags behind, as mirrors do
            found = _of_operators(repo, terms, error)
            if found.head is None and tip == base:
                # In force already; this node was behind, and holds it now.
                return _judged(repo, terms, tip, via=words, error=error)
            return found
        if _contains(repo, tip, base):
            return _judged(repo, terms, tip, via=words, error=error)
        error += f"; not taken: {tip[:7]} {words}, which does not follow {base[:7]}"
        return _of_operators(repo, terms, error)
    except RepoError as err:
        return _of_operators(repo, terms, f"{error or err.reason}{unpacked}")


def _taken(repo: Repo, terms: Terms) -> str:
    """Take up what was handed over; what is wrong with it. It never hinders a fetch."""
    if terms.pack is None or terms.submitted is None:
        return ""
    try:
        repo.take(terms.pack, terms.submitted.commit)
    except RepoError as err:
        return f"; what {terms.submitted.by} submitted cannot be unpacked: {err.reason}"
    return ""


def _of_origin(repo: Repo, terms: Terms, tip: CommitId) -> Judgement:
    base, override, ahead = terms.base, terms.override, terms.ahead
    if override is not None and (override.commit, override.base) == (tip, base):
        words = f"accepted by {override.by}"
        return _parsed_only(repo, tip, signer=words)
    if ahead is not None and not _contains(repo, tip, ahead.commit):
        words = _diverged(repo, tip, ahead)
        return Judgement(tip=tip, head=None, problems=(words,), error="", diverged=words)
    problem = _descent(repo, base, tip)
    if problem:
        return Judgement(tip=tip, head=None, problems=(problem,), error="")
    return _judged(repo, terms, tip, via="", error="")


def _of_operators(repo: Repo, terms: Terms, error: str) -> Judgement:
    """While nothing newer comes from anywhere: what was handed over, if it goes forward."""
    submitted = terms.submitted
    try:
        is_here = submitted is not None and repo.has(submitted.commit)
        if submitted is not None and is_here and _contains(repo, submitted.commit, terms.base):
            via = f"submitted by {submitted.by}"
            return _judged(repo, terms, submitted.commit, via=via, error=error)
    except RepoError as err:
        error = err.reason
    return Judgement(tip=None, head=None, problems=(), error=error)


def _judged(repo: Repo, terms: Terms, tip: CommitId, *, via: str, error: str) -> Judgement:
    """A tip that descends from the accepted commit."""
    if tip == terms.judged:
        return Judgement(tip=tip, head=tip, problems=(), error=error, via=via)
    base = terms.base
    try:
        found = trust.judge_range(
            repo, base, tip, lambda commit: spec_of(repo, commit), terms.now_s
        )
        spec_of(repo, tip)
    except SpecError as err:
        return Judgement(tip=tip, head=None, problems=sentences(err.problems), error=error)
    except RepoError as err:
        if err.retryable:
            raise
        words = f"refused: {tip[:7]} is not adopted; {base[:7]} stays in force: {err.reason}"
        return Judgement(tip=tip, head=None, problems=(words,), error=error)
    if found.problems:
        return Judgement(tip=tip, head=None, problems=found.problems, error=error)
    return Judgement(tip=tip, head=tip, problems=(), error=error, signer=found.signer, via=via)


def _parsed_only(repo: Repo, tip: CommitId, *, signer: str) -> Judgement:
    try:
        spec_of(repo, tip)
    except SpecError as err:
        return Judgement(tip=tip, head=None, problems=sentences(err.problems), error="")
    return Judgement(tip=tip, head=tip, problems=(), error="", signer=signer)


def _contains(repo: Repo, newer: CommitId, older: CommitId) -> bool:
    return newer == older or (repo.has(older) and repo.is_ancestor(older, newer))


def _diverged(repo: Repo, tip: CommitId, ahead: Ahead) -> str:
    mine = ahead.commit[:7]
    so = f"diverged: the origin answers and does not hold {mine}, which is in force ({ahead.how})"
    if _contains(repo, ahead.commit, tip):
        return f"{so}. It stays in force. Push it, from the clone that has it: git push"
    return (
        f"{so}; it has {tip[:7]} instead, which is not adopted. Join them, in the clone that has "
        f"{mine}: git pull --no-rebase && git push"
    )


def _descent(repo: Repo, base: CommitId, tip: CommitId) -> str:
    if tip == base or (repo.has(base) and repo.is_ancestor(base, tip)):
        return ""
    if repo.has(base) and repo.is_ancestor(tip, base):
        return (
            f"the branch was set back to {tip[:7]}, which is older than the accepted {base[:7]}; "
            f"{base[:7]} stays in force. To undo a commit, push a revert of it; if this is meant: "
            f"pvc source accept {tip[:7]} --reason …"
        )
    return (
        f"{tip[:7]} does not descend from the accepted {base[:7]}: the branch was force-pushed or "
        f"replaced; {base[:7]} stays in force. Push a commit that descends from it; if this is meant: "
        f"pvc source accept {tip[:7]} --reason …"
    )


def sentences(problems: tuple[Problem, ...]) -> tuple[str, ...]:
    """Problems as lines that people read where there is no source to show."""
    lines = [
        f"{p.file}:{p.line}:{p.column}: {p.message}" if p.line else f"{p.file}: {p.message}"
        for p in problems[:PROBLEMS_SHOWN_MAX]
    ]
    more = len(problems) - len(lines)
    return (*lines, f"and {more} more; `pvc validate` shows all") if more else tuple(lines)


def spec_of(repo: Repo, commit: CommitId) -> ClusterSpec:
    """What a commit declares. Raises SpecError, RepoError.

    A commit's content never changes, so what was parsed once in this process is kept.
    """
    return _parsed(_Commit(repo=repo, commit=commit))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Commit:
    """A cache key that is the commit alone, and still knows where to read it."""

    repo: Repo
    commit: CommitId

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Commit) and other.commit == self.commit

    def __hash__(self) -> int:
        return hash(self.commit)


# The accepted commit, its successor, and one that was refused are all that is asked for again.
@lru_cache(maxsize=4)
def _parsed(key: _Commit) -> ClusterSpec:
    files: Mapping[str, bytes] = key.repo.files(key.commit)
    return load(files, commit=key.commit)
