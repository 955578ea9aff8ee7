"""The periods of the overview, and their sums from days, quarters and waiting changes, in any zone."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from kaixu.reports.overview_figures import Period, Periods, figures_of, periods_at, read_parts
from kaixu.reports.snapshot import report_snapshot
from kaixu.reports.time_range import Clock, read_clock
from kaixu.store.rollups import fold_usage

QUARTER = timedelta(minutes=15)


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def period(since: str, until: str) -> Period:
    """A period."""
    return Period(at(since), at(until))


@pytest.mark.parametrize(
    ("now", "zone", "periods"),
    [
        (
            "2026-11-17T10:07",
            "UTC",
            Periods(
                period("2026-11-17", "2026-11-17T10:15"), period("2026-11-16", "2026-11-16T10:15"),
                period("2026-11-01", "2026-11-17T10:15"), period("2026-10-01", "2026-10-17T10:15"),
            ),
        ),
        (  # the last day of a month that is longer than the one before: that one is compared as a whole
            "2026-03-31T12:00",
            "UTC",
            Periods(
                period("2026-03-31", "2026-03-31T12:00"), period("2026-03-30", "2026-03-30T12:00"),
                period("2026-03-01", "2026-03-31T12:00"), period("2026-02-01", "2026-03-01"),
            ),
        ),
        (  # a new month in UTC, and the day before in the reporting zone
            "2026-11-01T02:20",
            "America/New_York",
            Periods(
                period("2026-10-31T04:00", "2026-11-01T02:30"), period("2026-10-30T04:00", "2026-10-31T02:30"),
                period("2026-11-01", "2026-11-01T02:30"), period("2026-10-01", "2026-10-01T02:30"),
            ),
        ),
        (  # the day after the clocks went back: the same time of the clock is compared
            "2026-10-26T09:00",
            "Europe/Berlin",
            Periods(
                period("2026-10-25T23:00", "2026-10-26T09:00"), period("2026-10-24T22:00", "2026-10-25T09:00"),
                period("2026-10-01", "2026-10-26T09:00"), period("2026-09-01", "2026-09-26T09:00"),
            ),
        ),
        (  # the last quarter of a day
            "2026-01-01T23:59",
            "UTC",
            Periods(
                period("2026-01-01", "2026-01-02"), period("2025-12-31", "2026-01-01"),
                period("2026-01-01", "2026-01-02"), period("2025-12-01", "2025-12-02"),
            ),
        ),
    ],
    ids=["a day", "a longer month", "month and day differ", "clocks go back", "end of a day"],
)  # fmt: skip
def test_today_and_the_month_are_compared_with_as_much_time_before(now: str, zone: str, periods: Periods) -> None:
    assert periods_at(Clock(at(now), zone)) == periods


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Auckland"])
async def test_periods_are_exact_in_every_zone_folded_or_not(pool: asyncpg.Pool, zone: str) -> None:
    """Against the sum of the changes themselves, for periods that begin and end at any quarter."""
    draw = random.Random(zone)
    first, quarters = at("2026-09-20"), 60 * 96
    spent: dict[int, int] = {}
    for number in range(0, quarters, 7):
        spent[number] = draw.randrange(1, 10**9)
    await pool.execute("select kaixu.set_reporting_zone(p_zone => $1)", zone)
    await pool.execute(
        """
        insert into kaixu.usage_change (bucket, customer_id, chain_id, provider, model, book, calls, errors, input_tokens,
                                        output_tokens, cached_input_tokens, cache_write_tokens, reasoning_tokens,
                                        spent_nusd, vendor_cost_nusd, uncosted_nusd, latency_class)
        select x.bucket, 1 + x.spent % 3, 1, 'up', 'm' || x.spent % 2, 'ai', 1, 0, 1, 1, 0, 0, 0, x.spent, 0, 0, 5
          from unnest($1::timestamptz[], $2::bigint[]) x (bucket, spent)
        """,
        [first + number * QUARTER for number in spent],
        list(spent.values()),
    )
    bounds = [sorted(draw.sample(range(quarters), 2)) for _ in range(40)]
    bounds += [[start, start + length] for start in (0, 1, 50, 95, 96) for length in (1, 3, 96, 97)]
    periods = [Period(first + since * QUARTER, first + until * QUARTER) for since, until in bounds]
    expected = [
        [value for number, value in spent.items() if since <= number < until]
        for since, until in bounds
    ]  # fmt: skip

    async def figures() -> list[tuple[int, int]]:
        async with report_snapshot(pool) as connection:
            parts = await read_parts(connection, periods)
        return [(one.calls, one.spent_nusd) for one in map(figures_of, parts)]

    sums = [(len(values), sum(values)) for values in expected]
    assert await figures() == sums
    await fold_usage(pool, most=300)
    assert await figures() == sums
    while await fold_usage(pool, most=5000):
        pass
    assert await figures() == sums


async def test_periods_of_the_database_clock_end_with_the_running_quarter(pool: asyncpg.Pool) -> None:
    async with report_snapshot(pool) as connection:
        clock = await read_clock(connection)
    periods = periods_at(clock)
    assert timedelta(0) <= periods.today.until - clock.now < QUARTER
    assert periods.month.until == periods.today.until
