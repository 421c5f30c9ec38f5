"""This node's mirror of the repository: fetch, judge, and say what it holds (D7).

A commit counts only if it came by fast-forward from the accepted one and everything in it parsed.
Otherwise nothing is adopted, the sentence that says why stands in the store, and the last accepted
commit stays in force.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from pvc_gitops.controllers.records import read, write
from pvc_gitops.controllers.view import View
from pvc_gitops.errors import RepoError, SpecError
from pvc_gitops.model import paths
from pvc_gitops.model.ids import CommitId, NodeName
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.records import SourceSeen
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
    judged = memory.judged
    world.jobs.start(JOB, lambda _: judge(world.repo, base, judged))
    every_s = POLL_DEFAULT_S if view.cluster is None else view.cluster.poll_s
    return replace(memory, is_fetching=True, due_at_s=view.now_s + poll_s(every_s, world.me.node))


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


def judge(repo: Repo, base: CommitId, judged: CommitId | None) -> Judgement:
    """Fetch, and say whether the tip may be adopted.

    Args:
        repo: this node's mirror.
        base: the accepted commit, from which a new one must descend.
        judged: a tip that was found good before; it is not parsed again.
    """
    try:
        tip = repo.fetch()
        problem = _descent(repo, base, tip)
        if problem:
            return Judgement(tip=tip, head=None, problems=(problem,), error="")
        if tip != judged:
            spec_of(repo, tip)
    except RepoError as error:
        return Judgement(tip=None, head=None, problems=(), error=error.reason)
    except SpecError as error:
        return Judgement(tip=tip, head=None, problems=sentences(error.problems), error="")
    return Judgement(tip=tip, head=tip, problems=(), error="")


def _descent(repo: Repo, base: CommitId, tip: CommitId) -> str:
    if tip == base or (repo.has(base) and repo.is_ancestor(base, tip)):
        return ""
    if repo.has(base) and repo.is_ancestor(tip, base):
        return (
            f"the branch was set back to {tip[:7]}, which is older than the accepted {base[:7]}; "
            f"{base[:7]} stays in force. To undo a commit, push a revert of it"
        )
    return (
        f"{tip[:7]} does not descend from the accepted {base[:7]}: the branch was force-pushed or "
        f"replaced; {base[:7]} stays in force. Push a commit that descends from it"
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
