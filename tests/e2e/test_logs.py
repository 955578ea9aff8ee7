"""The log of a gateway: a line for each request, and an outage of the database without a storm of tracebacks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.pool import open_pool
from tests.support.money import customer, virtual_key
from tests.support.process import Client, Process, config_for
from tests.support.vendor import Vendor

from .conftest import MODELS, Start
from .test_crashes import kill_postgres, own_postgres

__all__ = ["own_postgres"]

ACCESS = "kaixu.access"

#: The most lines about an outage, however many calls it fails: one or two for each task that notices it.
MAX_OUTAGE_LINES = 30


def log_of(process: Process) -> list[dict[str, Any]]:
    """The JSON lines of the log; the greeting is on the same output."""
    lines = process.log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.mark.parametrize("server", ["hypercorn", "granian"])
async def test_each_request_is_a_line_with_who_where_and_why_and_nothing_secret(
    start: Start, http: aiohttp.ClientSession, pool: asyncpg.Pool, vendor: Vendor, server: str
) -> None:
    [process] = await start(gateway=f"server: {server}", KAIXU_LOG="json")
    customer_id = await customer(pool)
    key_id, key = await virtual_key(pool, customer_id)
    client = Client(http, process.url, key, **{"x-kaixu-request-id": "good", "x-kaixu-app": "shop"})
    assert (await client.chat())[0] == 200
    broken = Client(http, process.url, key, **{"x-kaixu-request-id": "broken"})
    assert (await broken.stream("cut-3"))[0] == 200
    refused = Client(http, process.url, key, **{"x-kaixu-request-id": "refused"})
    assert (await refused.chat("status-401"))[0] == 502
    stranger = Client(http, process.url, "kx_live_" + "0" * 40, **{"x-kaixu-request-id": "stranger"})
    assert (await stranger.chat())[0] == 401
    async with http.get(f"{process.url}/nowhere?key={key}", headers={"x-kaixu-request-id": "nowhere"}) as response:
        assert response.status == 404
    assert await process.stop() == 0
    lines = {line["request_id"]: line for line in log_of(process) if line["logger"] == ACCESS}
    good = lines["good"]
    assert (good["status"], good["customer_id"], good["key_id"]) == (200, customer_id, key_id)
    assert (good["provider"], good["model"], good["deployment"], good["app"]) == ("up", "ok", "up", "shop")
    assert good["key_last4"] == key[-4:]
    assert good["bytes_in"] > 50
    assert good["bytes_out"] > 50
    assert {name: lines["broken"][name] for name in ("status", "error_code", "level")} == {
        "status": 200,
        "error_code": "UPSTREAM_ERROR",
        "level": "warning",
    }
    assert {name: lines["refused"][name] for name in ("status", "error_code", "upstream_status", "customer_id")} == {
        "status": 502,
        "error_code": "UPSTREAM_ERROR",
        "upstream_status": 401,
        "customer_id": customer_id,
    }
    assert (lines["stranger"]["status"], lines["stranger"].get("customer_id")) == (401, None)
    assert (lines["nowhere"]["status"], lines["nowhere"]["path"]) == (404, "/nowhere")
    log = process.log.read_text()
    for secret in (key, "0" * 40, "hello", "vendor-key", "vendor secret", "127.0.0.1:", "?key"):
        assert secret not in log.replace(process.url, ""), secret


async def test_the_access_log_can_be_switched_off(start: Start, http: aiohttp.ClientSession) -> None:
    [process] = await start(KAIXU_ACCESS_LOG="false")
    async with http.get(f"{process.url}/api/health") as response:
        assert response.status == 200
    assert await process.stop() == 0
    assert ACCESS not in process.log.read_text()


async def test_an_outage_of_the_database_is_a_few_lines_without_tracebacks(
    own_postgres: tuple[EmbeddedPostgres, str], tmp_path: Path, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    embedded, dsn = own_postgres
    process = Process(tmp_path / "gateway", dsn, config_for(vendor.url, *MODELS), KAIXU_LOG="json")
    await process.start()
    pool = await open_pool(dsn)
    try:
        _, key = await virtual_key(pool, await customer(pool))
        client, statuses, stop = Client(http, process.url, key), list[int](), asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                statuses.append((await client.chat())[0])
                if statuses[-1] != 200:
                    await asyncio.sleep(0.01)

        async def until(status: int, count: int) -> None:
            begin = len(statuses)
            async with asyncio.timeout(60):
                while statuses[begin:].count(status) < count:
                    await asyncio.sleep(0.02)

        loads = [asyncio.ensure_future(load()) for _ in range(8)]
        await until(200, 30)
        kill_postgres(embedded)
        await until(503, 1000)
        await asyncio.to_thread(embedded.revive)
        await until(200, 30)
        stop.set()
        await asyncio.gather(*loads)
    finally:
        assert await process.stop() == 0
        pool.terminate()
    lines = log_of(process)
    assert sum(line["logger"] == ACCESS and line["status"] == 503 for line in lines) >= 1000
    about = [line for line in lines if line["logger"] != ACCESS]
    told = "\n".join(f"{line['logger']}: {line['event']} {line.get('exception', '')}" for line in about)
    assert len(about) <= MAX_OUTAGE_LINES, told
    assert "Traceback" not in told, told
    assert "the database is back" in told
