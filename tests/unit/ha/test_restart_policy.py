"""What its owner does about a guest that ended or did not start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_gitops.ha.restarts import GOOD_RUN_S, after_end, after_failed_start, backoff_s
from pvc_gitops.model.guest_states import GuestEvent
from pvc_gitops.model.inventory import Ending
from pvc_gitops.model.recovery import Ha

POLICY = Ha(
    restart=True,
    relocate=True,
    tier=3,
    stays_off=False,
    restarts_max=2,
    relocations_max=1,
    depends_on=(),
    ready=None,
)


def end(policy=POLICY, ending=Ending.ENDED, restarts=0, ran_s=10.0, takes_changes=False):
    return after_end(policy, ending, restarts=restarts, ran_s=ran_s, takes_changes=takes_changes)


def test_the_first_restart_is_at_once_and_each_further_one_waits_longer():
    found = [end(restarts=n) for n in range(2)]
    assert [(each.event, each.wait_s, each.restarts) for each in found] == [
        (GuestEvent.ENDED, 0.0, 1),
        (GuestEvent.ENDED, 2.0, 2),
    ]


def test_one_end_too_many_is_the_last():
    last = end(restarts=2)
    assert (last.event, last.rests, last.restarts) == (GuestEvent.GIVEN_UP, True, 3)


def test_a_good_run_begins_the_count_anew():
    assert end(restarts=2, ran_s=GOOD_RUN_S).restarts == 1
    assert end(restarts=2, ran_s=GOOD_RUN_S - 1).event is GuestEvent.GIVEN_UP


@pytest.mark.parametrize(
    ("policy", "ending", "takes_changes", "event", "rests"),
    [
        (POLICY, Ending.POWERED_OFF, False, GuestEvent.ENDED, False),
        (replace(POLICY, stays_off=True), Ending.POWERED_OFF, False, GuestEvent.RESTED, True),
        # A reboot from inside that brings changes into force looks like a power-off.
        (replace(POLICY, stays_off=True), Ending.POWERED_OFF, True, GuestEvent.ENDED, False),
        (replace(POLICY, stays_off=True), Ending.ENDED, False, GuestEvent.ENDED, False),
        (replace(POLICY, restart=False), Ending.ENDED, False, GuestEvent.GIVEN_UP, True),
        (replace(POLICY, restarts_max=0), Ending.ENDED, False, GuestEvent.GIVEN_UP, True),
    ],
)
def test_what_an_end_leads_to(policy, ending, takes_changes, event, rests):
    found = end(policy, ending, takes_changes=takes_changes)
    assert (found.event, found.rests) == (event, rests)


def test_a_guest_whose_starts_fail_is_tried_now_and_then_after_its_limit():
    """What is missing mostly comes back without anybody's doing."""
    early, late = (after_failed_start(POLICY, "no storage", restarts=n) for n in (0, 2))
    assert (early.event, early.wait_s) == (GuestEvent.NOT_STARTED, 2.0)
    assert (late.event, late.wait_s, late.rests) == (GuestEvent.GIVEN_UP, 60.0, False)
    assert late.why == "start 3 failed: no storage"


def test_back_off_ends_at_a_minute():
    assert [backoff_s(n) for n in (1, 2, 3, 6, 20)] == [2.0, 4.0, 8.0, 60.0, 60.0]
