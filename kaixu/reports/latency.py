"""Latencies as histograms that can be merged: class k holds calls of at most 10 ms * 2^(k/2); see latency_class.sql."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

CLASSES = 32

#: The longest duration of each class but the last, which holds all above: 10 ms * 2^(k/2), in whole milliseconds.
BOUNDS_MS = tuple(isqrt(100 * 2**k) for k in range(CLASSES - 1))


def latency_class(ms: int) -> int:
    """The class of a duration."""
    return next((k for k, bound in enumerate(BOUNDS_MS) if ms <= bound), CLASSES - 1)


def percentile_ms(histogram: Sequence[int] | None, percent: int) -> int | None:
    """A duration that `percent` of the calls did not exceed; None without calls.

    It is the bound of a class: at most 41 % above the true value. For calls above the last bound it is that bound.
    """
    counts = [max(0, count) for count in histogram or ()]
    total = sum(counts)
    if total == 0:
        return None
    seen = 0
    for k, count in enumerate(counts):
        seen += count
        if 100 * seen >= percent * total:
            return BOUNDS_MS[min(k, CLASSES - 2)]
    raise AssertionError("the classes hold all calls")
