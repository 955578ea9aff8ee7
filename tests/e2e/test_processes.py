"""Several worker processes behind one port: what is exact stays exact, and a worker, or all of them, can be replaced."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kaixu.gateway.claim import About, read_about
from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.postgres_proxy import PostgresProxy
from tests.support.process import Client, Process, config_for
from tests.support.vendor import Vendor

from .conftest import MODELS, Start

TOKEN = "metrics-token-for-tests"
FEW = "database: {money: 2, general: 3, searches: 1, reports: 1}"

#: One call: 14 tokens in at 1, 8 out at 2 USD a million.
COST_NUSD = 14_000 + 8 * 2_000


async def until(found: Callable[[], Any], what: str) -> Any:
    """Wait for a condition."""
    for _ in range(1200):
        if value := found():
            return value
        await asyncio.sleep(0.05)
    raise AssertionError(f"never: {what}")


def about(gateway: Process) -> About:
    """What the gateway says of itself."""
    found = read_about(gateway.home)
    assert found is not None
    return found


def all_serve(gateway: Process, count: int) -> About | None:
    """The gateway's description, once all its workers serve."""
    found = read_about(gateway.home)
    states = [] if found is None else [one.state for one in found.workers]
    return found if states == ["ready"] * count else None


async def serving(gateway: Process, count: int) -> About:
    """Wait until all workers serve."""
    return await until(lambda: all_serve(gateway, count), f"{count} workers serve")  # type: ignore[no-any-return]


async def figures(http: aiohttp.ClientSession, gateway: Process) -> dict[str, list[tuple[dict[str, str], float]]]:
    """The metrics of one scrape, which any worker answers: labels and values, by name."""
    async with http.get(f"{gateway.url}/metrics", headers={"authorization": f"Bearer {TOKEN}"}) as response:
        assert response.status == 200
        text = await response.text()
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


async def health(http: aiohttp.ClientSession, gateway: Process) -> dict[str, Any]:
    """One answer of /api/health."""
    async with http.get(f"{gateway.url}/api/health") as response:
        body: dict[str, Any] = await response.json()
        return body


async def test_caps_and_rates_are_exact_and_any_worker_tells_the_figures_of_all(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1, gateway=f"processes: 3, {FEW}", METRICS_TOKEN=TOKEN)
    await serving(gateway, 3)
    cap = COST_NUSD * 10
    customer_id = await customer(pool, cap_nusd=cap)
    _, key = await virtual_key(pool, customer_id)
    client = Client(http, gateway.url, key)
    calls = await asyncio.gather(*(client.chat("stream-8-0", max_tokens=8) for _ in range(90)))
    statuses = [status for status, _ in calls]
    assert set(statuses) == {200, 402}
    spent, held = await spent_and_held(pool, customer_id)
    assert spent <= cap
    assert held == 0
    _, limited = await virtual_key(pool, await customer(pool), rpm_limit=7)
    rated = await asyncio.gather(*(Client(http, gateway.url, limited).chat("ok") for _ in range(40)))
    assert sorted(status for status, _ in rated) == [200] * 7 + [429] * 33
    settled = statuses.count(200) + 7
    for _ in range(6):
        found = await figures(http, gateway)
        assert sum(value for labels, value in found["kaixu_calls_total"] if labels["end"] == "complete") == settled
        histogram = [
            value for labels, value in found["kaixu_vendor_try_seconds_count"] if labels["outcome"] == "answered"
        ]
        assert sum(histogram) == settled
        assert [labels for labels, _ in found["kaixu_calls_limit"]] == [{"worker": str(slot)} for slot in range(3)]
        assert [labels for labels, _ in found["kaixu_jobs_waiting"]] == [{}]
        assert ({"state": "ready"}, 3) in found["kaixu_workers"]
    await assert_books_balance(pool)
    doctor = await gateway.command("doctor", "--json")
    rows = {row["what"]: row for row in json.loads(doctor.stdout)}
    assert [rows[f"worker {slot}"]["state"] for slot in range(3)] == ["ok"] * 3


