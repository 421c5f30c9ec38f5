"""Maintenance windows: what is open when, over midnight and through changed clocks."""

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvc_gitops.model.windows import MaintenanceWindow, WindowError, rule_of, zone_of
from pvc_gitops.planner.windows import is_open, missed, next_change_s, opening

BERLIN = "Europe/Berlin"


def window(*allow, deny=(), zone=BERLIN, name="night"):
    return MaintenanceWindow.from_spec(name, {"allow": allow, "deny": deny, "timezone": zone})


def at(text, zone=BERLIN, fold=0):
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp())


def shown(instant, zone=BERLIN):
    return datetime.fromtimestamp(instant, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M %Z")


def changes(of, start, count):
    found = []
    for _ in range(count):
        start = next_change_s((of,), start)
        found.append(shown(start, of.zone.key))
    return found


def test_a_weekly_window_opens_and_closes_on_its_day():
    night = window("Sun 02:00-04:00")
    assert not is_open((night,), at("2026-11-29 01:59"))
    assert is_open((night,), at("2026-11-29 02:00"))
    assert is_open((night,), at("2026-11-29 03:59"))
    assert not is_open((night,), at("2026-11-29 04:00"))
    assert changes(night, at("2026-11-23 14:05"), 3) == [
        "2026-11-29 02:00 CET",
        "2026-11-29 04:00 CET",
        "2026-12-06 02:00 CET",
    ]


def test_hours_that_end_before_they_begin_end_on_the_next_day():
    night = window("Sat 22:00-04:00")
    assert is_open((night,), at("2026-11-29 03:59"))  # a Sunday
    assert not is_open((night,), at("2026-11-28 03:59"))
    assert not is_open((night,), at("2026-11-29 22:30"))


def test_days_run_over_the_end_of_the_week():
    assert rule_of("Sat-Mon").weekdays == {5, 6, 0}
    assert rule_of("daily 01:00-02:00").weekdays == set(range(7))
    assert rule_of("Mon,Wed-Fri 01:00-24:00").weekdays == {0, 2, 3, 4}


def test_deny_wins():
    night = window("Sun 02:00-04:00", deny=("2026-12-20..2027-01-03",))
    assert is_open((night,), at("2026-12-13 03:00"))
    assert not is_open((night,), at("2026-12-20 03:00"))
    assert changes(night, at("2026-12-13 05:00"), 1) == ["2027-01-10 02:00 CET"]


def test_a_denied_hour_cuts_a_window_in_two():
    night = window("Sun 02:00-06:00", deny=("daily 03:00-04:00",))
    assert changes(night, at("2026-11-28 12:00"), 4) == [
        "2026-11-29 02:00 CET",
        "2026-11-29 03:00 CET",
        "2026-11-29 04:00 CET",
        "2026-11-29 06:00 CET",
    ]


def test_a_window_that_begins_in_a_skipped_hour_opens_with_the_next_minute_that_exists():
    # On 29 March 2026 the clock there goes from 01:59 to 03:00.
    night = window("Sun 02:30-04:00")
    assert changes(night, at("2026-03-28 12:00"), 2) == [
        "2026-03-29 03:00 CEST",
        "2026-03-29 04:00 CEST",
    ]


def test_a_window_within_a_skipped_hour_does_not_open_that_night():
    night = window("Sun 02:00-03:00")
    assert changes(night, at("2026-03-28 12:00"), 1) == ["2026-04-05 02:00 CEST"]


def test_an_hour_that_comes_twice_is_open_twice():
    # On 25 October 2026 the clock there goes from 02:59 back to 02:00.
    night = window("Sun 02:30-03:00")
    assert changes(night, at("2026-10-24 12:00"), 4) == [
        "2026-10-25 02:30 CEST",
        "2026-10-25 02:00 CET",
        "2026-10-25 02:30 CET",
        "2026-10-25 03:00 CET",
    ]


def test_clocks_that_are_changed_at_midnight():
    # In Havana midnight itself was skipped on 10 March 2024 and came twice on 3 November: years that
    # no later release of the time zones tells otherwise.
    zone = "America/Havana"
    night = window("Sun 00:00-02:00", zone=zone)
    assert changes(night, at("2024-03-09 12:00", zone), 2) == [
        "2024-03-10 01:00 CDT",
        "2024-03-10 02:00 CDT",
    ]
    start = at("2024-11-03 00:00", zone)
    assert next_change_s((night,), start) - start == 3 * 3600


def test_of_several_windows_any_one_is_enough_and_the_next_is_named():
    first, second = window("Sun 02:00-04:00"), window("Wed 20:00-21:00", name="evening")
    closed = opening((first, second), at("2026-11-23 14:05"))
    assert (closed.is_open, closed.window) == (False, "evening")
    assert closed.text == "window evening: opens Wed 25 Nov 20:00 CET"
    assert closed.at_s == at("2026-11-25 20:00")
    assert opening((first, second), at("2026-11-29 02:00")).window == "night"
    assert opening((), 0).is_open


def test_a_window_that_never_opens_says_so():
    shut = opening((window("2020-01-01"),), at("2026-11-23 14:05"))
    assert (shut.is_open, shut.at_s) == (False, None)
    assert "does not open within 400 days" in shut.text


def test_missed_openings_are_counted_by_their_ends():
    night = (window("Sun 02:00-04:00"),)
    since = at("2026-11-23 14:05")
    assert missed(night, since, at("2026-11-29 03:00")) == 0
    assert missed(night, since, at("2026-11-29 04:00")) == 1
    assert missed(night, since, at("2026-12-06 04:00")) == 2
    assert missed(night, since, at("2027-11-06 04:00")) == 2  # no further


@pytest.mark.parametrize(
    "text",
    ["", "Sun 2:00-04:00", "Sun 02:00-02:00", "2026-02-30", "2026-02-02..2026-02-01",
     "Sun 02:00-24:01", "sunday", "Sun  02:00-04:00", "24:00-02:00"],
)  # fmt: skip
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(WindowError):
        rule_of(text)


@pytest.mark.parametrize(
    "name", ["Europe/Berlon", "Europe", "localtime", "../etc/passwd", "x" * 60]
)
def test_what_is_no_zone_is_refused(name):
    with pytest.raises(WindowError):
        zone_of(name)


# --- against a clock that is read minute by minute ---------------------------------------------------

ZONES = (BERLIN, "UTC", "America/New_York", "America/Havana", "Australia/Lord_Howe",
         "Africa/Casablanca", "Asia/Kathmandu", "Pacific/Apia")  # fmt: skip
WORDS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# Around changed clocks of these zones, and on any day.
MOMENTS = [
    at("2026-03-29 00:00"), at("2026-10-25 00:00"), at("2026-03-08 00:00", "America/Havana"),
    at("2026-11-01 00:00", "America/Havana"), at("2026-04-05 00:00", "Australia/Lord_Howe"),
    at("2026-10-04 00:00", "Australia/Lord_Howe"), at("2026-02-15 00:00", "Africa/Casablanca"),
    at("2026-03-08 00:00", "America/New_York"), at("2026-12-31 22:00"),
]  # fmt: skip

hours = st.tuples(st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))
dates = st.dates(min_value=datetime(2026, 2, 1).date(), max_value=datetime(2027, 1, 2).date())  # noqa: DTZ001


