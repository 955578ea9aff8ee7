"""`kaixu trace`, `kaixu jobs` and `kaixu work`, as an operator runs them."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from tests.e2e.conftest import MODELS, Start, http, start, vendor
from tests.support.kaixu import start_kaixu
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Client, Process, config_for
from tests.support.vendor import Vendor

__all__ = ["http", "start", "vendor"]

FALLBACK = "deployments: [{upstream: status-500, name: main}, {upstream: ok, name: spare, priority: 1}]"


async def traced(process: Process, request_id: str) -> list[dict[str, str]]:
    """What `kaixu trace --json` says."""
    said = await process.command("trace", request_id, "--json")
    assert said.returncode == 0, said.stderr
    steps: list[dict[str, str]] = json.loads(said.stdout)
    return steps


async def test_the_life_of_a_call_that_fell_over_is_told_step_by_step(
    tmp_path: Path, dsn: str, http: aiohttp.ClientSession, pool: asyncpg.Pool, vendor: Vendor
) -> None:
    process = Process(tmp_path / "gateway", dsn, config_for(vendor.url, "m", model=FALLBACK))
    await process.start()
    key = (await virtual_key(pool, await customer(pool)))[1]
    client = Client(http, process.url, key, **{"x-kaixu-request-id": "one-call"})
    assert (await client.chat("m"))[0] == 200
    async with asyncio.timeout(30):
        while len(steps := await traced(process, "one-call")) < 5:  # the monitor writes a little later
            await asyncio.sleep(0.1)
    said = [(step["what"], step["detail"]) for step in steps]
    assert [what for what, _ in said] == ["admitted", "try 1", "try 2", "first output", "settled"]
    assert said[1][1].startswith("main: failed, UPSTREAM_ERROR after ")
    assert said[2][1].startswith("spare: answered after ")
    assert said[4][1] == "complete: 14 in, 4 out (provider); $0.000022, vendor $0.000011"
    assert sorted(step["at"] for step in steps) == [step["at"] for step in steps]
    plain = await process.command("trace", "one-call")
    assert "main: failed, UPSTREAM_ERROR" in plain.stdout
    unknown = await process.command("trace", "nothing-of-the-kind")
    assert (unknown.returncode, "there is no request `nothing-of-the-kind`" in unknown.stderr) == (1, True)
    assert await process.stop() == 0


async def test_a_call_that_was_refused_and_one_that_failed_are_told_too(
    start: Start, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    [process] = await start()
    customer_id = await customer(pool)
    key_id, key = await virtual_key(pool, customer_id, rpm_limit=1)
    failing = Client(http, process.url, key, **{"x-kaixu-request-id": "failing"})
    assert (await failing.chat("status-500"))[0] == 502
    assert (await Client(http, process.url, key, **{"x-kaixu-request-id": "refused"}).chat())[0] == 429
    async with asyncio.timeout(10):
        while await pool.fetchval("select count(*) from kaixu.gateway_event") < 3:
            await asyncio.sleep(0.05)
    steps = await traced(process, "failing")
    assert [step["what"] for step in steps] == ["received", "admitted", "try 1", "error"]
    assert len({step["at"] for step in steps}) > 2  # each has its own time
    assert sorted(step["at"] for step in steps) == [step["at"] for step in steps]
    details = [step["detail"] for step in steps]
    assert details[0] == "POST /api/gateway-chat"
    assert details[1] == f"gateway-chat up/status-500, customer {customer_id}, key {key_id}"
    assert details[2].startswith("up: failed, UPSTREAM_ERROR after ")
    assert details[2].endswith(" ms; vendor's error: 500, vendor secret")
    assert details[3].startswith("502 UPSTREAM_ERROR: ")
    received, refused = await traced(process, "refused")
    assert (received["what"], refused["what"]) == ("received", "rate_limited")
    assert refused["detail"].startswith("429 RATE_LIMITED: rate limit reached")
    assert refused["detail"].endswith(f"(gateway-chat up/ok, customer {customer_id}, key {key_id})")
    ticket = await pool.fetchval("select extra ->> 'ticket' from kaixu.gateway_event where kind = 'error'")
    assert await traced(process, ticket) == steps


async def test_jobs_are_worked_by_kaixu_work_and_shown_by_kaixu_jobs(
    start: Start, http: aiohttp.ClientSession, pool: asyncpg.Pool, dsn: str, tmp_path: Path, vendor: Vendor
) -> None:
    [process] = await start(gateway="jobs: {workers: 0}")
    client = Client(http, process.url, (await virtual_key(pool, await customer(pool)))[1])
    ids = []
    for _ in range(3):
        body = {"provider": "up", "model": "ok", "messages": [{"role": "user", "content": "hello"}]}
        async with http.post(f"{process.url}/api/gateway-job-submit", json=body, headers=client.headers) as response:
            ids.append((await response.json())["job_id"])
    assert (await process.command("jobs", "cancel", ids[2])).stdout.strip() == "cancelled"
    for words, expected in (
        (
            ("--status", "done"),
            "`--status` must be one of queued, waiting, blocked, running, succeeded, failed, cancelled",
        ),
        (("--customer", "nobody@example.com"), "there is no customer nobody@example.com"),
    ):
        assert (await process.command("jobs", "list", *words)).stderr.strip() == expected
    rows = json.loads((await process.command("jobs", "list", "--json")).stdout)
    assert sorted(row["status"] for row in rows) == ["cancelled", "queued", "queued"]
    worker = Process(tmp_path / "worker", dsn, config_for(vendor.url, *MODELS))
    with worker.log.open("ab") as log:
        running = start_kaixu("work", environment=worker.environment, out=log)
    try:
        async with asyncio.timeout(30):
            while await pool.fetchval("select count(*) from kaixu.job where status = 'succeeded'") < 2:
                assert running.poll() is None, worker.log.read_text()
                await asyncio.sleep(0.05)
        not_reloaded = await worker.command("reload")
        assert not_reloaded.stderr.splitlines() == [
            f"job workers run with data folder {worker.home} (process {running.pid}), and they do not reload",
            "Stop `kaixu work` and start it again to apply kaixu.yaml.",
        ]
        checked = json.loads((await worker.command("doctor", "--json")).stdout)
        assert [row["detail"] for row in checked if row["what"] == "job workers"] == [
            f"process {running.pid}, data folder {worker.home}"
        ]
    finally:
        running.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(running.wait, 30) == 0, worker.log.read_text()
    shown = json.loads((await process.command("jobs", "show", ids[0], "--json")).stdout)
    assert (shown["status"], shown["cost_usd"], shown["attempts"]) == ("succeeded", "0.000022", 0)
    steps = await traced(process, shown["request_id"])
    assert [step["what"] for step in steps if step["what"] in ("submitted", "started", "settled", "ended")] == [
        "submitted", "started", "settled", "ended",
    ]  # fmt: skip
    await assert_books_balance(pool)


@pytest.mark.parametrize("words", [["work"], ["jobs", "show", "00000000-0000-0000-0000-000000000000"]])
async def test_what_cannot_be_done_is_one_line(start: Start, words: list[str]) -> None:
    [process] = await start()
    environment = {"DATABASE_URL": ""} if words == ["work"] else {}
    said = await process.command(*words, **environment)
    assert said.returncode == 1
    assert len(said.stderr.strip().splitlines()) <= 2
    assert "Traceback" not in said.stderr
