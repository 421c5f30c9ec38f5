"""What each of the two nodes of a guest on its way may do next."""

from __future__ import annotations

import pytest

from pvc_gitops.ha.migration import (
    DOUBT_S,
    Arriving,
    AskDown,
    CallOff,
    End,
    GiveUp,
    GoOn,
    HandOver,
    Leaving,
    Lost,
    Rest,
    Runs,
    Send,
    Transfer,
    arrive,
    attend,
    leave,
)
from pvc_gitops.model.inventory import GuestState
from pvc_gitops.model.plan import MoveMethod

RUNNING, PAUSED = GuestState.RUNNING, GuestState.PAUSED


def leaving(**changes):
    of = {
        "now_s": 100.0,
        "state": RUNNING,
        "method": MoveMethod.LIVE,
        "is_wanted": True,
        "transfer": Transfer.NONE,
        "error": "",
        "is_destination_over": False,
        "stop_asked_at_s": None,
        "asked_again_at_s": None,
        "stop_timeout_s": 60.0,
        "doubt_since_s": None,
    }
    return leave(Leaving(**{**of, **changes}))


def arriving(state, *, has_all=True, doubt_since_s=None):
    return arrive(Arriving(now_s=100.0, state=state, has_all=has_all, doubt_since_s=doubt_since_s))


def test_only_a_transfer_that_was_seen_to_end_well_gives_a_whole_guest_away():
    assert leaving(state=None, transfer=Transfer.DONE) == HandOver(is_whole=True)
    for transfer in (Transfer.NONE, Transfer.FAILED):
        assert leaving(state=None, transfer=transfer) == HandOver(is_whole=False)


@pytest.mark.parametrize("transfer", [Transfer.FAILED, Transfer.DONE, Transfer.NONE])
@pytest.mark.parametrize("is_over", [True, False])
def test_what_runs_here_is_never_given_away(transfer, is_over):
    act = leaving(transfer=transfer, is_destination_over=is_over, error="lost")
    assert not isinstance(act, HandOver)


def test_nothing_is_given_to_a_node_whose_life_is_over():
    act = leaving(state=None, transfer=Transfer.DONE, is_destination_over=True)
    assert isinstance(act, CallOff)


def test_the_way_of_a_running_guest():
    assert leaving() == Send()
    assert isinstance(leaving(transfer=Transfer.UNDER_WAY), Rest)
    assert leaving(transfer=Transfer.FAILED, error="no route") == CallOff(why="no route")


def test_by_a_restart_it_is_asked_then_ended_then_given_away():
    by_restart = MoveMethod.SHUTDOWN
    assert leaving(method=by_restart) == AskDown()
    asked = {"method": by_restart, "stop_asked_at_s": 50.0, "asked_again_at_s": 95.0}
    assert leaving(**asked) == Rest(until_s=105.0)
    assert leaving(**asked, state=GuestState.STOPPING) == Rest(until_s=110.0)
    assert isinstance(leaving(method=by_restart, stop_asked_at_s=40.0), End)
    assert leaving(state=None, method=by_restart) == HandOver(is_whole=False)


def test_who_was_asked_to_power_off_and_still_runs_is_asked_again_within_its_time():
    """One that was only booting has not heard it."""
    asked = {"method": MoveMethod.SHUTDOWN, "stop_asked_at_s": 90.0}
    assert leaving(**asked) == AskDown()
    assert leaving(**asked, asked_again_at_s=99.0) == Rest(until_s=109.0)
    assert leaving(**asked, asked_again_at_s=90.0) == AskDown()
    assert leaving(**asked, state=GuestState.STOPPING) == Rest(until_s=150.0)
    assert isinstance(leaving(**asked | {"now_s": 150.0}), End)


def test_a_guest_that_is_not_to_run_is_not_sent_alive():
    assert leaving(is_wanted=False) == AskDown()


def test_a_half_that_neither_runs_nor_ends_is_ended_after_a_while():
    assert leaving(state=PAUSED) == Rest(until_s=101.0, is_in_doubt=True)
    assert isinstance(leaving(state=PAUSED, doubt_since_s=100.0 - DOUBT_S), End)


def test_the_new_owner_lets_go_on_only_what_is_whole():
    assert arriving(PAUSED) == GoOn()
    assert isinstance(arriving(PAUSED, has_all=False), Rest)
    assert isinstance(arriving(PAUSED, has_all=False, doubt_since_s=100.0 - DOUBT_S), End)
    assert arriving(RUNNING) == Runs()
    assert isinstance(arriving(None), Lost)


def test_the_destination_gives_up_only_when_the_source_is_proven_dead_and_its_half_is_gone():
    assert isinstance(attend(is_source_dead=False, has_domain=True), Rest)
    assert isinstance(attend(is_source_dead=True, has_domain=True), End)
    assert attend(is_source_dead=True, has_domain=False) == GiveUp()
