"""A hold: in force when the record names it; over by the guard's clock, armed before it says so."""

import pytest

from pvc_guard import lease as g

MINE = "boot.100000"


def run(guard, *events):
    actions = ()
    for event in events:
        guard, more = g.step(guard, event)
        actions += more
    return guard, actions


def holding():
    guard, _ = g.begin(
        boot_id="boot",
        timing=g.Timing(lease_s=6.0, heartbeat_s=1.0),
        now_s=100.0,
        is_slice_empty=True,
        saved=None,
    )
    guard, _ = run(guard, g.SliceEmpty(now_s=100.0), g.Tick(now_s=100.0))
    return run(guard, g.Opened(now_s=100.0, incarnation=MINE, sent_at_s=100.0))[0]


def records(actions):
    return [action for action in actions if isinstance(action, g.RecordHold)]


def held(*, left_s=60.0):
    guard, actions = run(
        holding(),
        g.HoldSeen(now_s=101.0, id="hold-1", left_s=left_s),
        g.SlicePopulated(now_s=101.0),
        g.Tick(now_s=101.0),
    )
    (ask,) = records(actions)
    assert ask.id == "hold-1"
    guard, _ = run(guard, answer(ask, now_s=101.1))
    assert guard.held is not None
    return guard


def answer(ask, *, now_s):
    return g.HoldRecorded(
        now_s=now_s, incarnation=ask.incarnation, id=ask.id, asked_at_s=ask.asked_at_s
    )


def test_it_is_not_in_force_before_the_record_names_it():
    guard, actions = run(
        holding(), g.HoldSeen(now_s=101.0, id="hold-1", left_s=60.0), g.Tick(now_s=101.0)
    )
    assert records(actions)
    guard, _ = run(guard, g.SlicePopulated(now_s=106.0))
    assert isinstance(guard.life, g.Killing)


def test_while_it_is_in_force_guests_outlive_the_lease_and_the_watchdog_is_petted():
    guard, actions = run(held(), g.SlicePopulated(now_s=130.0), g.Tick(now_s=130.0))
    assert isinstance(guard.life, g.Holding)
    assert guard.lease is None  # nothing may be started meanwhile
    assert g.PetWatchdog() in actions
    assert not [a for a in actions if isinstance(a, g.KillGuests)]
    guard, _ = run(guard, g.Acknowledged(now_s=131.0, incarnation=MINE, sent_at_s=130.5))
    assert guard.lease.until_s == 136.5


def test_its_end_by_our_own_clock_ends_guests_without_a_lease():
    guard, actions = run(held(left_s=20.0), g.SlicePopulated(now_s=121.0))
    assert isinstance(guard.life, g.Killing)
    assert g.KillGuests(why="the lease ended") in actions


def test_its_end_with_a_lease_kills_nobody_and_is_recorded():
    guard, _ = run(
        held(left_s=20.0), g.Acknowledged(now_s=120.5, incarnation=MINE, sent_at_s=120.0)
    )
    guard, actions = run(guard, g.Tick(now_s=121.0))
    assert guard.held is None
    (ask,) = records(actions)
    assert ask.id == ""
    guard, _ = run(guard, answer(ask, now_s=121.1))
    _, actions = run(guard, g.Tick(now_s=123.0))
    assert records(actions) == []


def test_it_may_be_made_longer_and_shorter_while_it_lasts():
    guard = held(left_s=20.0)
    for left_s in (3600.0, 5.0):
        guard, _ = run(guard, g.HoldSeen(now_s=110.0, id="hold-1", left_s=left_s))
        assert guard.life.lease.hold.until_s == 110.0 + left_s
        assert guard.held is not None


def test_what_the_store_says_has_a_limit():
    guard, _ = run(holding(), g.HoldSeen(now_s=101.0, id="hold-1", left_s=10.0**9))
    assert guard.life.lease.hold.until_s == 101.0 + 4 * 3600


def test_a_hold_that_is_gone_when_the_network_is_back_leaves_time_for_a_heartbeat():
    guard, _ = run(held(), g.HoldSeen(now_s=130.0, id=None, left_s=0.0))
    assert isinstance(guard.life, g.Holding)
    kept, _ = run(guard, g.Acknowledged(now_s=131.0, incarnation=MINE, sent_at_s=130.2))
    assert kept.lease.until_s == 136.2
    guard, _ = run(guard, g.SlicePopulated(now_s=133.0))
    assert isinstance(guard.life, g.Killing)


def test_a_revoked_incarnation_dies_hold_or_not():
    guard, _ = run(held(), g.Revoked(now_s=110.0, incarnation=MINE))
    assert isinstance(guard.life, g.Killing)


def test_only_the_answer_to_the_last_wish_counts():
    guard, actions = run(
        holding(), g.HoldSeen(now_s=101.0, id="hold-1", left_s=60.0), g.Tick(now_s=101.0)
    )
    (first,) = records(actions)
    guard, actions = run(guard, g.HoldSeen(now_s=101.5, id=None, left_s=0.0), g.Tick(now_s=102.0))
    (second,) = records(actions)
    assert second.id == ""
    guard, _ = run(guard, g.HoldSeen(now_s=102.1, id="hold-1", left_s=60.0))
    guard, _ = run(guard, answer(first, now_s=102.2))
    assert guard.held is None


@pytest.mark.parametrize(("now_s", "goes_on"), [(150.0, True), (162.0, False)])
def test_a_restart_goes_on_with_a_hold_and_its_end(now_s, goes_on):
    guard, _ = run(held(), g.SlicePopulated(now_s=120.0))
    kept = g.saved_of_json(g.to_json(guard, None))
    again, actions = g.begin(
        boot_id="boot", timing=guard.timing, now_s=now_s, is_slice_empty=False, saved=kept
    )
    assert isinstance(again.life, g.Holding) is goes_on
    assert bool(actions) is not goes_on


def test_a_broken_hold_is_refused():
    value = g.to_json(held(), None)
    value["saved"]["hold"] = {"id": 7}
    with pytest.raises(ValueError, match="saved hold"):
        g.saved_of_json(value)