@st.composite
def rules(draw):
    match draw(st.integers(0, 3)):
        case 0:
            when = "daily"
        case 1:
            when = ",".join(draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3)))
        case 2:
            when = draw(dates).isoformat()
        case _:
            first, last = sorted((draw(dates), draw(dates)))
            when = f"{first}..{last}"
    if draw(st.booleans()):
        return when
    start, end = draw(hours), draw(hours)
    if start == end:
        return when
    return f"{when} {start[0]:02}:{start[1]:02}-{end[0]:02}:{end[1]:02}"


def reads_as_open(allow, deny, zone, instant):
    """The rule word by word, as a person with a wall clock and a calendar would."""

    def is_in(rule, wall):
        when, _, span = rule.partition(" ")
        start, end = span.split("-") if span else ("00:00", "24:00")
        clock = wall.strftime("%H:%M")
        today = wall.date()
        yesterday = datetime.fromordinal(today.toordinal() - 1).date()

        def named(day):
            if when == "daily":
                return True
            if when[0].isdigit():
                first, _, last = when.partition("..")
                return first <= day.isoformat() <= (last or first)
            return day.strftime("%a") in when.split(",")

        if start < end:
            return named(today) and start <= clock < end
        return (named(today) and clock >= start) or (named(yesterday) and clock < end)

    wall = datetime.fromtimestamp(instant, ZoneInfo(zone))
    return any(is_in(r, wall) for r in allow) and not any(is_in(r, wall) for r in deny)


@settings(max_examples=120, deadline=None)
@given(
    allow=st.lists(rules(), min_size=1, max_size=2),
    deny=st.lists(rules(), max_size=2),
    zone=st.sampled_from(ZONES),
    start=st.sampled_from(MOMENTS),
    shift=st.integers(-24 * 60, 24 * 60),
)
def test_the_next_change_is_what_a_clock_read_minute_by_minute_shows(
    allow, deny, zone, start, shift
):
    of = (window(*allow, deny=deny, zone=zone),)
    begin = start + shift * 60
    minutes = [begin + 60 * n for n in range(36 * 60)]
    read = [reads_as_open(allow, deny, zone, each) for each in minutes]
    assert [is_open(of, each) for each in minutes[::7]] == read[::7]
    turned = next((m for m, now in zip(minutes, read, strict=True) if now != read[0]), None)
    change = next_change_s(of, begin)
    if turned is None:
        assert change is None or change > minutes[-1]
    else:
        assert change == turned
    ends = sum(was and not now for was, now in pairwise(read))
    assert missed(of, begin, minutes[-1]) == min(ends, 2)
