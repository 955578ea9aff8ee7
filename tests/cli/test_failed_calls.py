"""`kaixu failures`: which calls failed, why, and for whom."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.cli.failure import CommandFailed
from kaixu.cli.failures import start_of
from tests.e2e.conftest import Start, http, start, vendor
from tests.support.money import customer, virtual_key
from tests.support.process import Client, Process

__all__ = ["http", "start", "vendor"]


async def listed(process: Process, *options: str) -> dict[str, Any]:
    """What `kaixu failures --json` says."""
    ran = await process.command("failures", *options, "--json")
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


async def test_failures_are_grouped_by_reason_and_place_and_listed_page_by_page(
    start: Start, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    [process] = await start()
    customers = [await customer(pool), await customer(pool)]
    keys = [await virtual_key(pool, customer_id) for customer_id in customers]
    for _, key in keys:
        client = Client(http, process.url, key)
        assert [(await client.chat("status-401"))[0] for _ in range(2)] == [502, 502]
    assert (await Client(http, process.url, keys[0][1]).chat("status-500"))[0] == 502
    assert (await Client(http, process.url, keys[0][1]).chat())[0] == 200
    async with asyncio.timeout(10):
        while await pool.fetchval("select count(*) from kaixu.gateway_event where kind = 'error'") < 5:
            await asyncio.sleep(0.05)

    found = await listed(process)
    groups = [
        (one["calls"], one["customers"], one["code"], one["upstream_status"], one["model"], one["words"])
        for one in found["groups"]
    ]
    assert groups == [
        (4, 2, "UPSTREAM_ERROR", 401, "status-401", "vendor secret"),
        (1, 1, "UPSTREAM_ERROR", 500, "status-500", "vendor secret"),
    ]
    assert (len(found["failures"]), found["next_before_id"]) == (5, None)
    pages: list[dict[str, Any]] = []
    before: tuple[str, ...] = ()
    while True:
        page = await listed(process, "--limit", "2", *before)
        assert page["groups"] == found["groups"]
        pages += page["failures"]
        if page["next_before_id"] is None:
            break
        before = ("--before", str(page["next_before_id"]))
    assert pages == found["failures"]

    of_one = await listed(process, "--customer", str(customers[1]), "--since", "2h")
    assert {one["customer_id"] for one in of_one["failures"]} == {customers[1]}
    assert {one["key_id"] for one in of_one["failures"]} == {keys[1][0]}
    for options in (("--key", str(keys[0][0]), "--model", "status-500"), ("--provider", "up", "--model", "status-500")):
        assert len((await listed(process, *options))["failures"]) == 1
    assert (await listed(process, "--code", "cap_reached"))["groups"] == []
    plain = await process.command("failures", "--model", "status-401", "--limit", "1")
    assert plain.returncode == 0
    assert "up/status-401" in plain.stdout
    assert "more: --before" in plain.stdout
    assert found["failures"][1]["request_id"] in plain.stdout
    none = await process.command("failures", "--since", "2099-01-01")
    assert (none.returncode, none.stdout) == (0, "no call failed since 2099-01-01 00:00:00 UTC\n")
    wrong = await process.command("failures", "--since", "yesterday")
    assert (wrong.returncode, wrong.stderr.splitlines()[0]) == (1, "`--since yesterday` is no time")


def test_since_is_a_time_span_or_a_time() -> None:
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    for text, at in (
        ("30m", datetime(2026, 11, 29, 11, 30, tzinfo=UTC)),
        ("2 h", datetime(2026, 11, 29, 10, tzinfo=UTC)),
        ("7D", datetime(2026, 11, 22, 12, tzinfo=UTC)),
        ("999999w", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2026-11-29T14:05+02:00", datetime(2026, 11, 29, 12, 5, tzinfo=UTC)),
        ("2026-11-29 09:00", datetime(2026, 11, 29, 9, tzinfo=UTC)),
    ):
        assert start_of(text, now) == at
    for text in ("", "0h", "-1h", "h", "1y", "1h30m", "x" * 1000):
        with pytest.raises(CommandFailed):
            start_of(text, now)
