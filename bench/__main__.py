"""Measures for bench/RESULTS.md: the gateway and a bare proxy with the same upstream and load, in one run.

Needs `wrk` and `nginx` (Debian: wrk, nginx-light). Everything runs on this machine's loopback; each measurement is
bounded in time and the run ends by itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import asyncpg
import psutil

from bench.beside import beside
from bench.load import ROUNDS, SECONDS, nginx, table, wait_for, wrk
from bench.stage import config
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate
from kaixu.store.pool import open_pool
from tests.support.money import customer, virtual_key
from tests.support.process import Process, free_port
from tests.support.vendor import Vendor

HERE = Path(__file__).parent
WITH_OTHERS = os.environ.get("BENCH_OTHERS", "1") != "0"
NOT_MEASURED = "Not measured in this run (`BENCH_OTHERS=0`)."
CALLS_FOR_MEMORY = int(os.environ.get("BENCH_MEMORY_CALLS", "100000"))


async def streams(url: str, key: str, count: int = 200, deltas: int = 50) -> tuple[float, float]:
    """`count` streams at once: deltas a second, and the longest finish over the shortest."""
    body = {
        "provider": "up",
        "model": "stream-50-20",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "hello"}],
    }
    finished: list[float] = []

    async def one(http: aiohttp.ClientSession, start: float) -> None:
        async with http.post(url, json=body, headers={"authorization": f"Bearer {key}"}) as response:
            data = await response.read()
            assert data.count(b"event: delta") == deltas, data[-300:]
            assert b"event: done" in data
        finished.append(time.perf_counter() - start)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        start = time.perf_counter()
        await asyncio.gather(*(one(http, start) for _ in range(count)))
    return count * deltas / max(finished), max(finished) / min(finished)


async def main() -> None:
    """Measure and write."""
    for tool in ("wrk", "nginx"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is needed: apt-get install wrk nginx-light")
    home = Path(tempfile.mkdtemp(prefix="kaixu-bench-"))
    home.chmod(0o755)
    (home / "nginx").mkdir()
    embedded = EmbeddedPostgres(home)
    dsn = embedded.start()
    connection = await asyncpg.connect(dsn)
    await migrate(connection)
    await connection.close()
    pool = await open_pool(dsn)
    customer_id = await customer(pool, cap_nusd=10**15, allowed_providers=["up"], max_devices_per_key=3)
    _, key = await virtual_key(
        pool, customer_id, rpm_limit=10**7, rpd_limit=10**9, monthly_cap_nusd=10**15, max_devices=3
    )
    upstream_process, upstream = nginx(home / "nginx")
    bare_port = free_port()
    bare = subprocess.Popen(
        [sys.executable, str(HERE / "bare_proxy.py"), str(bare_port), upstream],
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    )
    vendor = Vendor()
    gateway = Process(home / "gateway", dsn, config(upstream))
    granian = Process(home / "granian", dsn, "gateway: {server: granian}\n" + config(upstream))
    stdout = sys.stdout
    try:
        await gateway.start()
        await granian.start()
        ours_url = f"{gateway.url}/api/gateway-chat"
        granian_url = f"{granian.url}/api/gateway-chat"
        bare_url = f"http://127.0.0.1:{bare_port}/api/gateway-chat"
        await wait_for(bare_url)
        head = "connections, bare proxy, gateway, gateway / bare, p50 bare, p50 ours, p99 ours, failed, on Granian, its p99"
        rows = [head.split(", ")]
        for connections in (1, 32, 128):
            for url in (bare_url, ours_url, granian_url):
                await asyncio.to_thread(wrk, url, connections, key, 2)  # warm
            pairs = []
            for _ in range(ROUNDS):
                theirs = await asyncio.to_thread(wrk, bare_url, connections, key)
                mine = await asyncio.to_thread(wrk, ours_url, connections, key)
                pairs.append((theirs, mine, await asyncio.to_thread(wrk, granian_url, connections, key)))
            median = statistics.median
            rows.append(
                [
                    str(connections),
                    f"{median(a.rate for a, _, _ in pairs):,.0f}/s",
                    f"{median(b.rate for _, b, _ in pairs):,.0f}/s",
                    f"{median(b.rate / a.rate for a, b, _ in pairs):.0%}",
                    f"{median(a.p50_ms for a, _, _ in pairs):.2f} ms",
                    f"{median(b.p50_ms for _, b, _ in pairs):.2f} ms",
                    f"{median(b.p99_ms for _, b, _ in pairs):.1f} ms",
                    str(sum(b.failed + c.failed for _, b, c in pairs)),
                    f"{median(c.rate for _, _, c in pairs):,.0f}/s",
                    f"{median(c.p99_ms for _, _, c in pairs):.1f} ms",
                ]
            )
            stdout.write(f"{rows[-1]}\n")

        ours = {"ours": gateway.url, "ours on Granian": granian.url}
        others = await beside(ours, key, upstream) if WITH_OTHERS else NOT_MEASURED
        await granian.stop()

        assert gateway.process is not None
        process = psutil.Process(gateway.process.pid)
        counted = await pool.fetchval("select sum(calls) from kaixu.customer_month")
        memory = [process.memory_info().rss]
        while counted < CALLS_FOR_MEMORY:
            await asyncio.to_thread(wrk, ours_url, 64, key, 10)
            counted = await pool.fetchval("select sum(calls) from kaixu.customer_month")
            memory.append(process.memory_info().rss)
        row = await pool.fetchrow(
            "select (select sum(spent_nusd) from kaixu.customer_month)::bigint, (select sum(cost_nusd) from kaixu.usage_event)::bigint"
        )
        assert row is not None
        assert row[0] == row[1]

        await gateway.stop()
        await vendor.start()
        gateway.config.write_text(config(vendor.url.removesuffix("/v1")))
        await gateway.start()
        process = psutil.Process(gateway.process.pid)
        before = sum(process.cpu_times()[:2])
        measured = [await streams(f"{gateway.url}/api/gateway-stream", key) for _ in range(ROUNDS)]
        cpu_s = sum(process.cpu_times()[:2]) - before
        per_core = ROUNDS * 200 * 50 / cpu_s
        await vendor.stop()

        figures = {
            "deltas a second of the gateway's own CPU": f"{per_core:,.0f}",
            "deltas a second seen (generator, stand-in and gateway on two cores)": f"{statistics.median(rate for rate, _ in measured):,.0f}",
            "spread of finish times": f"{statistics.median(spread for _, spread in measured):.2f}×",
            "memory (RSS) after the first calls": f"{memory[0] / 2**20:.0f} MB",
            f"memory after {counted:,} calls": f"{memory[-1] / 2**20:.0f} MB ({memory[-1] / memory[0] - 1:+.1%})",
        }
        write(rows, others, figures)
        stdout.write(json.dumps(figures, indent=1) + "\n")
    finally:
        await gateway.stop()
        await granian.stop()
        for child in (bare, upstream_process):
            child.terminate()
        await pool.close()
        embedded.server.cleanup()
        shutil.rmtree(home, ignore_errors=True)


def write(rows: list[list[str]], others: str, figures: dict[str, str]) -> None:
    """bench/RESULTS.md."""
    (HERE / "RESULTS.md").write_text(
        f"""# Results

