"""Measures for bench/RESULTS.md: the gateway, a bare proxy and other gateways, same upstream and load, in one run.

Needs `wrk` and `nginx` (Debian: wrk, nginx-light). Everything runs on this machine's loopback; each measurement is
bounded in time and the run ends by itself. While developing: `BENCH_SECONDS=2 BENCH_ROUNDS=1 BENCH_MEMORY_CALLS=5000
BENCH_OTHERS=0`; `BENCH_OTHERS=0` leaves out the other gateways.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import aiohttp
import psutil

from bench.beside import Loads, beside
from bench.load import ROUNDS, SECONDS, Load, python, table, wait_for, wrk
from bench.processes import two_processes
from bench.rolling import restarts
from bench.stage import PLAIN, Gateway, Stage, config, cpu_s, stage
from tests.support.process import free_port
from tests.support.vendor import Vendor

HERE = Path(__file__).parent
WITH_OTHERS = os.environ.get("BENCH_OTHERS", "1") != "0"
CALLS_FOR_MEMORY = int(os.environ.get("BENCH_MEMORY_CALLS", "200000"))
NAMES = {"hypercorn": "ours on Hypercorn", "granian": "ours on Granian"}


class Figure(NamedTuple):
    """One line of "What it must show"."""

    measure: str
    target: str
    measured: str


#: Measurements of several gateways, each with a stage of its own: "two processes", "restart of one of two gateways".
#: They run last, when nothing else runs, and add their lines to the table.
FURTHER: list[Callable[[], Awaitable[list[Figure]]]] = []


async def more_processes() -> list[Figure]:
    """Two worker processes against one; writes bench/PROCESSES.md, too."""
    return [Figure(*line) for line in await two_processes()]


async def restarted_gateways() -> list[Figure]:
    """Two gateways behind nginx, of which one is restarted, or both; writes bench/ROLLING.md, too."""
    return [Figure(*line) for line in await restarts()]


FURTHER += [more_processes, restarted_gateways]


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


async def load(url: str, key: str, connections: int, seconds: int = SECONDS) -> Load:
    """Plain calls of `/v1/chat/completions`."""
    return await asyncio.to_thread(wrk, f"{url}/v1/chat/completions", connections, key, seconds, "openai.lua", **PLAIN)


async def cpu_a_call(here: Stage, gateway: Gateway) -> tuple[float, float]:
    """Microseconds of processor of the gateway, and of Postgres, for a plain call at 32 connections."""
    await load(gateway.url, here.key, 32, 2)
    before = cpu_s(gateway.pid), cpu_s(here.postgres)
    calls = (await load(gateway.url, here.key, 32)).rate * SECONDS
    used = cpu_s(gateway.pid) - before[0], cpu_s(here.postgres) - before[1]
    return used[0] / calls * 1e6, used[1] / calls * 1e6


async def deltas_a_core(here: Stage, gateway: Gateway) -> tuple[float, float, float]:
    """Deltas a second of the gateway's own processor, those seen, and the spread of the finish times."""
    vendor = Vendor()
    await gateway.stop()
    await vendor.start()
    gateway.config.write_text(gateway.config.read_text().replace(here.upstream, vendor.url.removesuffix("/v1")))
    await gateway.start()
    process = psutil.Process(gateway.pid)
    before = sum(process.cpu_times()[:2])
    measured = [await streams(f"{gateway.url}/api/gateway-stream", here.key) for _ in range(ROUNDS)]
    used_s = sum(process.cpu_times()[:2]) - before
    await vendor.stop()
    await gateway.stop()
    gateway.config.write_text(f"gateway: {{server: {gateway.home.name}}}\n" + config(here.upstream))
    await gateway.start()
    seen, spread = (statistics.median(column) for column in zip(*measured, strict=True))
    return ROUNDS * 200 * 50 / used_s, seen, spread


async def memory_after_calls(here: Stage, gateway: Gateway) -> tuple[float, float, int]:
    """Megabytes (RSS) of a gateway after its first calls, and after many; how many."""
    process = psutil.Process(gateway.pid)
    began = await counted_calls(here)
    await load(gateway.url, here.key, 64, 2)
    first = process.memory_info().rss
    while (calls := await counted_calls(here) - began) < CALLS_FOR_MEMORY:
        await load(gateway.url, here.key, 64, 10)
    row = await here.pool.fetchrow(
        "select (select sum(spent_nusd) from kaixu.customer_month)::bigint, (select sum(cost_nusd) from kaixu.usage_event)::bigint"
    )
    assert row is not None
    assert row[0] == row[1]
    return first / 2**20, process.memory_info().rss / 2**20, calls


async def counted_calls(here: Stage) -> int:
    """How many calls are settled."""
    return int(await here.pool.fetchval("select coalesce(sum(calls), 0) from kaixu.customer_month"))


