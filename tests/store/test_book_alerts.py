"""What is told about the caps of books: each crossing once, with the book, and again only after a recovery."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import asyncpg
import pytest

from kaixu.reports.alert_messages import Words, alert_json
from kaixu.store.alerts import claim_alerts
from kaixu.store.cap_alerts import check_noted_caps, note_cap, prune_cap_alerts
from kaixu.store.clock import this_month
from kaixu.store.rollups import fold_usage
from tests.support.money import customer, virtual_key

from .test_keyed_charges import Customer, declare

THRESHOLDS = (50, 85, 100)


@pytest.fixture
async def one(pool: asyncpg.Pool) -> Customer:
    """A customer whose book `push` has a cap of 10,000 nano-dollars, of which a deploy takes 100 and the month 500."""
    assert await declare(pool) is None
    owner = await customer(pool)
    return Customer(pool, owner, (await virtual_key(pool, owner))[0])


async def told(pool: asyncpg.Pool) -> list[tuple[str, int | None, str]]:
    """The alerts that were raised: type, threshold, and book."""
    rows = await pool.fetch("select type, body->>'threshold_pct', body->>'book' from kaixu.alert order by id")
    return [(row[0], None if row[1] is None else int(row[1]), row[2]) for row in rows]


async def check(pool: asyncpg.Pool) -> None:
    """Check what was noted."""
    await check_noted_caps(pool, THRESHOLDS, most=500)


async def spend(one: Customer, spent_nusd: int, book: str = "push", month: date | None = None) -> None:
    """Set what is spent in the book, and check it."""
    await one.pool.execute(
        """
        insert into kaixu.customer_month (customer_id, month, book, spent_nusd, has_own_cap)
        values ($1, $2, $3, $4, true)
        on conflict (customer_id, month, book) do update set spent_nusd = excluded.spent_nusd
        """,
        one.id,
        month or await this_month(one.pool),
        book,
        spent_nusd,
    )
    await note_cap(one.pool, customer_id=one.id, chain_id=0)
    await check(one.pool)


async def test_each_threshold_is_told_once_with_the_book(one: Customer) -> None:
    for spent in (0, 4_999, 5_000, 7_000, 8_500, 9_999, 10_000, 12_000):
        await spend(one, spent)
    assert await told(one.pool) == [
        ("CAP_WARN_BOOK", 50, "push"),
        ("CAP_WARN_BOOK", 85, "push"),
        ("CAP_REACHED_BOOK", 100, "push"),
    ]


async def test_charges_by_key_are_noticed_when_they_are_rolled_up(one: Customer) -> None:
    for at in range(85):  # 500 for the month, 100 for each
        await one.do(("charge", "deploy", f"d{at}"))
    await fold_usage(one.pool, most=1000)
    await check(one.pool)
    assert await told(one.pool) == [("CAP_WARN_BOOK", 85, "push")]  # of two that were passed at once, the highest


async def test_a_higher_cap_ends_it_and_a_lower_one_tells_again(one: Customer) -> None:
    await spend(one, 10_000)
    await one.set(cap=0.00002)
    await check(one.pool)  # changed settings are noted by themselves
    await one.set(cap=0.000005)
    await check(one.pool)
    assert await told(one.pool) == [
        ("CAP_REACHED_BOOK", 100, "push"),
        ("CAP_RECOVERED_BOOK", None, "push"),
        ("CAP_REACHED_BOOK", 100, "push"),
    ]


async def test_other_settings_are_not_noted(one: Customer) -> None:
    await one.set(pricing="cheap")
    assert await one.pool.fetchval("select count(*) from kaixu.cap_check") == 0


@pytest.mark.parametrize("cap", [None, 0], ids=["none", "zero"])
async def test_of_no_cap_and_of_a_cap_of_0_nothing_is_told(one: Customer, cap: int | None) -> None:
    await one.set(cap=cap)
    await spend(one, 10**9)
    assert await told(one.pool) == []


async def test_thresholds_of_the_customer_hold_for_its_books(one: Customer) -> None:
    await one.pool.execute("update kaixu.customer set alert_thresholds = '{20}' where id = $1", one.id)
    await spend(one, 10_000)
    assert await told(one.pool) == [("CAP_WARN_BOOK", 20, "push")]
    await one.pool.execute("update kaixu.customer set alert_thresholds = '{}' where id = $1", one.id)
    await spend(one, 20_000)
    assert len(await told(one.pool)) == 1


async def test_of_books_on_the_customers_cap_and_of_past_months_nothing_is_told(one: Customer) -> None:
    await one.pool.execute("update kaixu.book set has_own_cap = false")
    await one.do(("charge", "deploy", "a"))
    await one.pool.execute("update kaixu.customer_month set spent_nusd = 10000")
    await note_cap(one.pool, customer_id=one.id, chain_id=0)
    await check(one.pool)
    past = date(2020, 1, 1)
    await spend(one, 10_000, month=past)
    await one.pool.execute(
        "insert into kaixu.cap_check (customer_id, chain_id, month) values ($1, 0, $2)", one.id, past
    )
    await check(one.pool)
    assert [row for row in await told(one.pool) if row[0].endswith("_BOOK")] == []


async def test_gateways_that_check_at_once_tell_it_once(one: Customer) -> None:
    await one.pool.execute(
        "insert into kaixu.customer_month (customer_id, month, book, spent_nusd, has_own_cap)"
        " values ($1, $2, 'push', 9000, true)",
        one.id,
        await this_month(one.pool),
    )
    for _ in range(5):
        await note_cap(one.pool, customer_id=one.id, chain_id=0)

    async def gateway() -> None:
        await check_noted_caps(one.pool, THRESHOLDS, most=1)

    await asyncio.gather(*(gateway() for _ in range(5)))
    assert await told(one.pool) == [("CAP_WARN_BOOK", 85, "push")]


async def test_what_receivers_read_names_the_book(one: Customer) -> None:
    await spend(one, 9_000)
    async with one.pool.acquire() as connection, connection.transaction():
        (alert,) = await claim_alerts(connection, most=10)
    shown: dict[str, Any] = alert_json(alert)
    assert (shown["book"], shown["title"], shown["pct"], shown["api_key_id"]) == ("push", "Pushes", 90, None)
    assert "customer_cap_cents" not in shown
    assert Words(alert, to_customer=True).subject == "90 % of your budget for Pushes are used"
    assert Words(alert).subject.startswith("90 % of the budget for Pushes of customer ")
    assert "$0.000009 of $0.00001 are spent" in Words(alert).text


async def test_what_was_told_of_old_months_is_forgotten(one: Customer) -> None:
    await spend(one, 9_000)
    await one.pool.execute(
        "insert into kaixu.book_alert (customer_id, book, month) values ($1, 'push', '2020-01-01')", one.id
    )
    await prune_cap_alerts(one.pool)
    assert await one.pool.fetchval("select count(*) from kaixu.book_alert") == 1
