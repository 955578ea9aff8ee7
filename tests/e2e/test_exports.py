"""Exports from a running gateway: clients that leave, a database that ends the query, many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from kaixu.accounts.demo import seed_demo
from tests.support.process import SECRETS, Process

CONFIG = "lanes: {local: {plugin: echo, models: {local-chat: {type: chat, price: {input: 1, output: 2}}}}}"
ALL = "customer_id=all&from=2000-01-01&limit=all&columns=request_id,created_at,customer_id,model,provider,ticket"
ACTIVE = (
    "select pid from pg_stat_activity where query ilike 'copy%' and state = 'active' and datname = current_database()"
)
EVENTS = 30_000


@pytest.fixture
async def gateway(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[Process]:
    """A gateway with more calls than the buffers between it and a client hold."""
    await seed_demo(pool, customers=50, events=EVENTS, seed=1, force=False, progress=lambda _: None)
    await pool.execute("update kaixu.usage_event set request_id = request_id || repeat('x', 300)")
    process = await Process(tmp_path / "home", dsn, CONFIG, KAIXU_ADMIN_PASSWORD_HEADER="1").start()
    try:
        yield process
    finally:
        await process.stop()


async def log_in(http: aiohttp.ClientSession, gateway: Process) -> dict[str, str]:
    """An operator's headers."""
    async with http.post(f"{gateway.url}/api/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]}) as response:
        return {"authorization": f"Bearer {(await response.json())['token']}"}


async def until(pool: asyncpg.Pool, running: bool) -> list[int]:
    """Wait until an export runs in the database, or none does; the processes."""
    async with asyncio.timeout(30):
        while True:
            found = [row["pid"] for row in await pool.fetch(ACTIVE)]
            if bool(found) == running:
                return found
            await asyncio.sleep(0.02)


async def test_exports_of_a_running_gateway(gateway: Process, pool: asyncpg.Pool) -> None:
    url = f"{gateway.url}/api/admin-export?{ALL}"
    # A connection for each request: one that has read a whole file may hold the next one whole in its buffers.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, read_bufsize=2**12) as http:
        headers = await log_in(http, gateway)

        # Whole: every row, and the count as the last line.
        async with http.get(url, headers=headers) as response:
            lines = (await response.text()).splitlines()
        assert response.status == 200
        assert lines[-1] == f"# rows: {EVENTS} (days of UTC)"
        assert len(lines) == EVENTS + 2
        times = [line.split(",")[1] for line in lines[1:-1]]
        assert times == sorted(times)

        # Who leaves ends the query; the connection is used again.
        response = await http.get(url, headers=headers)
        await response.content.read(1000)
        assert await until(pool, running=True)

        # Meanwhile a second one waits for its turn, and is then refused by name.
        async with http.get(url, headers=headers) as second:
            assert second.status == 503
            assert (await second.json())["code"] == "OVERLOADED"
            assert "retry-after" in second.headers
        response.close()
        await until(pool, running=False)

        broken = ""
        # Where the database ends the query, the file says that it is not whole, and so does the connection.
        response = await http.get(url, headers=headers)
        read = await response.content.read(1000)
        [pid] = await until(pool, running=True)
        assert await pool.fetchval("select pg_terminate_backend($1)", pid)
        try:
            while piece := await response.content.readany():
                read += piece
        except aiohttp.ClientPayloadError as error:
            broken = str(error)
        assert "not completed" in broken
        last = read.splitlines()[-1]
        assert last.startswith(b"# rows: ")
        assert last.endswith(b"-partial")
        assert read.endswith(b"-partial\n")

        # All of it leaves the gateway as it was.
        async with http.get(f"{url}&limit=3".replace("limit=all&", ""), headers=headers) as response:
            assert (await response.text()).endswith("# rows: 3 (limit reached; days of UTC)\n")
    assert "Traceback" not in gateway.log.read_text()