def ratio(loads: Loads, connections: int, one: str, other: str) -> str:
    """The median of the ratios by round of plain calls a second."""
    of = loads["plain", connections]
    if one not in of or other not in of:
        return "not measured"
    return f"{statistics.median(a.rate / b.rate for a, b in zip(of[one], of[other], strict=True)):.2f}×"


def median(loads: Loads, connections: int, name: str, what: str) -> float:
    """The median of one figure of plain calls."""
    return float(statistics.median(getattr(one, what) for one in loads["plain", connections][name]))


async def main() -> None:
    """Measure and write."""
    figures: list[Figure] = []
    async with stage() as here:
        bare_port = free_port()
        bare = subprocess.Popen(
            [sys.executable, str(HERE / "bare_proxy.py"), str(bare_port), here.upstream],
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )
        gateways = {name: here.gateway(name, f"gateway: {{server: {name}}}\n") for name in NAMES}
        try:
            for gateway in gateways.values():
                await gateway.start()
            bare_url = f"http://127.0.0.1:{bare_port}"
            await wait_for(f"{bare_url}/v1/chat/completions")
            urls = {NAMES[name]: gateway.url for name, gateway in gateways.items()}
            others, loads = await beside(urls, bare_url, here.key, here.upstream, with_others=WITH_OTHERS)
            figures += compared(loads)
            for name, gateway in gateways.items():
                cpu, of_postgres = await cpu_a_call(here, gateway)
                target = "≤ 400 µs" if name == "granian" else ""
                measured = f"{cpu:.0f} µs, Postgres {of_postgres:.0f} µs"
                figures.append(Figure(f"processor a plain call, {NAMES[name]}", target, measured))
            for name, gateway in gateways.items():
                a_core, seen, spread = await deltas_a_core(here, gateway)
                measured = f"{a_core:,.0f}; {seen:,.0f} seen, finish times within {spread:.2f}×"
                figures.append(Figure(f"streams, deltas a second and core, {NAMES[name]}", "≥ 12,000", measured))
            for name, gateway in gateways.items():
                first, last, calls = await memory_after_calls(here, gateway)
                measured = f"{last:.0f} MB after {calls:,} calls, {first:.0f} MB after the first"
                figures.append(Figure(f"memory, {NAMES[name]}", "< 110 MB after 200,000 calls", measured))
        finally:
            for gateway in gateways.values():
                await gateway.stop()
            bare.terminate()
            bare.wait(30)
    for measure in FURTHER:
        figures += await measure()
    write(figures, others)
    sys.stdout.write(json.dumps([figure._asdict() for figure in figures], indent=1, ensure_ascii=False) + "\n")


def compared(loads: Loads) -> list[Figure]:
    """The lines about plain calls beside the bare proxy and others."""
    on_hypercorn, on_granian = NAMES["hypercorn"], NAMES["granian"]
    figures = [
        Figure("32 connections, Granian / Portkey", "≥ 1.0×", ratio(loads, 32, on_granian, "Portkey")),
        Figure("32 connections, Granian / LiteLLM", "≥ 20×", ratio(loads, 32, on_granian, "LiteLLM")),
        Figure("32 connections, Hypercorn / bare proxy", "≥ 0.90×", ratio(loads, 32, on_hypercorn, "bare proxy")),
    ]
    for name in (on_granian, on_hypercorn):
        figures.append(
            Figure(f"p99 at 128 connections, {name}", "≤ 80 ms", f"{median(loads, 128, name, 'p99_ms'):.1f} ms")
        )
    for name in (on_granian, on_hypercorn):
        added_ms = median(loads, 1, name, "p50_ms") - median(loads, 1, "bare proxy", "p50_ms")
        figures.append(
            Figure(f"added at one client over the bare proxy (p50), {name}", "≤ 1.2 ms", f"{added_ms:.2f} ms")
        )
    return figures


def write(figures: list[Figure], others: str) -> None:
    """bench/RESULTS.md."""
    (HERE / "RESULTS.md").write_text(
        f"""# Results

Written by `make bench` on {time.strftime("%Y-%m-%d")}: {os.cpu_count()} cores, {python()}; load generator (wrk),
upstream (nginx, a fixed chat completion), Postgres (embedded, `fsync` on) and gateway all on this machine.
{ROUNDS} rounds of {SECONDS} s for each figure, all gateways in turn; medians, and the median of the ratios by round.

The bare proxy is Quart on Hypercorn with aiohttp as its client and no enforcement (`bench/bare_proxy.py`). Ours has
everything on: key, allowlist, seat, RPM, RPD, customer and key cap, durable settlement; one process.

## What it must show

{table([["measure", "target", "measured"], *([*figure] for figure in figures)])}

## Beside other gateways

`/v1/chat/completions`, one worker each. Ours has everything on; LiteLLM's proxy runs without its database and without
keys, Portkey's gateway has neither (`bench/beside.py`). Portkey 1.15 answers every streamed call with 500 here (it
changes headers that Node holds immutable), so it can be compared by plain calls only.

{others}
"""
    )


if __name__ == "__main__":
    asyncio.run(main())
