"""Trying again what failed: later and later, and not for ever; and a brake on planning itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from pvc_gitops.controllers import slices
from pvc_gitops.model.control import Brake, Flip, Obstacle, Pace, Published
from pvc_gitops.model.document import Spec
from pvc_gitops.model.ids import Address, CommitId
from pvc_gitops.model.plan import Action, Plan
from pvc_gitops.model.records import StepResult, StepStatus, digest_of
from pvc_gitops.model.values import dataclass, replace

# A failed step is tried again by a new plan after this long, doubling: what failed is usually a
# server or a disk that somebody is already looking at.
RETRY_FIRST_S: Final = 30.0
RETRY_MAX_S: Final = 600.0
# About 46 minutes in all. What fails for longer needs a person, whom a list of 200 attempts would
# not help.
RETRIES_MAX: Final = 8
HOUR_S: Final = 3600
# Plans that no commit and no person caused. Nodes that come and go make a few; retries of a commit are
# fewer than RETRIES_MAX. More is a planner that cannot make up its mind.
PLANS_PER_HOUR_MAX: Final = 20
FLIPS_KEPT: Final = 50  # addresses of one plan: a loop shows at any of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a commit's failed steps were tried again, and when the next time is."""

    commit: CommitId
    times: int
    at_s: float  # on this process's clock; infinite where it waits for somebody
    asked: int | None  # version of the question that was last answered by trying again


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What follows from the failed steps of the plan in force."""

    retry: Retry | None
    is_now: bool = False
    is_asked: bool = False  # by a person: it counts for nobody's patience
    is_given_up: bool = False
    failed: int = 0


def is_under_way(current: Plan | None, results: Mapping[str, StepResult]) -> bool:
    """Is there a step that runs or can still begin?"""
    if current is None:
        return False
    statuses = slices.statuses(current, results).values()
    return StepStatus.RUNNING in statuses or StepStatus.PENDING in statuses


def turn(
    current: Plan | None,
    results: Mapping[str, StepResult],
    retry: Retry | None,
    pace: Pace,
    *,
    asked: int | None,
    is_wanted: bool,
    now_s: float,
) -> Turn:
    """Is it time to try again what failed?

    Args:
        current: the plan in force.
        results: of its steps.
        retry: what this process remembers; None as a new leader, who goes on counting from `pace`.
        pace: what was counted so far.
        asked: version of the question "look now, and try again"; a new one means now, once.
        is_wanted: somebody wants this commit to be tried again: now, and counted anew.
        now_s: on this process's clock.
    """
    failed = [r for r in results.values() if r.status is StepStatus.FAILED]
    if current is None or current.commit is None or not failed or is_under_way(current, results):
        return Turn(retry=retry)
    count, commit = len(failed), current.commit
    times = pace.times if pace.tried == commit else 0
    is_first = retry is None or retry.commit != commit
    if is_wanted or (retry is not None and not is_first and asked != retry.asked):
        times = 0 if is_wanted else times
        return Turn(
            retry=_next(commit, times + 1, asked, now_s), is_now=True, is_asked=True, failed=count
        )
    if retry is None or is_first:
        # What cannot succeed without somebody's doing waits for somebody to ask.
        retry = _next(commit, times, asked, now_s)
        if not any(r.is_retryable for r in failed):
            retry = replace(retry, at_s=math.inf)
    if now_s >= retry.at_s:
        return Turn(retry=_next(commit, times + 1, asked, now_s), is_now=True, failed=count)
    return Turn(retry=retry, is_given_up=times >= RETRIES_MAX, failed=count)


def _next(commit: CommitId, times: int, asked: int | None, now_s: float) -> Retry:
    wait_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2**times) if times < RETRIES_MAX else math.inf
    return Retry(commit=commit, times=times, at_s=now_s + wait_s, asked=asked)


# --- the brake ---------------------------------------------------------------------------------------


def brake(pace: Pace, new: Plan, now_s: int) -> Brake | None:
    """Whether a plan that nobody asked for shows that planning itself has gone wrong."""
    if new.commit is None:
        return None
    if pace.brake is not None and pace.brake.commit == new.commit:
        return pace.brake
    recent = [
        each for each in pace.published if each.commit == new.commit and each.at_s > now_s - HOUR_S
    ]
    flipped = _flipped(recent, flips(new))
    if flipped is not None:
        return Brake(
            obstacle=Obstacle.OSCILLATION,
            commit=new.commit,
            text=f"{flipped} was changed, changed back, and would be changed again",
        )
    count = sum(1 for each in recent if not each.is_wanted)
    if count >= PLANS_PER_HOUR_MAX:
        return Brake(
            obstacle=Obstacle.RUNAWAY,
            commit=new.commit,
            text=f"{count} plans in an hour that nobody asked for",
        )
    return None


def flips(of: Plan) -> Mapping[Address, Flip]:
    """What a plan does to each address."""
    found = [change for change in of.changes if set(change.actions) != {Action.NONE}]
    return {
        change.address: Flip(before=_digest(change.before), after=_digest(change.after))
        for change in found[:FLIPS_KEPT]
    }


def _flipped(recent: list[Published], now: Mapping[Address, Flip]) -> Address | None:
    """An address that was changed so, then back, and would now be changed so again."""
    for of, flip in sorted(now.items()):
        if flip.before == flip.after:
            continue  # tags, or power: nothing that could go to and fro unseen
        there = Flip(before=flip.after, after=flip.before)
        seen = [each.flips[of] for each in recent if of in each.flips]
        if flip in seen and there in seen[seen.index(flip) :]:
            return of
    return None


def counted(pace: Pace, new: Plan, now_s: int, *, is_wanted: bool, retry: Retry | None) -> Pace:
    """The pace after a plan became the target."""
    assert new.commit is not None
    entry = Published(
        at_s=now_s,
        commit=new.commit,
        effect=new.effect,
        is_wanted=is_wanted,
        flips=flips(new),
    )
    recent = [each for each in pace.published if each.at_s > now_s - HOUR_S]
    times = pace.times if pace.tried == new.commit else 0
    if retry is not None and retry.commit == new.commit:
        times = retry.times
    return replace(
        pace,
        published=(*recent, entry)[-(PLANS_PER_HOUR_MAX + 1) :],
        tried=new.commit,
        times=times,
        brake=None,
    )


def _digest(spec: Spec | None) -> str:
    return "" if spec is None else digest_of(spec)