async def loop_of_calls(client: Client, results: list[int], stop: asyncio.Event) -> None:
    """One call after the other, each on a connection of its own."""
    while not stop.is_set():
        try:
            status, _ = await client.chat("stream-8-0", max_tokens=8)
        except (aiohttp.ClientError, OSError):
            status = 0
        results.append(status)


async def with_load(client: Client, work: Callable[[], Awaitable[None]]) -> list[int]:
    """Do something under a loop of calls; their statuses."""
    results: list[int] = []
    stop = asyncio.Event()
    loops = [asyncio.ensure_future(loop_of_calls(client, results, stop)) for _ in range(6)]
    try:
        await until(lambda: len(results) > 10, "calls run")
        await work()
        before = len(results)
        await until(lambda: len(results) > before + 20, "calls still run")
    finally:
        stop.set()
        await asyncio.gather(*loops)
    return results


@pytest.mark.parametrize("server", ["hypercorn", "granian"])
async def test_a_killed_worker_is_replaced_and_a_restart_of_all_loses_no_call(
    server: str, start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1, gateway=f"processes: 2, server: {server}, reservation_s: 2, {FEW}", METRICS_TOKEN=TOKEN)
    before = await serving(gateway, 2)
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    client = Client(http, gateway.url, key)

    # kill -9 of one worker, with streams in both: its own end, and their holds are released; the other goes on.
    streams = [asyncio.ensure_future(client.stream("stream-3000-20", max_tokens=3000)) for _ in range(12)]
    await held(pool, 12)
    os.kill(before.workers[1].pid, signal.SIGKILL)
    await until(lambda: all_serve(gateway, 2) and about(gateway).workers[1].pid != before.workers[1].pid, "replaced")
    assert about(gateway).workers[0].pid == before.workers[0].pid
    for stream in streams:
        stream.cancel()
    await asyncio.wait(streams)
    await held(pool, 0)
    await assert_books_balance(pool)
    found = await figures(http, gateway)
    assert found["kaixu_worker_restarts_total"] == [({}, 1)]

    async def restart() -> None:
        done = await gateway.command("restart", "--wait", "120")
        assert done.returncode == 0, done.stderr + gateway.log.read_text()

    between = about(gateway)
    statuses = await with_load(client, restart)
    assert set(statuses) == {200}
    after = about(gateway)
    assert after.pid == between.pid
    assert not {one.pid for one in after.workers} & {one.pid for one in between.workers}
    await assert_books_balance(pool)

    # A stream that runs when the gateway is told to stop comes to its end.
    last = asyncio.ensure_future(client.stream("stream-50-5", max_tokens=50))
    await held(pool, 1)
    assert await gateway.stop() == 0
    status, frames = await last
    assert (status, frames[-1][0]) == (200, "done")
    await assert_books_balance(pool)


async def test_a_reload_reaches_all_workers_and_a_killed_supervisor_leaves_none(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1, gateway=f"processes: 2, grace_s: 5, {FEW}")
    await serving(gateway, 2)
    good = gateway.config.read_text()
    gateway.config.write_text("lanes: [")
    refused = await gateway.command("reload")
    assert refused.returncode == 1
    assert "kaixu.yaml" in refused.stderr
    gateway.config.write_text(good.replace("processes: 2", "processes: 2, public_prices: true"))
    # One worker is just being started: it reloads when it serves.
    os.kill(about(gateway).workers[0].pid, signal.SIGKILL)
    done = await gateway.command("reload")
    assert done.returncode == 0, done.stderr
    await serving(gateway, 2)
    for _ in range(8):
        async with http.get(f"{gateway.url}/api/public-models") as response:
            assert response.status == 200
    _, key = await virtual_key(pool, await customer(pool))
    client = Client(http, gateway.url, key)
    workers = about(gateway).workers
    running = asyncio.ensure_future(client.stream("stream-50-5", max_tokens=50))
    await held(pool, 1)
    gateway.kill()
    status, frames = await running
    assert (status, frames[-1][0]) == (200, "done")
    await until(lambda: not any(is_alive(one.pid) for one in workers), "workers end")
    assert "Traceback" not in gateway.log.read_text()
    await assert_books_balance(pool)
    gateway.config.write_text(good.replace("processes: 2", "processes: 1"))
    await gateway.start()
    assert about(gateway).workers == []
    single = await gateway.command("restart")
    assert single.returncode == 1
    assert "single process" in single.stderr
    assert (await client.chat())[0] == 200


