"""Measures for bench/MONITOR.md: how soon viewers of the monitor see an event, and how often the database is asked.

`python -m bench.tail`, or `make bench-tail`.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path

import aiohttp
import asyncpg
import psutil
from prometheus_client.parser import text_string_to_metric_families

from bench.load import table
from kaixu.ops.events import Monitor
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.events import write_events
from kaixu.store.pool import open_pool
from tests.support.monitor import event, operator_headers
from tests.support.process import Process

HERE = Path(__file__).parent
GATEWAYS, VIEWERS, WRITERS = 2, 20, 2
RATE = int(os.environ.get("BENCH_EVENTS_PER_S", "500"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "30"))
CONFIG = "lanes:\n  echo:\n    plugin: echo\n    models:\n      chat: {type: chat, price: {input: 1, output: 2}}\n"


class TimedViewer:
    """Notes when each piece of a stream came; it is parsed after the measurement, so that parsing delays nobody."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.pieces: list[tuple[float, bytes]] = []
        self.delays_s: list[float] = []
        self.numbers: list[int] = []
        self.ids: list[int] = []

    async def watch(self, count: int) -> None:
        """Read until `count` events have come."""
        events = 0
        async for piece in self.response.content.iter_any():
            self.pieces.append((time.time(), piece))
            events += piece.count(b"event: event")
            if events >= count:
                return

    def parse(self) -> None:
        """Fill in what came, and how long after its recording."""
        buffer = b""
        for came, piece in self.pieces:
            *frames, buffer = (buffer + piece).split(b"\n\n")
            for frame in frames:
                fields = dict(line.split(b": ", 1) for line in frame.split(b"\n"))
                if fields[b"event"] != b"event":
                    continue
                data = json.loads(fields[b"data"])
                number, recorded = data["error_message"].split()
                self.numbers.append(int(number))
                self.ids.append(data["id"])
                self.delays_s.append(came - float(recorded))


@asynccontextmanager
async def opened(http: aiohttp.ClientSession, gateway: Process) -> AsyncIterator[TimedViewer]:
    """A viewer whose stream has begun."""
    async with http.get(f"{gateway.url}/api/admin-monitor-stream", headers=operator_headers()) as response:
        assert response.status == 200
        await response.content.readuntil(b"\n\n")  # hello
        yield TimedViewer(response)


async def write(monitors: list[Monitor], count: int) -> None:
    """Record `count` events in turn, at the rate."""
    began = time.monotonic()
    for number in range(count):
        wait_s = began + number / RATE - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        monitors[number % len(monitors)].record(event(f"{number} {time.time()}", kind="slow", level="warn"))


async def queries(http: aiohttp.ClientSession, gateway: Process) -> float:
    """The queries that a gateway has made for its viewers, by its own count."""
    async with http.get(f"{gateway.url}/metrics", headers=operator_headers()) as response:
        families = text_string_to_metric_families(await response.text())
    return next(
        one.value for family in families for one in family.samples if one.name == "kaixu_monitor_tail_queries_total"
    )


async def measure(dsn: str, pool: asyncpg.Pool, folder: Path) -> str:
    """Run it, and return the page's table."""
    gateways = [Process(folder / f"gateway{at}", dsn, CONFIG) for at in range(GATEWAYS)]
    for gateway in gateways:
        await gateway.start()
    monitors = [Monitor(lambda events, batch: write_events(pool, events, batch)) for _ in range(WRITERS)]
    writers = [asyncio.ensure_future(monitor.run()) for monitor in monitors]
    connector = aiohttp.TCPConnector(limit=0)
    count = RATE * SECONDS
    async with (
        aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(None)) as http,
        AsyncExitStack() as streams,
    ):
        viewers = [await streams.enter_async_context(opened(http, gateways[at % GATEWAYS])) for at in range(VIEWERS)]
        before = [await queries(http, gateway) for gateway in gateways]
        used = [psutil.Process(gateway.process.pid).cpu_times() for gateway in gateways if gateway.process]
        began = time.monotonic()
        await asyncio.gather(write(monitors, count), *(viewer.watch(count) for viewer in viewers))
        took_s = time.monotonic() - began
        after = [await queries(http, gateway) for gateway in gateways]
        later = [psutil.Process(gateway.process.pid).cpu_times() for gateway in gateways if gateway.process]
    for writer in writers:
        writer.cancel()
    for gateway in gateways:
        await gateway.stop()
    for viewer in viewers:
        viewer.parse()
    delays = sorted(delay for viewer in viewers for delay in viewer.delays_s)
    missed = sum(count - len(set(viewer.numbers)) for viewer in viewers)
    twice = sum(len(viewer.numbers) - len(set(viewer.numbers)) for viewer in viewers)
    unordered = sum(later < earlier for viewer in viewers for earlier, later in pairwise(viewer.ids))
    cpu = max(b.user + b.system - a.user - a.system for a, b in zip(used, later, strict=True)) / took_s
    rows = [
        ["events, each seen by each viewer", f"{count:,}", ""],
        ["missed, over all viewers", str(missed), "0"],
        ["seen twice", str(twice), "0"],
        ["out of order", str(unordered), "0"],
        ["from recording to a viewer, median", f"{statistics.median(delays) * 1000:.0f} ms", ""],
        ["… 99 %", f"{delays[len(delays) * 99 // 100] * 1000:.0f} ms", ""],
        ["… longest", f"{delays[-1] * 1000:.0f} ms", "≤ 1,000 ms"],
        [
            "queries per second of one process, for all its viewers",
            f"{max(b - a for a, b in zip(before, after, strict=True)) / took_s:.1f}",
            "≤ 10, not per viewer",
        ],
        ["processor of one gateway for its 10 viewers", f"{cpu * 100:.0f} % of a core", ""],
    ]
    return table([["measure", "measured", "target"], *rows])


async def main() -> None:
    """Measure, and write the page."""
    with tempfile.TemporaryDirectory(prefix="kaixu-bench-") as folder:
        Path(folder).chmod(0o755)
        embedded = EmbeddedPostgres(Path(folder) / "database")
        dsn = embedded.start()
        gateway = Process(Path(folder) / "first", dsn, CONFIG)
        await gateway.start()  # migrates
        await gateway.stop()
        pool = await open_pool(dsn)
        figures = await measure(dsn, pool, Path(folder))
        await pool.close()
        embedded.server.cleanup()
    page = f"""# The monitor's live tail

`make bench-tail` wrote this page: {VIEWERS} viewers of {GATEWAYS} gateways, {RATE} events a second from {WRITERS}
writers, {SECONDS} s long, on {os.cpu_count()} cores of {platform.machine()} with Python {platform.python_version()}.
Writers, viewers, gateways and Postgres share the machine.

{figures}

A writer collects events for 0.2 s before it writes them, and a gateway waits 0.1 s after a query before it makes the
next one; both are in the times above.
"""
    (HERE / "MONITOR.md").write_text(page)
    print(page)


if __name__ == "__main__":
    asyncio.run(main())
