"""Both servers: what they do with calls when they stop, with clients that leave, and with bodies that are too large."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Client, Process, config_for
from tests.support.vendor import INPUT_TOKENS, Vendor

from .conftest import Start
from .test_endings import settled

SERVERS = pytest.mark.parametrize("server", ["hypercorn", "granian"])


async def delivered(vendor: Vendor, count: int) -> None:
    """Return when the vendor has said so many pieces."""
    async with asyncio.timeout(30):
        while vendor.delivered < count:
            await asyncio.sleep(0.02)


def stopping(gateway: Process) -> asyncio.Task[int]:
    """SIGTERM, now; its exit code later."""
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)
    return asyncio.ensure_future(asyncio.to_thread(gateway.process.wait, 60))


@pytest.mark.own_process
@SERVERS
async def test_streams_and_calls_end_whole_within_the_grace_and_are_billed_once(
    server: str, start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1, gateway=f"server: {server}")
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    client = Client(http, gateway.url, key)
    streams = [asyncio.ensure_future(client.stream("stream-200-20", max_tokens=100)) for _ in range(20)]
    calls = [asyncio.ensure_future(client.chat("stream-200-20", max_tokens=100)) for _ in range(20)]
    await delivered(vendor, 200)
    ended = stopping(gateway)
    for stream in streams:
        status, frames = await stream
        assert (status, frames[0][0], frames[-1][0]) == (200, "meta", "done")
        assert sum(name == "delta" for name, _ in frames) >= 1
        assert frames[-1][1]["usage"]["output_tokens"] == 100
    for call in calls:
        status, body = await call
        assert (status, body["usage"]["output_tokens"]) == (200, 100)
    assert await ended == 0
    assert await pool.fetchval("select count(*) from kaixu.usage_event where end_reason = 'complete'") == 40
    assert await spent_and_held(pool, customer_id) == (40 * (INPUT_TOKENS * 1000 + 100 * 2000), 0)
    await assert_books_balance(pool)


@SERVERS
async def test_a_call_that_is_read_to_its_end_without_its_client_has_the_grace_too(
    server: str, start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1, gateway=f"server: {server}", lane="on_disconnect: drain")
    _, key = await virtual_key(pool, await customer(pool))
    await Client(http, gateway.url, key).stream("stream-200-20", leave_after=3, max_tokens=100)
    assert vendor.finished == 0
    assert await stopping(gateway) == 0
    event = await settled(pool)
    assert (event["end_reason"], event["usage_source"], event["output_tokens"]) == ("complete", "provider", 100)
    assert vendor.finished == 1
    await assert_books_balance(pool)


@SERVERS
async def test_what_outlasts_the_grace_is_cancelled_and_billed_for_what_it_got(
    server: str, start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1, gateway=f"server: {server}, grace_s: 1", lane="on_disconnect: drain")
    _, key = await virtual_key(pool, await customer(pool))
    client = Client(http, gateway.url, key)
    await client.stream("stream-200-20", leave_after=3)
    calls: list[asyncio.Future[Any]] = [asyncio.ensure_future(client.stream("stream-200-20")) for _ in range(5)]
    calls += [asyncio.ensure_future(client.chat("stream-200-20")) for _ in range(5)]
    await delivered(vendor, 100)
    assert await stopping(gateway) == 0
    await asyncio.gather(*calls, return_exceptions=True)
    assert await pool.fetchval("select count(*) from kaixu.usage_event") == 11
    assert await pool.fetchval("select count(*) from kaixu.usage_event where end_reason = 'complete'") == 0
    assert vendor.finished == 0
    await assert_books_balance(pool)


@SERVERS
async def test_whoever_is_broken_off_by_a_stop_is_told_and_pays_for_what_arrived(
    server: str, start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1, gateway=f"server: {server}, grace_s: 1")
    _, key = await virtual_key(pool, await customer(pool))
    client = Client(http, gateway.url, key)

    async def upload() -> tuple[int, str]:
        async def body() -> AsyncIterator[bytes]:
            while True:
                yield b" " * 100
                await asyncio.sleep(0.1)

        async with http.post(f"{gateway.url}/v1/files", data=body(), headers=client.headers) as response:
            return response.status, (await response.json())["error"]["code"]

    plain = [asyncio.ensure_future(client.chat("stream-200-20")) for _ in range(3)]
    streamed = [asyncio.ensure_future(client.stream("stream-200-20")) for _ in range(3)]
    uploading = asyncio.ensure_future(upload())
    await delivered(vendor, 60)
    assert await stopping(gateway) == 0
    for status, body in await asyncio.gather(*plain):
        assert (status, body["code"]) == (503, "STOPPING")
    for status, frames in await asyncio.gather(*streamed):
        assert (status, frames[-1][0], frames[-1][1]["code"]) == (200, "error", "STOPPING")
    if server == "hypercorn":  # Granian listens to the end and then ends what is left
        assert await uploading == (503, "stopping")
    else:
        with suppress(aiohttp.ClientError):
            assert (await uploading)[0] == 503
    rows = await pool.fetch("select end_reason, output_tokens, cost_nusd from kaixu.usage_event order by end_reason")
    assert [row["end_reason"] for row in rows] == ["undelivered"] * 3 + ["upstream_error"] * 3
    assert all((row["cost_nusd"] > 0) == (row["end_reason"] == "upstream_error") for row in rows)
    await assert_books_balance(pool)


async def test_a_call_that_still_waits_for_its_admission_when_the_grace_is_over_holds_nothing(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1, gateway="grace_s: 0")
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    async with pool.acquire() as connection:
        blocking = connection.transaction()
        await blocking.start()
        await connection.execute("select 1 from kaixu.customer for update")
        call = asyncio.ensure_future(Client(http, gateway.url, key).chat("stream-200-20"))
        async with asyncio.timeout(20):
            waits = (
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            )
            while not await connection.fetchval(waits):
                await asyncio.sleep(0.02)
        ended = stopping(gateway)
        status, told = await call
        assert (status, told["code"]) == (503, "STOPPING")
        await blocking.rollback()
    assert await ended == 0
    assert vendor.requests == []
    assert await spent_and_held(pool, customer_id) == (0, 0)
    await assert_books_balance(pool)


async def test_a_grace_that_was_reloaded_is_the_one_that_counts(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1, gateway="grace_s: 1")
    _, key = await virtual_key(pool, await customer(pool))
    gateway.config.write_text(gateway.config.read_text().replace("grace_s: 1", "grace_s: 60"))
    assert (await gateway.command("reload")).returncode == 0
    call = asyncio.ensure_future(Client(http, gateway.url, key).stream("stream-200-20"))
    await delivered(vendor, 5)
    assert await stopping(gateway) == 0
    assert (await call)[1][-1][0] == "done"


async def test_granian_notices_a_client_that_leaves(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1, gateway="server: granian")
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    client = Client(http, gateway.url, key)
    await client.stream("stream-200-20", leave_after=20)
    event = await settled(pool)
    assert (event["end_reason"], event["usage_source"]) == ("client_gone", "estimated")
    assert event["output_tokens"] >= 20
    assert (vendor.cancelled, vendor.finished) == (1, 0)
    call = asyncio.ensure_future(client.chat("stream-200-20"))
    await delivered(vendor, vendor.delivered + 10)
    call.cancel()
    async with asyncio.timeout(10):
        while await pool.fetchval("select count(*) from kaixu.usage_event where end_reason = 'client_gone'") != 2:
            await asyncio.sleep(0.05)
    assert (vendor.cancelled, vendor.finished) == (2, 0)
    await assert_books_balance(pool)


async def test_granian_keeps_the_body_limit(start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession) -> None:
    (gateway,) = await start(1, gateway="server: granian, body_limit_bytes: 2048")
    _, key = await virtual_key(pool, await customer(pool))
    client = Client(http, gateway.url, key)
    assert (await client.chat())[0] == 200

    async def in_pieces() -> Any:
        for _ in range(8):
            yield b"a" * 1024

    for path in ("gateway-chat", "admin-login"):
        for body in (b"a" * 3000, in_pieces()):
            async with http.post(f"{gateway.url}/api/{path}", data=body, headers=client.headers) as response:
                assert (path, response.status, (await response.json())["code"]) == (path, 413, "TOO_LARGE")
    assert (await client.chat())[0] == 200


async def test_granian_refuses_a_head_that_is_too_large_and_takes_large_bodies(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1, gateway="server: granian")
    _, key = await virtual_key(pool, await customer(pool))
    async with http.get(f"{gateway.url}/api/health", headers={"x-large": "a" * 300_000}) as response:
        assert response.status == 431
    large = [{"role": "user", "content": "a" * 900_000}]
    assert (await Client(http, gateway.url, key).chat(messages=large))[0] == 200


async def test_granian_that_cannot_listen_says_so(start: Start, tmp_path: Path, dsn: str, vendor: Vendor) -> None:
    (first,) = await start(1)
    second = Process(tmp_path / "second", dsn, config_for(vendor.url, "ok", gateway="server: granian"))
    ran = await second.command("serve", KAIXU_BIND=f"127.0.0.1:{first.port}")
    assert (ran.returncode, "Traceback" in ran.stderr) == (1, False)
    assert f"cannot listen on 127.0.0.1:{first.port}" in ran.stderr


async def test_a_server_that_is_not_installed_is_said_with_the_way_to_get_it(tmp_path: Path, dsn: str) -> None:
    # An import hook in front of everything stands for an environment without the package.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'granian':\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Without())\n"
    )
    without = Process(tmp_path / "home", dsn, config_for("http://localhost", "ok", gateway="server: granian"))
    for command in ("serve", "check"):
        ran = await without.command(command, PYTHONPATH=str(tmp_path))
        assert (ran.returncode, "Traceback" in ran.stderr) == (1, False)
        assert "pip install 'kaixu[granian]'" in ran.stderr


@SERVERS
async def test_a_stop_is_billed_for_what_was_delivered_and_for_nothing_unseen(
    server: str, start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    """It is the gateway's own doing: no bound is charged, and who got nothing pays nothing."""
    (gateway,) = await start(1, gateway=f"server: {server}, grace_s: 1", lane="on_disconnect: cancel")
    streams, plain = [await customer(pool) for _ in range(2)]
    clients = [Client(http, gateway.url, (await virtual_key(pool, one))[1]) for one in (streams, plain)]
    calls: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(clients[0].stream("stream-200-20", max_tokens=4000)) for _ in range(3)
    ]
    calls += [asyncio.ensure_future(clients[1].chat("stream-200-20", max_tokens=4000)) for _ in range(3)]
    await delivered(vendor, 60)
    assert await stopping(gateway) == 0
    await asyncio.gather(*calls, return_exceptions=True)
    for event in await pool.fetch("select * from kaixu.usage_event where customer_id = $1", streams):
        assert (event["end_reason"], event["usage_source"]) == ("upstream_error", "counted"), dict(event)
        assert 0 < event["output_tokens"] < 200, dict(event)
    events = await pool.fetch("select * from kaixu.usage_event where customer_id = $1", plain)
    assert [(event["end_reason"], event["cost_nusd"]) for event in events] == [("undelivered", 0)] * 3
    assert all('"unbilled_nusd"' in event["units"] or event["units"]["unbilled_nusd"] > 0 for event in events)
    await assert_books_balance(pool)