def is_alive(process: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def test_fewer_workers_settle_what_workers_that_are_gone_have_spooled(
    tmp_path: Path, dsn: str, vendor: Vendor, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    async with PostgresProxy(dsn) as proxy:
        config = config_for(vendor.url, *MODELS, gateway=f"processes: 2, {FEW}")
        gateway = Process(tmp_path / "gateway", proxy.dsn, config)
        await gateway.start()
        before = await serving(gateway, 2)
        customer_id = await customer(pool)
        _, key = await virtual_key(pool, customer_id)
        client = Client(http, gateway.url, key)
        streams = [asyncio.ensure_future(client.stream("stream-200-20", max_tokens=200)) for _ in range(10)]
        await held(pool, 10)
        assert proxy.server is not None
        port = proxy.server.sockets[0].getsockname()[1]
        proxy.server.close()
        for writer in proxy.clients:
            writer.transport.abort()
        ended = await asyncio.gather(*streams)
        assert [(status, frames[-1][0]) for status, frames in ended] == [(200, "done")] * 10
        assert list((gateway.home / "spool").glob("*.jsonl"))
        gateway.kill()
        for one in before.workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        await until(lambda: not any(is_alive(one.pid) for one in before.workers), "workers end")
        gateway.config.write_text(config.replace("processes: 2", "processes: 1"))
        proxy.server = await asyncio.start_server(proxy.serve, "127.0.0.1", port)
        await gateway.start()
        await until(lambda: not list((gateway.home / "spool").glob("*.jsonl")), "the spool is settled")
        assert await spent_and_held(pool, customer_id) == (10 * (14_000 + 200 * 2_000), 0)
        await assert_books_balance(pool)
        await gateway.stop()


async def held(pool: asyncpg.Pool, count: int) -> None:
    """Wait until so many calls are in flight."""
    for _ in range(1200):
        if await pool.fetchval("select count(*) from kaixu.reservation") == count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never: {count} calls in flight")


@pytest.mark.parametrize(
    ("words", "gateway", "told"),
    [
        (("--processes", "0"), "", "neither `auto` nor a number from 1 to 256"),
        (("--processes", "many"), "", "neither `auto` nor a number from 1 to 256"),
        ((), "processes: 0", "must be auto, or a whole number from 1 to 256"),
        ((), "processes: several", "must be auto, or a whole number from 1 to 256"),
    ],
    ids=["option-zero", "option-word", "file-zero", "file-word"],
)
async def test_a_number_of_processes_that_is_none_is_one_clear_error(
    words: tuple[str, ...], gateway: str, told: str, tmp_path: Path, dsn: str
) -> None:
    process = Process(tmp_path, dsn, config_for("http://127.0.0.1:1/v1", "ok", gateway=gateway))
    ended = await process.command("serve", *words)
    assert ended.returncode == 1
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_port_in_use_is_one_clear_error(tmp_path: Path, dsn: str) -> None:
    process = Process(tmp_path, dsn, config_for("http://127.0.0.1:1/v1", "ok", gateway="processes: 2"))
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # also one that would share it
        taken.bind(("127.0.0.1", process.port))
        taken.listen()
        ended = await process.command("serve")
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{process.port}" in ended.stderr
    assert "Traceback" not in ended.stderr
