"""The live tail over HTTP: every viewer gets every event once and in order, from whichever gateway wrote it."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

import aiohttp
import asyncpg
import pytest

from kaixu.edge.tokens import make_admin_token
from kaixu.ops.events import Monitor
from kaixu.store.events import write_events
from tests.support.monitor import event, follow, operator_headers
from tests.support.operators import SESSION
from tests.support.process import SECRETS, Process

from .conftest import Start

VIEWERS = 20
EVENTS = 600


async def test_twenty_viewers_get_each_event_of_two_gateways_once_and_in_order(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    gateways = await start(2)
    writers = [Monitor(lambda events, _: write_events(pool, events)) for _ in range(2)]
    async with AsyncExitStack() as open_streams:
        viewers = [await open_streams.enter_async_context(follow(http, gateways[at % 2].url)) for at in range(VIEWERS)]
        for start_at in range(0, EVENTS, 40):
            for number in range(start_at, start_at + 40):
                writers[number % 2].record(event(str(number)))
            await asyncio.gather(*(writer.flush() for writer in writers))
        for at, gateway in enumerate(gateways):
            await report(http, gateway, f"from gateway {at}")
        for viewer in viewers:
            await viewer.until(lambda one: len(one.events) >= EVENTS + 2)
        expected = [f"{number}" for number in range(EVENTS)] + ["from gateway 0", "from gateway 1"]
        stored = [row["id"] for row in await pool.fetch("select id from kaixu.gateway_event order by id")]
        for viewer in viewers:
            assert sorted(viewer.words) == sorted(expected)
            assert [one["id"] for one in viewer.events] == stored
            assert [number for name, _, number in viewer.frames if name == "event"] == [str(one) for one in stored]
            assert not viewer.warnings


async def test_hello_tells_where_the_stream_begins_and_filters_apply_to_what_follows(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    await write_events(pool, [event("before")])
    newest = await pool.fetchval("select max(id) from kaixu.gateway_event")
    async with (
        follow(http, gateway.url) as everything,
        follow(http, gateway.url, level="warn", fn="chat") as some,
        follow(http, gateway.url, customer_id=7, model="m", kind="slow") as others,
    ):
        name, hello, number = everything.frames[0]
        assert (name, hello["ok"], hello["after_id"], number) == ("hello", True, newest, None)
        assert hello["now"].endswith("Z")
        await write_events(
            pool,
            [
                event("1", level="warn", function_name="chat"),
                event("2", level="error", function_name="chat"),
                event("3", kind="slow", customer_id=7, model="m", level="warn"),
                event("4", level="warn", function_name="chat", kind="slow", customer_id=7, model="m"),
            ],
        )
        await everything.until(lambda one: len(one.events) == 4)
        await some.until(lambda one: len(one.events) == 2)
        await others.until(lambda one: len(one.events) == 2)
        assert everything.words == ["1", "2", "3", "4"]
        assert some.words == ["1", "4"]
        assert others.words == ["3", "4"]


@pytest.mark.parametrize("by_header", [False, True], ids=["after_id", "Last-Event-ID"])
async def test_a_viewer_that_connects_again_gets_what_it_missed(
    by_header: bool, start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    async with follow(http, gateway.url) as first:
        await write_events(pool, [event("seen")])
        await first.until(lambda one: one.words == ["seen"])
        last = first.frames[-1][2] or ""
    await write_events(pool, [event(f"missed {number}") for number in range(1200)])
    again = (
        follow(http, gateway.url, headers={"Last-Event-ID": last}, after_id=1)
        if by_header
        else follow(http, gateway.url, after_id=last)
    )
    async with again as second:
        await write_events(pool, [event("new")])
        await second.until(lambda one: len(one.events) >= 1201)
        assert second.words == [*(f"missed {number}" for number in range(1200)), "new"]
        assert second.frames[0][1]["after_id"] == int(last)


async def test_bad_filters_and_missing_credentials_are_refused_before_the_stream_begins(
    refusing: Process, http: aiohttp.ClientSession
) -> None:
    url = f"{refusing.url}/api/admin-monitor-stream"
    async with http.get(url) as response:
        assert response.status == 401
    for query, field in (
        ({"after_id": "x"}, "after_id"),
        ({"after_id": "-1"}, "after_id"),
        ({"since": "yesterday"}, "since"),
        ({"customer_id": "x"}, "customer_id"),
        ({"app": "x" * 300}, "app"),
    ):
        async with http.get(url, params=query, headers=operator_headers()) as response:
            body = await response.json()
            assert (response.status, body["field"]) == (422, field)


async def test_a_stream_ends_when_the_admin_token_expires(refusing: Process, http: aiohttp.ClientSession) -> None:
    token = make_admin_token(SECRETS["JWT_SECRET"], SESSION, ttl_s=2)
    async with follow(http, refusing.url, headers={"authorization": f"Bearer {token}"}) as viewer:
        await viewer.over()
        assert viewer.warnings[-1]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize("server", ["hypercorn", "granian"])
async def test_streams_end_when_the_gateway_stops(server: str, start: Start, http: aiohttp.ClientSession) -> None:
    (gateway,) = await start(1, gateway=f"server: {server}, grace_s: 30")
    async with follow(http, gateway.url) as viewer:
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        await viewer.over()
        assert viewer.warnings[-1]["code"] == "STOPPING"
        assert await asyncio.to_thread(gateway.process.wait, 20) == 0


async def test_nothing_runs_and_nobody_listens_without_viewers(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    assert await listeners(pool) == 0
    async with follow(http, gateway.url), follow(http, gateway.url):
        await until_listeners(pool, 1)
    await until_listeners(pool, 0)


async def test_the_tail_survives_a_lost_connection(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    async with follow(http, gateway.url) as viewer:
        await until_listeners(pool, 1)
        await pool.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
            " and application_name = 'kaixu monitor'"
        )
        await write_events(pool, [event("while nobody listens")])
        await viewer.until(lambda one: one.words == ["while nobody listens"])
        await until_listeners(pool, 1)
        await write_events(pool, [event("again")])
        await viewer.until(lambda one: one.words == ["while nobody listens", "again"])


async def test_the_tail_works_behind_a_pooler(start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession) -> None:
    (gateway,) = await start(1, KAIXU_POOLER="true")
    async with follow(http, gateway.url) as viewer:
        await write_events(pool, [event("1")])
        await viewer.until(lambda one: one.words == ["1"])
        assert await listeners(pool) == 0


async def test_a_viewer_that_stops_reading_for_a_while_delays_nobody_and_misses_nothing(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    count, text = 6000, "x" * 3000
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=2**16)
    head = f"GET /api/admin-monitor-stream HTTP/1.0\r\nauthorization: {operator_headers()['authorization']}\r\n\r\n"
    writer.write(head.encode())
    await reader.readuntil(b"event: hello")
    async with follow(http, gateway.url) as quick:
        for first in range(0, count, 500):
            await write_events(pool, [event(f"{number} {text}") for number in range(first, first + 500)])
        await quick.until(lambda one: len(one.events) == count)
    numbers: list[int] = []
    async with asyncio.timeout(60):
        while len(numbers) < count:
            frame = await reader.readuntil(b"\n\n")
            if b"event: event" in frame:
                numbers.append(int(frame.split(b'"error_message":"')[1].split(b" ")[0]))
    writer.close()
    assert numbers == list(range(count))


async def report(http: aiohttp.ClientSession, gateway: Process, message: str) -> None:
    """Have a gateway write an event of its own."""
    body = {"error": {"name": "E", "message": message}}
    async with http.post(f"{gateway.url}/api/client-error-report", json=body) as response:
        assert response.status == 200, await response.text()
    async with asyncio.timeout(30), asyncpg.create_pool(gateway.environment["DATABASE_URL"], min_size=1) as pool:
        while not await pool.fetchval("select count(*) from kaixu.gateway_event where error_message = $1", message):
            await asyncio.sleep(0.02)


async def listeners(pool: asyncpg.Pool) -> int:
    """How many connections listen."""
    count: int = await pool.fetchval(
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'kaixu monitor'"
    )
    return count


async def until_listeners(pool: asyncpg.Pool, count: int) -> None:
    """Wait until so many connections listen."""
    async with asyncio.timeout(60):
        while await listeners(pool) != count:
            await asyncio.sleep(0.05)
