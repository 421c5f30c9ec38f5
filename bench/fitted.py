"""How a time grows: the exponent of a power through measured points, by least squares in logarithms."""

from __future__ import annotations

from collections.abc import Sequence
from math import log


def exponent(sizes: Sequence[int], times_s: Sequence[float]) -> float:
    """1 is linear, 2 quadratic."""
    xs = [log(size) for size in sizes]
    ys = [log(max(time_s, 1e-6)) for time_s in times_s]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    over = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return over / sum((x - mean_x) ** 2 for x in xs)
