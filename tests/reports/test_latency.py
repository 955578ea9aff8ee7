"""Percentiles of merged histograms are at most one class above the true ones."""

from __future__ import annotations

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from kaixu.reports.latency import BOUNDS_MS, CLASSES, latency_class, percentile_ms

DURATIONS = st.lists(st.integers(0, BOUNDS_MS[-1]), min_size=1, max_size=60)


def histogram(durations: list[int]) -> list[int]:
    """Durations by class."""
    counts = [0] * CLASSES
    for ms in durations:
        counts[latency_class(ms)] += 1
    return counts


@given(DURATIONS, st.integers(1, 100))
def test_a_percentile_is_the_bound_of_its_class(durations: list[int], percent: int) -> None:
    rank = -(-percent * len(durations) // 100)
    true = sorted(durations)[rank - 1]
    told = percentile_ms(histogram(durations), percent)
    assert told == BOUNDS_MS[latency_class(true)]
    assert told >= true


def test_no_calls_have_no_percentile_and_endless_ones_the_last_bound() -> None:
    assert percentile_ms([0] * CLASSES, 50) is None
    assert percentile_ms(None, 50) is None
    assert percentile_ms(histogram([10**9]), 99) == BOUNDS_MS[-1]


async def test_the_database_has_the_same_classes(pool: asyncpg.Pool) -> None:
    durations = sorted({0, 10**9, *(bound + step for bound in BOUNDS_MS for step in (-1, 0, 1))})
    classes = await pool.fetch("select kaixu.latency_class(p_ms => d) from unnest($1::integer[]) d", durations)
    assert [row[0] for row in classes] == [latency_class(ms) for ms in durations]
