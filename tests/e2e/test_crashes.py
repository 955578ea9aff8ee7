"""kill -9, of gateways, of Postgres, of both: every answered call is billed once, and no hold outlives its expiry."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil
import pytest

from kaixu.store.embedded import EmbeddedPostgres, is_running
from kaixu.store.migrate import migrate
from kaixu.store.pool import open_pool
from tests.conftest import memory
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Client, Process, config_for
from tests.support.vendor import Vendor

from .conftest import MODELS, Start

OUTPUT = 8


async def books_close(pool: asyncpg.Pool, within_s: float = 20) -> None:
    """Wait until nothing is reserved any more, then prove that everything adds up."""
    for _ in range(int(within_s / 0.1)):
        try:
            if await pool.fetchval("select count(*) from kaixu.reservation") == 0:
                break
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pass
        await asyncio.sleep(0.1)
    await assert_books_balance(pool)


async def answered(client: Client, at: int) -> str | None:
    """One call, plain or streamed; its request id if it was answered whole."""
    request_id = f"call-{at}"
    client = Client(client.http, client.url, client.headers["authorization"][7:], **{"x-kaixu-request-id": request_id})
    try:
        if at % 2:
            status, frames = await client.stream("stream-8-0", max_tokens=OUTPUT)
            return request_id if status == 200 and frames and frames[-1][0] == "done" else None
        status, _ = await client.chat("stream-8-0", max_tokens=OUTPUT)
        return request_id if status == 200 else None
    except (TimeoutError, aiohttp.ClientError, ConnectionError):
        return None


async def until(reached: Callable[[], bool]) -> None:
    """Wait until so much has been done."""
    async with asyncio.timeout(60):
        while not reached():
            await asyncio.sleep(0.02)


async def assert_answered_are_billed_once(pool: asyncpg.Pool, request_ids: set[str]) -> None:
    """Every answered call has one event with its true cost."""
    rows = await pool.fetch("select request_id, output_tokens, end_reason from kaixu.usage_event")
    billed = [row["request_id"] for row in rows]
    assert len(billed) == len(set(billed))
    complete = {row["request_id"] for row in rows if row["end_reason"] == "complete" and row["output_tokens"] == OUTPUT}
    assert request_ids <= complete


@pytest.mark.own_process
async def test_a_gateway_killed_in_mid_call_leaves_no_hold_behind(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    first, second = await start(2, gateway="reservation_s: 3")
    _, key = await virtual_key(pool, await customer(pool))
    whole = {done for at in range(10) if (done := await answered(Client(http, first.url, key), at))}
    assert len(whole) == 10
    client = Client(http, first.url, key)
    calls: list[asyncio.Future[object]] = [asyncio.ensure_future(client.stream("stream-200-20")) for _ in range(5)]
    calls += [asyncio.ensure_future(client.chat("stream-200-20")) for _ in range(5)]
    while vendor.delivered < 120:
        await asyncio.sleep(0.02)
    first.kill()
    await asyncio.gather(*calls, return_exceptions=True)
    assert await pool.fetchval("select count(*) from kaixu.reservation") == 10
    await books_close(pool)
    assert await pool.fetchval("select count(*) from kaixu.usage_event where end_reason = 'lost'") == 10
    await assert_answered_are_billed_once(pool, whole)
    assert (await Client(http, second.url, key).chat())[0] == 200


async def test_lost_calls_are_charged_their_hold_where_the_operator_says_so(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    first, _ = await start(2, gateway="reservation_s: 3, on_lost: charge")
    _, key = await virtual_key(pool, await customer(pool))
    call = asyncio.ensure_future(Client(http, first.url, key).stream("stream-200-20"))
    while vendor.delivered < 5:
        await asyncio.sleep(0.02)
    held = await pool.fetchval("select held_nusd from kaixu.reservation")
    first.kill()
    await asyncio.gather(call, return_exceptions=True)
    await books_close(pool)
    assert await pool.fetchval("select cost_nusd from kaixu.usage_event where end_reason = 'lost'") == held


Own = Callable[[], Awaitable[tuple[EmbeddedPostgres, str]]]


@pytest.fixture
async def own_postgres() -> AsyncIterator[tuple[EmbeddedPostgres, str]]:
    """A Postgres of this test's own, to be killed.

    Not below `tmp_path`: each start of pytest closes that folder to others, and Postgres runs as a user of its own.
    """
    home = Path(tempfile.mkdtemp(prefix="kaixu-tests-", dir=memory()))
    home.chmod(0o755)
    embedded = EmbeddedPostgres(home)
    dsn = await asyncio.to_thread(embedded.start)
    connection = await asyncpg.connect(dsn)
    await migrate(connection)
    await connection.close()
    yield embedded, dsn
    await asyncio.to_thread(embedded.revive)
    await asyncio.to_thread(embedded.server.cleanup)
    shutil.rmtree(home, ignore_errors=True)


def kill_postgres(embedded: EmbeddedPostgres) -> None:
    """kill -9 of the postmaster and all its children; returns once they are gone or zombies.

    While the kernel still ends the postmaster, it looks as if it ran, and nobody would start another.
    """
    postmaster = int((embedded.folder / "postmaster.pid").read_text().splitlines()[0])
    children: list[Any] = embedded.server.get_postmaster_info().process.children(recursive=True)
    os.kill(postmaster, signal.SIGKILL)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):  # it may have followed its parent
            child.kill()
    killed = [postmaster, *(child.pid for child in children)]
    while any(is_running(number) for number in killed):
        time.sleep(0.01)


@pytest.mark.parametrize("gateway_too", [False, True], ids=["postgres", "postgres-and-gateway"])
async def test_postgres_killed_under_load_loses_no_answered_call(
    gateway_too: bool,
    own_postgres: tuple[EmbeddedPostgres, str],
    tmp_path: Path,
    http: aiohttp.ClientSession,
    vendor: Vendor,
) -> None:
    embedded, dsn = own_postgres
    gateway = Process(tmp_path / "gateway", dsn, config_for(vendor.url, *MODELS, gateway="reservation_s: 3"))
    await gateway.start()
    pool = await open_pool(dsn)
    try:
        _, key = await virtual_key(pool, await customer(pool))
        client = Client(http, gateway.url, key)
        whole: set[str] = set()
        stop = asyncio.Event()
        counter = iter(range(10**9))

        async def load() -> None:
            while not stop.is_set():
                done = await answered(client, next(counter))
                if done is None:
                    await asyncio.sleep(0.05)
                else:
                    whole.add(done)

        loads = [asyncio.ensure_future(load()) for _ in range(12)]
        await until(lambda: len(whole) > 20)
        kill_postgres(embedded)
        if gateway_too:
            gateway.kill()
        await asyncio.sleep(1.0)
        if not gateway_too:
            status, body = await client.chat()
            assert (status, body["code"]) == (503, "DATABASE_AWAY")
            async with http.get(f"{gateway.url}/api/health") as response:
                assert response.status == 503
                assert "retry-after" in response.headers
        await asyncio.to_thread(embedded.revive)
        if gateway_too:
            await gateway.start()
        before = len(whole)
        await until(lambda: len(whole) > before + 20)
        stop.set()
        await asyncio.gather(*loads)
        await pool.expire_connections()
        await books_close(pool)
        await assert_answered_are_billed_once(pool, whole)
        assert not list((gateway.home / "spool").glob("*.jsonl"))
    finally:
        await gateway.stop()
        pool.terminate()


async def test_a_call_that_was_running_while_the_database_was_away_is_billed_when_it_is_back(
    own_postgres: tuple[EmbeddedPostgres, str], tmp_path: Path, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    embedded, dsn = own_postgres
    gateway = Process(tmp_path / "gateway", dsn, config_for(vendor.url, *MODELS, gateway="reservation_s: 4"))
    await gateway.start()
    pool = await open_pool(dsn)
    try:
        _, key = await virtual_key(pool, await customer(pool))
        call = asyncio.ensure_future(Client(http, gateway.url, key).stream("stream-50-5"))
        while vendor.delivered < 5:
            await asyncio.sleep(0.01)
        kill_postgres(embedded)
        _, frames = await call
        assert frames[-1][0] == "done"
        assert frames[-1][1]["usage"]["output_tokens"] == 50
        assert list((gateway.home / "spool").glob("*.jsonl"))
        await asyncio.to_thread(embedded.revive)
        await pool.expire_connections()
        for _ in range(100):
            if not list((gateway.home / "spool").glob("*.jsonl")):
                break
            await asyncio.sleep(0.1)
        await books_close(pool)
        rows = await pool.fetch("select end_reason, output_tokens from kaixu.usage_event")
        assert [tuple(row) for row in rows] == [("complete", 50)]
    finally:
        await gateway.stop()
        pool.terminate()
