"""What failed is tried later and later, then not at all; planning that goes in circles stops itself."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from simulated_world import BASE

from pvc_gitops.controllers.retry import (
    PLANS_PER_HOUR_MAX,
    RETRIES_MAX,
    RETRY_MAX_S,
    brake,
    counted,
    flips,
    turn,
)
from pvc_gitops.model.control import Flip, Obstacle, Pace, Published
from pvc_gitops.model.records import StepResult, StepStatus
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.spec.load import load

SPEC = load(BASE, commit="c" * 40)
PLAN = plan(SPEC, empty(SPEC, 0), POLICY, None)
NOW_S = 1_700_000_000


def results(*, is_retryable=True, but=StepStatus.FAILED):
    """All steps done but the first, which nothing else waits for."""
    last = next(s for s in PLAN.steps if not any(s.id in other.needs for other in PLAN.steps))
    return {
        step.id: StepResult(
            step=step.id,
            node=step.node,
            status=but if step is last else StepStatus.DONE,
            started_at_s=0,
            ended_at_s=1,
            error="no" if step is last else "",
            is_retryable=is_retryable,
            evidence={},
            progress=None,
        )
        for step in PLAN.steps
    }


def look(retry=None, pace=None, *, now_s=0.0, asked=None, is_wanted=False, found=None):
    return turn(
        PLAN,
        results() if found is None else found,
        retry,
        pace or Pace(),
        asked=asked,
        is_wanted=is_wanted,
        now_s=now_s,
    )


def test_nothing_is_tried_again_while_steps_are_under_way_or_all_is_done():
    assert look(found=results(but=StepStatus.DONE)).failed == 0
    assert look(found=results(but=StepStatus.RUNNING)).failed == 0


def test_the_pauses_double_up_to_their_limit_and_end_after_eight_times():
    retry, pace, now_s, pauses = None, Pace(), 0.0, []
    for _ in range(RETRIES_MAX):
        what = look(retry, pace, now_s=now_s)
        assert not what.is_now
        assert not what.is_given_up
        pauses.append(what.retry.at_s - now_s)
        now_s = what.retry.at_s
        what = look(what.retry, pace, now_s=now_s)
        assert what.is_now
        retry = what.retry
        pace = counted(pace, PLAN, NOW_S + int(now_s), is_wanted=False, retry=retry)
    assert pauses == [30.0, 60.0, 120.0, 240.0, 480.0, RETRY_MAX_S, RETRY_MAX_S, RETRY_MAX_S]
    end = look(retry, pace, now_s=now_s + 1e9)
    assert end.is_given_up
    assert not end.is_now


def test_a_new_leader_goes_on_counting():
    pace = Pace(tried=PLAN.commit, times=RETRIES_MAX)
    assert look(None, pace).is_given_up
    half = look(None, replace(pace, times=3))
    assert half.retry.at_s == 240.0
    other = look(None, replace(pace, tried="d" * 40))
    assert not other.is_given_up


def test_a_word_tries_again_at_once_and_counts_anew():
    pace = Pace(tried=PLAN.commit, times=RETRIES_MAX)
    given_up = look(None, pace).retry
    what = look(given_up, pace, is_wanted=True)
    assert what.is_now
    assert what.retry.times == 1


def test_a_question_tries_again_once_and_counts_on():
    first = look(asked=4).retry
    assert not look(first, asked=4, now_s=1.0).is_now
    again = look(first, asked=5, now_s=1.0)
    assert again.is_now
    assert again.is_asked
    assert not look(first, asked=4, now_s=first.at_s).is_asked  # its time had come
    assert again.retry.times == 1
    assert not look(again.retry, asked=5, now_s=2.0).is_now


def test_what_cannot_help_itself_waits_for_somebody():
    what = look(found=results(is_retryable=False))
    assert what.retry.at_s == math.inf
    assert not what.is_given_up


# --- the brake -------------------------------------------------------------------------------------


def published(times, *, commit=PLAN.commit, is_wanted=False, each=None, since_s=60):
    return tuple(
        Published(
            at_s=NOW_S - since_s * (times - n),
            commit=commit,
            effect=f"{n:08}",
            is_wanted=is_wanted,
            flips={} if each is None else each[n],
        )
        for n in range(times)
    )


def test_twenty_plans_in_an_hour_that_nobody_asked_for_are_enough():
    few = Pace(published=published(PLANS_PER_HOUR_MAX - 1))
    assert brake(few, PLAN, NOW_S) is None
    many = Pace(published=published(PLANS_PER_HOUR_MAX))
    assert brake(many, PLAN, NOW_S).obstacle is Obstacle.RUNAWAY


@pytest.mark.parametrize(
    "how", [{"commit": "d" * 40}, {"is_wanted": True}, {"since_s": 600}], ids=str
)
def test_plans_of_other_commits_wanted_ones_and_old_ones_do_not_count(how):
    assert brake(Pace(published=published(PLANS_PER_HOUR_MAX, **how)), PLAN, NOW_S) is None


def there_and_back():
    there = flips(PLAN)
    back = {of: Flip(before=flip.after, after=flip.before) for of, flip in there.items()}
    return there, back


def test_to_and_fro_and_to_again_is_held():
    there, back = there_and_back()
    once = Pace(published=published(2, each=(there, back)))
    held = brake(once, PLAN, NOW_S)
    assert held.obstacle is Obstacle.OSCILLATION
    assert min(there) in held.text


@pytest.mark.parametrize("order", ["there", "back", "back there", "there there"])
def test_a_change_that_was_not_taken_back_is_no_oscillation(order):
    there, back = there_and_back()
    each = [there if word == "there" else back for word in order.split()]
    assert brake(Pace(published=published(len(each), each=each)), PLAN, NOW_S) is None


def test_the_brake_holds_for_its_commit_only():
    held = brake(Pace(published=published(PLANS_PER_HOUR_MAX)), PLAN, NOW_S)
    assert brake(Pace(brake=held), PLAN, NOW_S) == held
    other = replace(held, commit="d" * 40)
    assert brake(Pace(brake=other), PLAN, NOW_S) is None


def test_counting_keeps_an_hour_and_forgets_the_brake():
    held = brake(Pace(published=published(PLANS_PER_HOUR_MAX)), PLAN, NOW_S)
    pace = Pace(published=published(100, since_s=60), brake=held)
    after = counted(pace, PLAN, NOW_S, is_wanted=True, retry=None)
    assert after.brake is None
    assert len(after.published) == PLANS_PER_HOUR_MAX + 1
    assert after.published[-1].effect == PLAN.effect
