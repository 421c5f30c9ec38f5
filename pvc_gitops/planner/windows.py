"""When maintenance windows are open, when they open next, and how many openings were missed. Pure.

What a window says is in `model/windows.py`; here is the way from wall clocks to instants. Instants are
seconds since 1970, in whole minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final

from pvc_gitops.model.document import Document, Kind, Spec
from pvc_gitops.model.ids import address
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.values import dataclass
from pvc_gitops.model.windows import DAY_MINUTES, MaintenanceWindow

MINUTE_S: Final = 60
# A window that stays shut for longer than a year and a bit has no next opening worth waiting for.
HORIZON_DAYS: Final = 400
MISSED_MAX: Final = 2  # openings that pass before somebody should look
_CHUNK_DAYS: Final = 8  # a weekly window changes at least once in so many

Windows = tuple[MaintenanceWindow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Whether something disruptive may begin now, and else when. `window` is "" where none is asked."""

    is_open: bool
    window: str  # the one that is open, or the next to open
    at_s: int | None  # when it opens; None: it is open, or stays shut
    text: str  # `window db-night: opens Sun 29 Nov 02:00 CET`


ALWAYS: Final = Opening(is_open=True, window="", at_s=None, text="")


def opening(windows: Windows, now_s: int) -> Opening:
    """Of several windows, any one is enough; of none, nothing is asked."""
    if not windows:
        return ALWAYS
    for window in windows:
        if is_open((window,), now_s):
            text = f"window {window.name} is open"
            return Opening(is_open=True, window=window.name, at_s=None, text=text)
    found = [(at_s, w.name, w) for w in windows if (at_s := next_change_s((w,), now_s)) is not None]
    if not found:
        names = ", ".join(window.name for window in windows)
        text = f"window {names}: does not open within {HORIZON_DAYS} days"
        return Opening(is_open=False, window=windows[0].name, at_s=None, text=text)
    at_s, name, first = min(found, key=lambda each: each[:2])
    when = datetime.fromtimestamp(at_s, first.zone).strftime("%a %d %b %H:%M %Z")
    return Opening(is_open=False, window=name, at_s=at_s, text=f"window {name}: opens {when}")


def is_open(windows: Windows, at_s: int) -> bool:
    """Is any of them open at this instant?"""
    for window in windows:
        wall = datetime.fromtimestamp(at_s, window.zone)
        if window.covers(wall.date(), wall.hour * 60 + wall.minute):
            return True
    return False


def next_change_s(windows: Windows, after_s: int) -> int | None:
    """The first minute after `after_s` in which they are open and were not, or the other way round."""
    was = is_open(windows, after_s)
    return next((at for at in _moments(windows, after_s) if is_open(windows, at) != was), None)


def missed(windows: Windows, since_s: int, now_s: int) -> int:
    """Openings that ended between the two instants, counted no further than MISSED_MAX."""
    count, at_s = 0, since_s
    while count < MISSED_MAX:
        change_s = next_change_s(windows, at_s)
        if change_s is None or change_s > now_s:
            break
        count += not is_open(windows, change_s)
        at_s = change_s
    return count


def named(spec: ClusterSpec, names: Iterable[str]) -> Windows:
    """Windows by name, in this order."""
    return tuple(_window(name, doc.spec) for name in names if (doc := _document(spec, name)))


def open_now(inventory: Inventory) -> frozenset[str]:
    """The names of all windows in force that are open. Where this changes, another plan is due."""
    return frozenset(w.name for w in _in_force(inventory) if is_open((w,), inventory.now_s))


def next_moment_s(inventory: Inventory) -> int | None:
    """When the next of the windows in force opens or closes; None where none does."""
    changes = (next_change_s((window,), inventory.now_s) for window in _in_force(inventory))
    return min((at_s for at_s in changes if at_s is not None), default=None)


def _in_force(inventory: Inventory) -> Windows:
    prefix = f"{Kind.WINDOW}/"
    records = (record for of, record in inventory.applied.items() if of.startswith(prefix))
    return tuple(_window(record.name, record.spec) for record in records)


def _document(spec: ClusterSpec, name: str) -> Document | None:
    return spec.documents.get(address(Kind.WINDOW, name))


def _window(name: str, spec: Spec) -> MaintenanceWindow:
    return _parsed(name, tuple(spec["allow"]), tuple(spec["deny"]), spec["timezone"])


@lru_cache(maxsize=256)
def _parsed(
    name: str, allow: tuple[str, ...], deny: tuple[str, ...], timezone: str
) -> MaintenanceWindow:
    return MaintenanceWindow.from_spec(name, {"allow": allow, "deny": deny, "timezone": timezone})


# --- from walls to instants ------------------------------------------------------------------------


def _moments(windows: Windows, after_s: int) -> Iterator[int]:
    """Instants after `after_s`, rising, at which one of them may open or close; some at which none
    does. A few days at a time, since the next one is nearly always near."""
    begin = datetime.fromtimestamp(after_s, windows[0].zone).date()
    last_s = after_s
    for first in range(0, HORIZON_DAYS, _CHUNK_DAYS):
        # One day more on each side: days begin at other instants in other zones.
        days = [begin + timedelta(days=n) for n in range(first - 2, first + _CHUNK_DAYS + 2)]
        end = begin + timedelta(days=first + _CHUNK_DAYS)
        limit_s = int(datetime(end.year, end.month, end.day, tzinfo=windows[0].zone).timestamp())
        found = {at for window in windows for day in days for at in _moments_of(window, day)}
        yield from sorted(at for at in found if last_s < at <= limit_s)
        last_s = max(last_s, limit_s)


def _moments_of(window: MaintenanceWindow, day: date) -> Iterator[int]:
    midnight = datetime(day.year, day.month, day.day, tzinfo=window.zone)
    for minute in {0} | {
        m for rule in (*window.allow, *window.deny) for m in (rule.start, rule.end)
    }:
        if minute < DAY_MINUTES:
            wall = midnight.replace(hour=minute // 60, minute=minute % 60)
            # A time that comes twice is two instants. One that is skipped gives two that mean nothing.
            yield int(wall.timestamp())
            yield int(wall.replace(fold=1).timestamp())
    turn_s = _turn_s(midnight)
    if turn_s is not None:
        yield turn_s


def _turn_s(midnight: datetime) -> int | None:
    """When the clocks are changed on the day that begins here, if they are."""
    low = int(midnight.timestamp()) // MINUTE_S
    high = int((midnight + timedelta(days=1)).timestamp()) // MINUTE_S
    zone = midnight.tzinfo

    def offset(minute: int) -> timedelta | None:
        return datetime.fromtimestamp(minute * MINUTE_S, zone).utcoffset()

    before = offset(low)
    if offset(high) == before:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(middle) == before else (low, middle)
    return high * MINUTE_S
