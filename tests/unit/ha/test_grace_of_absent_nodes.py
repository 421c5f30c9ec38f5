"""Who may only be slower to boot is told from who died."""

from pvc_gitops.ha.cold_start import DARK_S, Light, is_cold, is_waited_for
from pvc_gitops.model.ha import Roll

GRACE_S = 120.0


def looked(*moments):
    light = Light()
    for now_s in moments:
        light = light.look(now_s)
    return light


def waits(moved_at_s, light, now_s, *, cold=True):
    return is_waited_for(moved_at_s, light, now_s, grace_s=GRACE_S, is_cold=cold)


def test_the_store_is_dark_only_after_longer_than_an_election():
    assert looked(100.0, 101.0, 105.0) == Light(since_s=100.0, looked_s=105.0, was_dark=False)
    again = looked(100.0, 100.0 + DARK_S + 1)
    assert again == Light(since_s=131.0, looked_s=131.0, was_dark=True)


def test_all_were_off_where_no_boot_stands_in_the_roll():
    roll = Roll(boots={"hv1": "a", "hv2": "b", "hv3": "c"})
    assert is_cold(roll, {"hv1": "d", "hv2": "e"})
    assert not is_cold(roll, {"hv1": "d", "hv2": "b"})
    assert is_cold(None, {"hv1": "a"})


def test_a_node_that_was_not_heard_since_is_waited_for_until_its_time_is_over():
    light = looked(10.0)
    assert waits(None, light, 20.0)
    assert waits(5.0, light, 129.0)  # heard before everything was off
    assert not waits(11.0, light, 20.0)  # heard since: it died
    assert not waits(None, light, 130.0)


def test_where_somebody_stayed_up_nobody_is_waited_for():
    assert not waits(None, looked(10.0), 20.0, cold=False)
    assert waits(None, looked(10.0, 100.0), 110.0, cold=False)  # but after darkness


def test_who_never_saw_the_store_waits_for_nobody():
    assert not waits(None, Light(), 5.0)
