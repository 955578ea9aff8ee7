"""Every cost can be recomputed from what is stored, to the nano-dollar."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.config.price import Price
from kaixu.metering.pricing import cost_nusd
from kaixu.plugin.errors import NotFound
from kaixu.plugin.types import Usage
from kaixu.reports.explain import PricedEvent, explain, months_of_ticket, round_nusd, token_lines
from tests.support.calls import billed
from tests.support.money import customer, virtual_key

TOKENS = st.integers(0, 10**9)
RATES = st.integers(0, 10**15)
USAGE = Usage(input_tokens=1003, output_tokens=77, cached_input_tokens=400, cache_write_tokens=3, reasoning_tokens=10)


@given(st.builds(Usage, TOKENS, TOKENS, TOKENS, TOKENS, TOKENS), st.builds(Price, RATES, RATES, RATES, RATES, RATES))
def test_the_arithmetic_is_that_of_metering(usage: Usage, price: Price) -> None:
    bare = {
        name: getattr(usage, name)
        for name in ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")
    }
    event = priced(**bare)
    rates = {name: getattr(price, name) for name in Price.__struct_fields__}
    assert round_nusd(sum(line.cost_millionths for line in token_lines(event, rates))) == cost_nusd(usage, price)


def priced(**tokens: int) -> PricedEvent:
    """An event with these tokens, and nothing else worth a look."""
    blank: dict[str, object] = dict.fromkeys(PricedEvent.__struct_fields__)
    return PricedEvent(**blank | tokens)  # type: ignore[arg-type]


async def key(pool: asyncpg.Pool) -> int:
    """A key."""
    return (await virtual_key(pool, await customer(pool)))[0]


async def test_a_call_is_explained_by_number_ticket_and_request(pool: asyncpg.Pool) -> None:
    ask = await billed(pool, await key(pool), USAGE, request_id="request-7")
    number = await pool.fetchval("select id from kaixu.usage_event")
    [of_number] = await explain(pool, str(number))
    assert [of_number] == await explain(pool, str(ask.ticket)) == await explain(pool, "request-7")
    assert (of_number.adds_up, of_number.note) == (True, None)
    assert of_number.priced_nusd == of_number.event.cost_nusd
    assert of_number.vendor_priced_nusd == of_number.event.vendor_cost_nusd
    assert [(line.kind, line.tokens, line.rate) for line in of_number.lines] == [
        ("input", 600, 196_500_000),
        ("cached_input", 400, 98_250_000),
        ("cache_write", 3, 196_500_000),
        ("output", 67, 786_000_000),
        ("reasoning", 10, 786_000_000),
    ]


def test_a_ticket_without_a_time_is_looked_for_in_all_months() -> None:
    now = datetime.now(UTC)
    for ticket in (UUID(int=0), UUID(int=2**128 - 1), UUID("f8b3ed24-93ad-481d-9e9f-488f6013db6c")):
        months = months_of_ticket(ticket)
        assert len(months) > 80
        assert date(now.year, now.month, 1) in months


async def test_all_calls_of_a_request_are_explained(pool: asyncpg.Pool) -> None:
    key_id = await key(pool)
    for _ in range(3):
        await billed(pool, key_id, USAGE, request_id="again")
    assert len(await explain(pool, "again")) == 3


@pytest.mark.parametrize(
    ("cost", "most", "end_reason", "usage_source", "adds_up", "says"),
    [
        (5, 5, "complete", "provider", False, "does not match"),
        (5, 5, "client_gone", "counted", True, "reservation"),
        (5, 5, "budget_cut", "provider", True, "budget"),
        (5, 6, "client_gone", "counted", False, "does not match"),
        (10**9, 10**9, "client_gone", "counted", False, "does not match"),
        (0, 10**9, "undelivered", "provider", True, "could not be delivered"),
        (0, 10**9, "lost", "estimated", True, "nothing was charged"),
        (9, 9, "lost", "estimated", True, "the whole reservation"),
    ],
)
async def test_a_cost_that_differs_from_its_price_says_why(
    pool: asyncpg.Pool, cost: int, most: int, end_reason: str, usage_source: str, adds_up: bool, says: str
) -> None:
    await billed(
        pool,
        await key(pool),
        USAGE,
        cost=cost,
        end_reason=end_reason,
        usage_source=usage_source,
        request_id="x",
        most=most,
    )
    [explained] = await explain(pool, "x")
    assert explained.adds_up == adds_up
    assert explained.note is not None
    assert says in explained.note


@pytest.mark.parametrize(
    ("rates", "units", "line"),
    [
        ({"send": 5}, {"calls": 1}, ("send", 1)),
        ({"gib": 3, "per_bytes_out": 2}, {"calls": 1, "bytes_out": 3}, ("bytes_out", 3)),
        ({"per_page": 5, "per_pages": 1}, {"calls": 1, "pages": 1}, ("pages", 1)),
        ({"price_per_page": 5, "per_page": 1}, {"calls": 1, "page": 1}, ("page", 1)),
    ],
    ids=["by the call", "by the unit", "a price that is called per_page", "a price that is called after its own unit"],
)
async def test_an_operation_is_explained_by_its_charge(
    pool: asyncpg.Pool, rates: dict[str, int], units: dict[str, int], line: tuple[str, int]
) -> None:
    await billed(pool, await key(pool), Usage(), cost=5, request_id="x", units=units, usage_source="plugin")
    await pool.execute("update kaixu.price set rates = $1", rates)
    [explained] = await explain(pool, "x")
    assert [(one.kind, one.tokens) for one in explained.lines] == [line]
    assert (explained.priced_nusd, explained.adds_up) == (5, True)
    await pool.execute("update kaixu.usage_event set cost_nusd = 4")
    assert not (await explain(pool, "x"))[0].adds_up


async def test_a_price_that_is_not_understood_proves_nothing(pool: asyncpg.Pool) -> None:
    await billed(pool, await key(pool), USAGE, cost=5, request_id="x")
    for rates, says in (({}, "no rates"), ({"a": 1, "b": 2}, "unknown kind"), ({"a": 1, "b": 2, "c": 3}, "")):
        await pool.execute("update kaixu.price set rates = $1", rates)
        [explained] = await explain(pool, "x")
        assert (explained.lines, explained.priced_nusd, explained.adds_up) == ([], None, False)
        assert explained.note is not None
        assert says in explained.note


async def test_a_vendor_that_charges_otherwise_leaves_the_bill_explained(pool: asyncpg.Pool) -> None:
    await billed(pool, await key(pool), USAGE, request_id="x")
    await pool.execute("update kaixu.price set vendor = $1", {"call": 5})
    [explained] = await explain(pool, "x")
    assert (explained.adds_up, explained.vendor_priced_nusd) == (True, None)


@pytest.mark.parametrize(
    "named",
    [
        "17",
        "nothing",
        "01975a3f-0000-7000-8000-000000000000",
        "f8b3ed24-93ad-481d-9e9f-488f6013db6c",
        "f" * 32,
        "0" * 32,
        "9" * 30,
        "²",
    ],
)
async def test_an_unknown_call_is_not_found(pool: asyncpg.Pool, named: str) -> None:
    with pytest.raises(NotFound):
        await explain(pool, named)