Written by `make bench` on {time.strftime("%Y-%m-%d")}: {os.cpu_count()} cores, Python {platform.python_version()}; load generator (wrk),
upstream (nginx, a fixed streamed chat completion), Postgres (embedded, `fsync` on) and gateway all on this machine.
{ROUNDS} rounds of {SECONDS} s for each figure, bare proxy and gateway in turn; medians, and the median of the ratios by round.

The bare proxy is Quart on Hypercorn with the same transport and no enforcement (`bench/bare_proxy.py`). The gateway has
everything on: key, allowlist, seat, RPM, RPD, customer and key cap, durable settlement; one worker process, on Hypercorn
as the bare proxy is, and in the last two columns on Granian (`gateway.server: granian`).

## Chat calls

{table(rows)}

## Beside other gateways

`/v1/chat/completions`, one worker each. Ours has everything on; LiteLLM's proxy runs without its database and without
keys, Portkey's gateway has neither (`bench/beside.py`). Portkey 1.15 answers every streamed call with 500 here (it
changes headers that Node holds immutable), so it can be compared by plain calls only.

{others}

## Streams and memory

200 streams at once of 50 deltas, {ROUNDS} times.

{table([["measure", "figure"], *([name, value] for name, value in figures.items())])}

## The targets

| measure | target |
|---|---|
| calls/s of the bare proxy, 32 and 128 connections | ≥ 75 % |
| calls/s, p99 at 128 connections | ≥ 1,500/s, < 150 ms |
| added latency at one client | ≤ 2.5 ms p50 |
| deltas a second and core; spread of finish times | ≥ 8,000; ≤ 2× |
| memory over 100,000 calls | < 5 % growth, < 150 MB |
| `/v1/chat/completions` beside LiteLLM and Portkey, 32 connections | ≥ 25×, ≥ 1.5× |
| p50 at one client | within 2 ms of Portkey's |
"""
    )


if __name__ == "__main__":
    asyncio.run(main())
