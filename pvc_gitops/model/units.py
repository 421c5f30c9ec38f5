"""Sizes and durations as people write them, and back.

A bare number is refused where a unit belongs: the schema says so with a pattern, and these raise
ValueError on what the pattern would not have let through.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

MIB: Final = 1024 * 1024
SIZE_PATTERN: Final = r"^[1-9][0-9]{0,8}(MiB|GiB|TiB)$"
DURATION_PATTERN: Final = r"^[0-9]{1,9}(ms|s|m|h|d)$"

_MIB_PER_UNIT: Final = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
_MS_PER_UNIT: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE: Final = re.compile(SIZE_PATTERN)
_DURATION: Final = re.compile(DURATION_PATTERN)


@lru_cache(maxsize=4096)  # a cluster has a handful of sizes, asked for thousands of times
def size_mib(text: str) -> int:
    """`20GiB` is 20480. Raises ValueError."""
    if not _SIZE.match(text):
        raise ValueError(f"{text!r} is not a size such as 512MiB, 20GiB or 1TiB")
    return int(text[:-3]) * _MIB_PER_UNIT[text[-3:]]


def size_text(mib: int) -> str:
    """20480 is `20GiB`: the largest unit that divides it."""
    for unit in ("TiB", "GiB"):
        if mib and mib % _MIB_PER_UNIT[unit] == 0:
            return f"{mib // _MIB_PER_UNIT[unit]}{unit}"
    return f"{mib}MiB"


@lru_cache(maxsize=4096)
def duration_ms(text: str) -> int:
    """`300ms` is 300, `7d` is 604800000. Raises ValueError."""
    if not _DURATION.match(text):
        raise ValueError(f"{text!r} is not a duration such as 300ms, 30s, 12h or 7d")
    digits = text.rstrip("msdh")
    return int(digits) * _MS_PER_UNIT[text[len(digits) :]]


def duration_s(text: str) -> float:
    """`300ms` is 0.3."""
    return duration_ms(text) / 1000


def duration_text(ms: int) -> str:
    """180000 is `3m`: the largest unit that divides it."""
    for unit in ("d", "h", "m", "s"):
        if ms % _MS_PER_UNIT[unit] == 0:
            return f"{ms // _MS_PER_UNIT[unit]}{unit}" if ms else "0s"
    return f"{ms}ms"
