"""Streams that are hard on a gateway, in short; `make soak` runs them at length."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from kaixu.config.price import usd
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Process, config_for
from tests.support.streams import MANY_TOKENS, StreamingVendor, listen, mistakes

DOORS = ("native", "openai", "anthropic")

Gateway = Callable[..., Awaitable[Process]]


@pytest.fixture
async def streaming() -> AsyncIterator[StreamingVendor]:
    """A vendor that streams whatever a model's name says."""
    vendor = StreamingVendor()
    await vendor.start()
    yield vendor
    await vendor.stop()


@pytest.fixture
async def gateway(tmp_path: Path, dsn: str, streaming: StreamingVendor) -> AsyncIterator[Gateway]:
    """Start a gateway before that vendor, with one model."""
    running: list[Process] = []

    async def start(model: str, *, gateway: str = "") -> Process:
        config = config_for(streaming.url, model, model=f"max_output_tokens: {MANY_TOKENS}", gateway=gateway)
        running.append(Process(tmp_path / "gateway", dsn, config))
        return await running[-1].start()

    yield start
    for process in running:
        await process.stop()


@pytest.fixture
async def key(pool: asyncpg.Pool) -> str:
    """A rich customer's."""
    _, key = await virtual_key(pool, await customer(pool, cap_nusd=10**15))
    return key


@pytest.mark.parametrize(
    "model",
    ["byte-2000-0", "megabyte-3-0", "cut-60-0", "crlf-60-0", "cr-60-0", "open-60-0", "abrupt-60-0"],
    ids=[
        "deltas of one byte",
        "deltas of a megabyte",
        "characters cut in two",
        "lines that end with CRLF",
        "lines that end with CR",
        "a last line without its end",
        "usage in a last line without its end",
    ],
)
async def test_a_stream_arrives_whole_through_every_door_and_is_billed_as_the_vendor_counts(
    model: str, gateway: Gateway, pool: asyncpg.Pool, http: aiohttp.ClientSession, key: str
) -> None:
    url = (await gateway(model)).url
    heard = await asyncio.gather(*(listen(http, url, key, door, model) for door in DOORS))
    assert await mistakes(pool, heard) == []
    await assert_books_balance(pool)


@pytest.mark.parametrize(
    "model", ["half-20-0", "endless-20-0"], ids=["half a character in an event", "an event without an end"]
)
async def test_a_stream_that_cannot_be_read_on_is_an_error_after_what_was_good_and_costs_that_much(
    model: str, gateway: Gateway, pool: asyncpg.Pool, http: aiohttp.ClientSession, key: str
) -> None:
    url = (await gateway(model)).url
    heard = await asyncio.gather(*(listen(http, url, key, door, model) for door in DOORS))
    good = 21 if model.startswith("half") else 20  # half a character is replaced; what is missing after it is not
    assert [(one.status, one.deltas, one.error) for one in heard] == [(200, good, "UPSTREAM_ERROR")] * 3
    events = await pool.fetch("select end_reason, usage_source, output_tokens, cost_nusd from kaixu.usage_event")
    assert {tuple(event)[:2] for event in events} == {("upstream_error", "counted")}
    assert len(events) == 3
    assert all(20 <= event["output_tokens"] <= 60 for event in events)
    assert sorted(str(one.cost_usd) for one in heard) == sorted(usd(event["cost_nusd"]) for event in events)
    await assert_books_balance(pool)


async def test_a_reader_that_stalls_holds_its_vendor_back_and_gets_everything_later(
    gateway: Gateway, pool: asyncpg.Pool, http: aiohttp.ClientSession, key: str, streaming: StreamingVendor
) -> None:
    model = "megabyte-64-0"
    url = (await gateway(model)).url

    async def until_nothing_moves() -> None:
        written = -1
        while streaming.written != written:
            written = streaming.written
            await asyncio.sleep(0.5)

    held: list[int] = []

    async def stall() -> None:
        await until_nothing_moves()
        held.append(streaming.written)

    heard = await listen(http, url, key, "native", model, stall)
    assert held[0] < 40  # what sockets hold; the gateway keeps next to nothing
    assert await mistakes(pool, [heard]) == []
    await assert_books_balance(pool)


@pytest.mark.parametrize("server", ["hypercorn", "granian"])
async def test_a_reader_that_takes_nothing_for_too_long_is_gone_and_its_call_settled(
    server: str, gateway: Gateway, pool: asyncpg.Pool, http: aiohttp.ClientSession, key: str
) -> None:
    model = "megabyte-64-0"
    url = (await gateway(model, gateway=f"stall_s: 1, server: {server}")).url
    gone = asyncio.Event()

    async def stall() -> None:
        while await pool.fetchval("select count(*) from kaixu.usage_event") == 0:
            await asyncio.sleep(0.1)
        gone.set()

    heard = asyncio.ensure_future(listen(http, url, key, "native", model, stall))
    await gone.wait()
    [(end, source)] = await pool.fetch("select end_reason, usage_source from kaixu.usage_event")
    assert (end, source) == ("client_gone", "estimated")
    async with http.get(f"{url}/api/health") as response:
        assert (await response.json())["in_flight"] == 0
    heard.cancel()
    await asyncio.wait([heard])
    await assert_books_balance(pool)


async def test_a_hundred_streams_at_once_do_not_mix(
    gateway: Gateway, pool: asyncpg.Pool, http: aiohttp.ClientSession, key: str
) -> None:
    model = "steady-30-5"
    url = (await gateway(model)).url
    heard = await asyncio.gather(*(listen(http, url, key, DOORS[at % 2], model) for at in range(100)))
    assert await mistakes(pool, heard) == []
    await assert_books_balance(pool)
