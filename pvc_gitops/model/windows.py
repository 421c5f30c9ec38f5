"""Maintenance windows as declared: rules of wall clock time in one time zone.

A rule is `DAYS [HH:MM-HH:MM]` or `DATES [HH:MM-HH:MM]`: `daily`, `Sun`, `Mon-Fri`, `Sat,Sun`,
`2026-12-24`, `2026-12-20..2027-01-03`. Without hours it is whole days. Hours that end before they begin
(`22:00-04:00`) end on the next day. A window is open in every minute in which a clock on a wall there
shows a time that some `allow` covers and no `deny` does; so an hour that summer time skips is in no
window, and one that comes twice is in it twice.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from pvc_gitops.model.document import Spec
from pvc_gitops.model.values import dataclass

if TYPE_CHECKING:  # imported where there is a window: it takes as long as a hundred guests
    from zoneinfo import ZoneInfo

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")  # as date.weekday() counts
_DAY: Final = f"({'|'.join(DAYS)})"
_DATE: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME: Final = "([01][0-9]|2[0-3]):[0-5][0-9]"
RULE_PATTERN: Final = (
    f"^(daily|{_DAY}(-{_DAY})?(,{_DAY}(-{_DAY})?)*|{_DATE}([.][.]{_DATE})?)"
    f"( {_TIME}-({_TIME}|24:00))?$"
)
ZONE_PATTERN: Final = "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*){0,2}$"
DAY_MINUTES: Final = 24 * 60
_RULE: Final = re.compile(RULE_PATTERN.replace("$", r"\Z"))


class WindowError(ValueError):
    """A rule or zone that cannot be; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Minutes of some days. Exactly one of `weekdays` and `dates` says which days."""

    weekdays: frozenset[int] | None  # 0 is Monday
    dates: tuple[date, date] | None  # first and last
    start: int  # minute of the day
    end: int  # exclusive; not after `start`: of the next day

    def is_on(self, day: date) -> bool:
        """Does it begin on this day?"""
        if self.weekdays is not None:
            return day.weekday() in self.weekdays
        assert self.dates is not None
        return self.dates[0] <= day <= self.dates[1]

    def covers(self, day: date, minute: int) -> bool:
        """Is this minute of this day in it?"""
        if self.start < self.end:
            return self.start <= minute < self.end and self.is_on(day)
        return (minute >= self.start and self.is_on(day)) or (
            minute < self.end and self.is_on(day - timedelta(days=1))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceWindow:
    """When something disruptive may begin. `deny` wins."""

    name: str
    allow: tuple[Rule, ...]
    deny: tuple[Rule, ...]
    zone: ZoneInfo

    @classmethod
    def from_spec(cls, name: str, spec: Spec) -> MaintenanceWindow:
        """Raises WindowError."""
        return cls(
            name=name,
            allow=tuple(rule_of(text) for text in spec["allow"]),
            deny=tuple(rule_of(text) for text in spec["deny"]),
            zone=zone_of(spec["timezone"]),
        )

    def covers(self, day: date, minute: int) -> bool:
        """Is it open while the clock there shows this minute?"""
        return any(rule.covers(day, minute) for rule in self.allow) and not any(
            rule.covers(day, minute) for rule in self.deny
        )


def zone_of(name: str) -> ZoneInfo:
    """A time zone of the tz database. Raises WindowError for one that is not in it."""
    from zoneinfo import ZoneInfo

    if name == "localtime":
        raise WindowError("localtime is another zone on every machine")
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as err:  # unknown; a folder; not a name at all
        raise WindowError(f"there is no time zone {name}") from err


def rule_of(text: str) -> Rule:
    """A rule from its text. Raises WindowError."""
    if _RULE.match(text) is None:
        raise WindowError(f"{text!r} is no rule: write `Sun 02:00-04:00` or `2026-12-24`")
    when, _, hours = text.partition(" ")
    start, end = _hours(hours) if hours else (0, DAY_MINUTES)
    if start == end:
        raise WindowError(f"{hours} begins and ends at once")
    if when[0].isdigit():
        first, _, last = when.partition("..")
        dates = (_date(first), _date(last or first))
        if dates[1] < dates[0]:
            raise WindowError(f"{last} is before {first}")
        return Rule(weekdays=None, dates=dates, start=start, end=end)
    return Rule(weekdays=_weekdays(when), dates=None, start=start, end=end)


def _hours(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return _minute(first), _minute(last)


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as err:
        raise WindowError(f"there is no day {text}") from err


def _weekdays(text: str) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(len(DAYS)))
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        # Sat-Mon goes over the end of the week.
        found |= {(begin + step) % len(DAYS) for step in range((end - begin) % len(DAYS) + 1)}
    return frozenset(found)
