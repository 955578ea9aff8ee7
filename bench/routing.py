"""Measures for bench/ROUTING.md: the savings of the response cache, and the time of a fallback.

`python -m bench.routing`, or `make bench-routing`.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp

from bench.load import table
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.pool import open_pool
from tests.support.dead import DeadVendor
from tests.support.money import customer, virtual_key
from tests.support.process import Client, Process
from tests.support.vendor import Vendor

HERE = Path(__file__).parent
CALLS = 2000
QUESTIONS = 400
FALLS = 40
CONNECT_S, FIRST_BYTE_S = 0.5, 1.0


def config_of(vendor: Vendor, dead: DeadVendor) -> str:
    """A model with a response cache, and one for each kind of failure of its first deployment."""
    price = "price: {input: 1, output: 2}"
    limits = f"timeouts: {{connect_s: {CONNECT_S}, first_byte_s: {FIRST_BYTE_S}}}, breaker: {{failures: 1000}}"
    lanes = [f"  up: {{plugin: openai, base_url: '{vendor.url}', api_key: k, models: {{unused: {{type: chat}}}}}}"]
    models = [
        f"ok: {{type: chat, {price}, cost: {{input: 1, output: 1}}, cache: {{ttl: 1h}}, deployments: [{{lane: up}}]}}"
    ]
    for mode in ("refused", "unreachable", "hanging", "500", "cut"):
        url = dead.url(mode, "openai")
        lanes.append(
            f"  {mode}: {{plugin: openai, base_url: '{url}', api_key: k, {limits}, models: {{unused: {{type: chat}}}}}}"
        )
        models.append(
            f"'{mode}': {{type: chat, {price}, deployments: [{{lane: '{mode}'}}, {{lane: up, upstream: ok, priority: 1}}]}}"
        )
    return (
        "lanes:\n"
        + "\n".join(lanes).replace("  500:", "  '500':")
        + ("\n  front: {plugin: echo, models: {\n    " + ",\n    ".join(models) + " } }\n")
    )


async def main() -> None:
    """Measure, and write the page."""
    vendor = Vendor()
    await vendor.start()
    with tempfile.TemporaryDirectory(prefix="kaixu-bench-") as folder:
        Path(folder).chmod(0o755)
        embedded = EmbeddedPostgres(Path(folder) / "pg")
        dsn = await asyncio.to_thread(embedded.start)
        async with DeadVendor() as dead, aiohttp.ClientSession() as http:
            process = await Process(Path(folder) / "gateway", dsn, config_of(vendor, dead)).start()
            pool = await open_pool(dsn)
            try:
                _, key = await virtual_key(pool, await customer(pool))
                client = Client(http, process.url, key)
                cached = await cache(client, vendor)
                cost = await pool.fetchval("select sum(cost_nusd)::bigint from kaixu.usage_event")
                falls = [
                    await fall_over(client, mode) for mode in ("ok", "refused", "unreachable", "hanging", "500", "cut")
                ]
            finally:
                await process.stop()
                await pool.close()
        await asyncio.to_thread(embedded.server.cleanup)
    await vendor.stop()
    page = [
        "# Routing and response cache",
        "",
        "`make bench-routing`. One gateway, its Postgres and the vendors' stand-ins on one machine.",
        "",
        f"## Response cache: {CALLS:,} calls with {QUESTIONS} different questions (Zipf distribution)",
        "",
        table([["", "figure"], *cached, ["cost with the cache, USD", f"{cost / 1e9:.6f}"]]),
        "",
        f"## Fallback: {FALLS} calls each; limits of the first deployment: {CONNECT_S} s to connect, {FIRST_BYTE_S} s to its first byte",
        "",
        table([["the first deployment", "median, ms", "slowest, ms"], *falls]),
        "",
    ]
    (HERE / "ROUTING.md").write_text("\n".join(page))
    print("\n".join(page))


async def cache(client: Client, vendor: Vendor) -> list[list[str]]:
    """A workload with repeated questions."""
    choice = random.Random(5)
    weights = [1 / (rank + 1) for rank in range(QUESTIONS)]
    times: dict[str, list[float]] = {"hit": [], "miss": []}
    for which in choice.choices(range(QUESTIONS), weights, k=CALLS):
        began = time.perf_counter()
        status, reply = await client.chat(
            "ok", provider="front", temperature=0, messages=[{"role": "user", "content": f"question {which}"}]
        )
        assert status == 200, reply
        times[reply["routing"]["cache"]].append((time.perf_counter() - began) * 1000)
    hits = len(times["hit"])
    return [
        ["answered from the cache", f"{hits / CALLS:.1%}"],
        ["calls to the vendor", f"{len(vendor.requests):,}"],
        ["a hit, median ms", f"{statistics.median(times['hit']):.1f}"],
        ["a miss, median ms (the vendor answers at once)", f"{statistics.median(times['miss']):.1f}"],
        ["cost without the cache, USD", f"{CALLS * 22_000 / 1e9:.6f}"],
    ]


async def fall_over(client: Client, mode: str) -> list[str]:
    """The time of calls whose first deployment fails in this way."""
    times = []
    for at in range(FALLS):
        began = time.perf_counter()
        status, reply = await client.chat(
            mode, provider="front", temperature=0.5, messages=[{"role": "user", "content": str(at)}]
        )
        assert (status, reply["routing"]["deployment"]) == (200, "up"), reply
        times.append((time.perf_counter() - began) * 1000)
    return ["healthy" if mode == "ok" else mode, f"{statistics.median(times):.0f}", f"{max(times):.0f}"]


if __name__ == "__main__":
    asyncio.run(main())
