"""How calls end when somebody leaves, and what is billed then."""

from __future__ import annotations

import asyncio

import aiohttp
import asyncpg
import pytest

from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Client
from tests.support.vendor import INPUT_TOKENS, Vendor

from .conftest import Start


async def settled(pool: asyncpg.Pool) -> asyncpg.Record:
    """The one usage event, once it is there and nothing is held."""
    for _ in range(100):
        row = await pool.fetchrow("select * from kaixu.usage_event")
        if row is not None and not await pool.fetchval("select count(*) from kaixu.reservation"):
            return row
        await asyncio.sleep(0.05)
    raise AssertionError("nothing was settled")


async def test_a_stream_cut_by_its_client_is_billed_for_what_it_got_and_the_vendor_sees_the_cancel(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1)
    _, key = await virtual_key(pool, await customer(pool))
    status, _ = await Client(http, gateway.url, key).stream("stream-200-20", leave_after=20)
    assert status == 200
    event = await settled(pool)
    assert (event["end_reason"], event["usage_source"]) == ("client_gone", "estimated")
    assert 20 <= event["output_tokens"] <= 400
    assert event["cost_nusd"] == event["input_tokens"] * 1000 + event["output_tokens"] * 2000
    assert (vendor.cancelled, vendor.finished) == (1, 0)
    assert vendor.delivered < 60
    await assert_books_balance(pool)


async def test_a_plain_call_whose_client_leaves_is_settled(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1)
    _, key = await virtual_key(pool, await customer(pool))
    task = asyncio.ensure_future(Client(http, gateway.url, key).chat("stream-200-20"))
    while vendor.delivered < 10:
        await asyncio.sleep(0.02)
    task.cancel()
    event = await settled(pool)
    assert event["end_reason"] == "client_gone"
    assert 8 <= event["output_tokens"] <= 400
    await assert_books_balance(pool)


async def test_a_draining_lane_reads_the_vendor_to_its_end_and_bills_exactly(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1, lane="on_disconnect: drain")
    _, key = await virtual_key(pool, await customer(pool))
    await Client(http, gateway.url, key).stream("stream-50-5", leave_after=3)
    event = await settled(pool)
    assert (event["end_reason"], event["usage_source"], event["output_tokens"]) == (
        "complete",
        "provider",
        50,
    )
    assert vendor.finished == 1


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("status-500", 502, "UPSTREAM_ERROR"),
        ("status-429", 429, "UPSTREAM_BUSY"),
        ("status-400", 422, "UPSTREAM_REJECTED"),
        ("status-401", 502, "UPSTREAM_ERROR"),
        ("nonsense", 502, "UPSTREAM_ERROR"),
        ("cut-3", 502, "UPSTREAM_ERROR"),
    ],
)
async def test_a_vendor_that_fails_costs_nothing_and_its_words_stay_inside(
    model: str, status: int, code: str, start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    client = Client(http, gateway.url, key)
    got, body = await client.chat(model)
    assert (got, body["code"]) == (status, code)
    assert "vendor secret" not in str(body)
    assert "vendor-key" not in str(body)
    assert await spent_and_held(pool, customer_id) == (0, 0)
    got, frames = await client.stream(model)
    assert got == 200
    assert frames[0][0] == "meta"
    name, error = frames[-1]
    assert (name, error["status"], error["code"]) == ("error", status, code)
    deltas = sum(name == "delta" for name, _ in frames)
    spent, held = await spent_and_held(pool, customer_id)
    assert held == 0
    assert (spent > 0) == (deltas > 0)
    await assert_books_balance(pool)


@pytest.mark.parametrize("model", ["greedy", "burst"], ids=["one by one", "many at once"])
async def test_a_vendor_that_never_stops_is_cut_at_the_budget(
    model: str, start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1)
    _, key = await virtual_key(pool, await customer(pool))
    status, frames = await Client(http, gateway.url, key).stream(model, max_tokens=50)
    assert (status, frames[-1][0], frames[-1][1]["end"]) == (200, "done", "budget_cut")
    assert sum(name == "delta" for name, _ in frames) == 151  # of 4 characters: more than 12 for each token
    event = await settled(pool)
    assert (event["end_reason"], event["output_tokens"]) == ("budget_cut", 50)
    await assert_books_balance(pool)


async def test_a_vendor_without_usage_is_counted_and_says_so(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    _, key = await virtual_key(pool, await customer(pool))
    status, body = await Client(http, gateway.url, key).chat("silent")
    assert status == 200
    assert body["usage"]["usage_source"] == "counted"
    assert body["usage"]["output_tokens"] == 4


async def test_max_tokens_is_lowered_to_what_is_left_and_the_reply_says_so(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1)
    customer_id = await customer(pool, cap_nusd=100_000)
    _, key = await virtual_key(pool, customer_id)
    status, body = await Client(http, gateway.url, key).chat("stream-50-5", max_tokens=1000)
    applied = body["usage"]["max_tokens_applied"]
    assert status == 200
    assert applied < 50
    assert vendor.requests[0]["max_completion_tokens"] == applied
    assert body["usage"]["output_tokens"] == applied
    assert await spent_and_held(pool, customer_id) == (INPUT_TOKENS * 1000 + applied * 2000, 0)


async def test_a_stop_in_mid_stream_settles_everything_before_it_leaves(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1, gateway="grace_s: 1")
    _, key = await virtual_key(pool, await customer(pool))
    client = Client(http, gateway.url, key)
    calls: list[asyncio.Future[object]] = [asyncio.ensure_future(client.stream("stream-200-20")) for _ in range(10)]
    calls += [asyncio.ensure_future(client.chat("stream-200-20")) for _ in range(10)]
    while vendor.delivered < 100:
        await asyncio.sleep(0.02)
    assert await gateway.stop() == 0
    await asyncio.gather(*calls, return_exceptions=True)
    assert await pool.fetchval("select count(*) from kaixu.usage_event") == 20
    await assert_books_balance(pool)


async def test_a_stop_lets_streams_finish_within_the_grace_time(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1)
    _, key = await virtual_key(pool, await customer(pool))
    call = asyncio.ensure_future(Client(http, gateway.url, key).stream("stream-200-20", max_tokens=100))
    while vendor.delivered < 5:
        await asyncio.sleep(0.02)
    assert await gateway.stop() == 0
    _, frames = await call
    assert frames[-1][0] == "done"
    assert frames[-1][1]["usage"]["output_tokens"] == 100
