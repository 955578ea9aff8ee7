"""Demo data: made month by month, so that it may be interrupted and continued; removed exactly.

Never beside real customers, unless the operator insists.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from kaixu.plugin.errors import Conflict, NotFound, Unprocessable
from kaixu.store import demo as store
from kaixu.store.demo import LOCK, MONTHS, Demo
from kaixu.store.demo_events import seed_events, seed_monitor, seed_refusals
from kaixu.store.demo_figures import raise_caps, seed_figures
from kaixu.store.demo_removal import count_invoices, remove_demo
from kaixu.store.exclusive import exclusively
from kaixu.store.partitions import make_partition, month_after
from kaixu.store.pool import database

__all__ = ["Demo", "seed_demo", "unseed_demo"]

MAX_CUSTOMERS = 1_000_000
MAX_EVENTS = 100_000_000

Progress = Callable[[str], None]


@asynccontextmanager
async def one_at_a_time(pool: asyncpg.Pool) -> AsyncIterator[PoolConnectionProxy]:
    """A connection that is the only one to change the demo data. Raises `Conflict`."""
    with database():
        async with exclusively(pool, LOCK) as is_alone, pool.acquire() as connection:
            if not is_alone:
                raise Conflict("another command makes or removes demo data", hint="Wait until it has ended.")
            yield connection


@asynccontextmanager
async def large_transaction(connection: PoolConnectionProxy) -> AsyncIterator[None]:
    """A transaction with memory to sort many rows in."""
    async with connection.transaction():
        await connection.execute("set local work_mem = '256MB'")
        yield


async def seed_demo(
    pool: asyncpg.Pool, *, customers: int, events: int, seed: int, force: bool, progress: Progress
) -> Demo:
    """Make demo data, or continue where it was interrupted. Raises `Conflict`, `Unprocessable`."""
    for name, value, most in (("customers", customers, MAX_CUSTOMERS), ("events", events, MAX_EVENTS)):
        if not 1 <= value <= most:
            raise Unprocessable(f"`{name}` must lie between 1 and {most}", field=name)
    if not 0 <= seed < 2**31:
        raise Unprocessable("`seed` must lie between 0 and 2147483647", field="seed")
    async with one_at_a_time(pool) as connection:
        demo = await store.find_demo(connection)
        if demo is not None and (demo.seed, demo.customers, demo.events) != (seed, customers, events):
            raise Conflict(
                f"there is demo data already: {demo.customers} customers, {demo.events} events, seed {demo.seed}",
                hint="Run it with the same numbers to continue, or with --remove first.",
            )
        if not force and (real := await store.count_real_customers(connection, demo)):
            raise Conflict(
                f"this database has {'1000 or more' if real == 1000 else real} customers that are not of the demo",
                hint="Use another database, or --force.",
            )
        if demo is None:
            until = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
            async with connection.transaction():
                demo = await store.begin_demo(connection, seed=seed, customers=customers, events=events, until=until)
        if demo.is_complete:
            return demo
        await make_months(connection, demo, progress)
        async with large_transaction(connection):
            await seed_monitor(connection, demo)
            await raise_caps(connection, demo)
            await connection.execute("update kaixu.demo set is_complete = true")
        for table in ("customer", "virtual_key", "customer_month", "key_month", "usage_event", "usage_series",
                      "usage_quarter", "usage_day", "app_month", "end_user_month", "gateway_event"):  # fmt: skip
            await connection.execute(f"analyze kaixu.{table}")
        return demo


async def make_months(connection: PoolConnectionProxy, demo: Demo, progress: Progress) -> None:
    """Customers first, then a transaction for each month that is missing."""
    months = history(demo.until)
    if not demo.months_done:
        async with large_transaction(connection):
            if not await connection.fetchval(
                "select exists (select from kaixu.customer where id = $1)", demo.first_customer
            ):
                await store.seed_accounts(connection, demo, start_of(months[0]))
        progress(f"{demo.customers} customers")
    firsts = first_numbers(demo.events, months, demo.until)
    for at, month in enumerate(months):
        if month in demo.months_done:
            continue
        following = month_after(month)
        await make_partition(connection, f"usage_event_{month:%Y_%m}", month, following)
        first, last = firsts[at], firsts[at + 1] - 1
        start, end = start_of(month), min(start_of(following), demo.until)
        async with large_transaction(connection):
            await store.seed_topups(connection, demo, month, at)
            if first <= last:
                await seed_events(connection, demo, month=month, at=at, first=first, last=last, start=start, end=end)
                await seed_refusals(connection, demo, at=at, first=first, last=last, start=start, end=end)
            await connection.execute(f"analyze kaixu.usage_event_{month:%Y_%m}")
            await seed_figures(connection, demo, month)
            await connection.execute("update kaixu.demo set months_done = months_done || $1::date", month)
        progress(f"{month:%Y-%m}: {last - first + 1} calls")


def history(until: datetime) -> list[date]:
    """The months, oldest first; the last one is that of `until`."""
    months = [until.date().replace(day=1)]
    while len(months) < MONTHS:
        months.insert(0, (months[0] - timedelta(days=1)).replace(day=1))
    return months


def start_of(month: date) -> datetime:
    """The moment a month begins."""
    return datetime(month.year, month.month, 1, tzinfo=UTC)


def first_numbers(events: int, months: list[date], until: datetime) -> list[int]:
    """The number of each month's first event, and one more after the last: calls double in a year."""
    weights = []
    for at, month in enumerate(months):
        length = start_of(month_after(month)) - start_of(month)
        part = min(1.0, (until - start_of(month)) / length)
        weights.append((1 + at / (len(months) - 1)) * max(part, 0.0))
    total, numbers, so_far = sum(weights), [1], 0.0
    for weight in weights:
        so_far += weight
        numbers.append(1 + round(events * so_far / total))
    numbers[-1] = events + 1
    return numbers


async def unseed_demo(pool: asyncpg.Pool) -> dict[str, int]:
    """Remove the demo data; the removed rows of each table. Raises `NotFound`, `Conflict`."""
    async with one_at_a_time(pool) as connection:
        demo = await store.find_demo(connection)
        if demo is None:
            raise NotFound("there is no demo data", hint="`kaixu seed-demo` makes some.")
        async with connection.transaction():
            if issued := await count_invoices(connection, demo):
                raise Conflict(
                    f"{issued} invoices of demo customers are issued, and what is issued is never removed",
                    hint="Make a new database.",
                )
            return await remove_demo(connection, demo)
