"""Calls that never return cost a limited time and a limited number of threads."""

import threading
import time

import pytest

from pvc_gitops.adapters.bounded import STUCK_MAX, Bounded, TimeLimitError


def test_value_and_error_come_through():
    bounded = Bounded("lib")
    assert bounded.call(lambda: 7, 1) == 7
    with pytest.raises(KeyError):
        bounded.call(lambda: {}["x"], 1)


def test_what_hangs_is_left_behind_and_counted():
    bounded, release = Bounded("lib"), threading.Event()
    started = time.monotonic()
    for _ in range(STUCK_MAX):
        with pytest.raises(TimeLimitError, match=r"within 0\.01 s"):
            bounded.call(lambda: release.wait(30), 0.01)
    with pytest.raises(TimeLimitError, match="hangs"):
        bounded.call(lambda: 7, 1)
    assert time.monotonic() - started < 5
    release.set()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            assert bounded.call(lambda: 7, 1) == 7
        except TimeLimitError:
            time.sleep(0.01)  # the threads are just ending
        else:
            return
    pytest.fail("it never recovered")
