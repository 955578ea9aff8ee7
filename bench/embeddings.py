"""Measures embedding, storing and searching for bench/EMBEDDINGS.md, everything on this machine.

Needs `nginx` (the vendor's stand-in: a fixed answer of 100 vectors) and the `local` extra (its embedding model).
`python -m bench.embeddings`, or `make bench-embeddings`.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import numpy

from bench.embedding_data import (
    AT_ONCE,
    BATCH,
    DIMENSIONS,
    Client,
    config,
    fill_local,
    fill_long,
    fill_many,
    sentence,
    together,
    vectors_of,
    vendor,
)
from bench.load import table
from bench.quality.measure import SET, quality
from kaixu.collections.keeper import CollectionKeeper
from kaixu.store.collections import collection_of_key
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate
from kaixu.store.pool import maintenance, open_pool
from kaixu.store.vectors import packed
from tests.support.money import customer, virtual_key
from tests.support.process import Process

HERE = Path(__file__).parent
INGESTED = int(os.environ.get("BENCH_INGESTED", "10000"))
LOCAL = int(os.environ.get("BENCH_LOCAL", "100000"))
LONG = int(os.environ.get("BENCH_LONG", "20000"))
QUESTIONS = 100


async def ingest(client: Client, collection: str, count: int, pace: float | None = None) -> float:
    """Store vectors of the stand-in; returns vectors per second. `pace`: limits them, None: as fast as possible."""

    def call(start: int) -> Callable[[], Awaitable[Any]]:
        body = {
            "model": "up-embed",
            "collection": collection,
            "input": [sentence(number) for number in range(start, start + BATCH)],
            "doc_ids": [f"d{number}" for number in range(start, start + BATCH)],
            "metadata": {"source": "bench"},
        }
        return lambda: client.post("gateway-embed", body)

    work = [call(start) for start in range(0, count, BATCH)]
    began = time.perf_counter()
    if pace is None:
        await together(work, AT_ONCE)
    else:
        running = []
        for at, make in enumerate(work):
            await asyncio.sleep(max(0.0, began + at * BATCH / pace - time.perf_counter()))
            running.append(asyncio.ensure_future(make()))
        await asyncio.gather(*running)
    return count / (time.perf_counter() - began)


async def own_share(client: Client, vendor_url: str, rounds: int = 40) -> tuple[float, float]:
    """p50 in ms of the vendor alone, and the additional time of a call of 100 inputs through the gateway."""
    texts = [sentence(number) for number in range(BATCH)]
    alone, through = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        async with client.http.post(f"{vendor_url}/v1/embeddings", json={"input": texts}) as response:
            await response.read()
        alone.append(time.perf_counter() - began)
        began = time.perf_counter()
        async with client.http.post(
            f"{client.url}/api/gateway-embed",
            json={"model": "up-embed", "input": texts, "encoding_format": "base64"},
            headers=client.headers,
        ) as response:
            await response.read()
        through.append(time.perf_counter() - began)
    theirs = statistics.median(alone) * 1000
    return theirs, statistics.median(through) * 1000 - theirs


async def beside_another(mine: Client, other: Client, rounds: int = 300) -> tuple[float, float]:
    """p95 of one customer's searches, alone, and while another searches 20 times and stores 500 vectors a second."""
    vector = numpy.random.default_rng(9).standard_normal(256).tolist()

    async def take() -> float:
        took = []
        for at in range(rounds):
            asked = {"collection": f"small-{at % 100}", "vector": vector, "top_k": 10}
            took.append((await mine.post("gateway-embed-search", asked))["query_ms"])
        return quantile(took, 0.95)

    async def load() -> None:
        number = 0
        while True:
            asked = {"collection": f"small-{number % 100}", "vector": vector, "top_k": 100}
            texts = [sentence(at) for at in range(number * 25, number * 25 + 25)]
            stored = {"model": "local-embed", "collection": "more", "input": texts}
            await asyncio.gather(other.post("gateway-embed-search", asked), other.post("gateway-embed", stored))
            number += 1
            await asyncio.sleep(0.04)

    await take()
    alone = await take()
    loading = asyncio.create_task(load())
    try:
        return alone, await take()
    finally:
        loading.cancel()
        await asyncio.wait([loading])


async def searched(
    client: Client, questions: list[dict[str, Any]], more: dict[str, Any]
) -> tuple[list[float], list[list[float]]]:
    """For each question the time of the database (ms), and the scores of the results."""
    took, scores = [], []
    for question in questions:
        reply = await client.post("gateway-embed-search", question | more | {"top_k": 10})
        took.append(reply["query_ms"])
        scores.append([result["score"] for result in reply["results"]])
    return took, scores


async def exact(pool: asyncpg.Pool, collection_id: int, vectors: list[bytes], metadata: dict[str, Any]) -> list[float]:
    """The score of the exact tenth nearest, for each question."""
    tenth = []
    for vector in vectors:
        rows = await pool.fetch(
            """
            select (1 - (d.embedding <=> $1))::float8 as score from kaixu.document d
             where d.collection_id = $2 and d.metadata @> $3 order by d.embedding <=> $1 limit 10
            """,
            vector,
            collection_id,
            metadata,
        )
        tenth.append(rows[-1]["score"])
    return tenth


def recall(scores: list[list[float]], tenth: list[float]) -> float:
    """The share of the ten results that are among the exact ten nearest."""
    hits = sum(score >= least - 2e-6 for found, least in zip(scores, tenth, strict=True) for score in found)
    return hits / (10 * len(tenth))


def quantile(values: list[float], share: float) -> float:
    """A quantile."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def main() -> None:
    """Measure and write."""
    if shutil.which("nginx") is None:
        raise SystemExit("nginx is needed: apt-get install nginx-light")
    home = Path(tempfile.mkdtemp(prefix="kaixu-bench-"))
    home.chmod(0o755)
    (home / "nginx").mkdir()
    embedded = EmbeddedPostgres(home)
    dsn = embedded.start()
    connection = await asyncpg.connect(dsn)
    await migrate(connection)
    await connection.close()
    pool = await open_pool(dsn)
    customer_id = await customer(pool, cap_nusd=10**15)
    key_id, key = await virtual_key(pool, customer_id, rpm_limit=10**7, rpd_limit=10**9)
    standing, vendor_url = vendor(home / "nginx")
    gateway = Process(home / "gateway", dsn, config(vendor_url))
    rows: list[list[str]] = []

    def tell(measure: str, figure: str, target: str = "") -> None:
        rows.append([measure, figure, target])
        sys.stdout.write(f"{measure}: {figure}\n")
        sys.stdout.flush()

    async def collection(name: str) -> Any:
        found = await collection_of_key(pool, key_id=key_id, key_hash=None, legacy_hash=None, name=name)
        assert found is not None
        return found

    async def index() -> float:
        began = time.perf_counter()
        keeper = CollectionKeeper(pool, lambda: maintenance(dsn))
        while await keeper.index(quiet_s=0):
            pass
        while await pool.fetchval("select exists (select from kaixu.collection where indexing_until > now())"):
            await asyncio.sleep(0.2)
        return time.perf_counter() - began

    try:
        await gateway.start()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as http:
            client = Client(http, gateway.url, key)
            await ingest(client, "warm", 1000)
            rates = [await ingest(client, f"ingest-{at}", INGESTED) for at in range(3)]
            tell(
                f"ingest, {INGESTED:,} documents of {DIMENSIONS:,} dimensions, calls of {BATCH}, {AT_ONCE} at once",
                f"{statistics.median(rates):,.0f} vectors/s",
                "≥ 3,000/s",
            )
            theirs, ours = await own_share(client, vendor_url)
            tell(
                f"gateway's own share of a call of 100 inputs (p50; the vendor alone: {theirs:.1f} ms)",
                f"{ours:.1f} ms",
                "≤ 10 ms",
            )
            for at in range(3):
                async with http.delete(
                    f"{gateway.url}/api/gateway-embed-collections?name=ingest-{at}", headers=client.headers
                ) as response:
                    assert response.status == 200

            rate = await fill_local(client, "local", LOCAL)
            tell(f"{LOCAL:,} texts embedded by the local model (256 dimensions) and stored", f"{rate:,.0f}/s")
            await client.post("gateway-embed-collections", {"name": "long", "model": "up-embed"})
            await fill_long(pool, (await collection("long")).id, customer_id, LONG)
            while await pool.fetchval("select exists (select from kaixu.collection where deleted_at is not null)"):
                await asyncio.sleep(0.5)  # deleted rows are being removed in the background
            quiet = await index()
            await pool.execute("vacuum (analyze) kaixu.document", timeout=300)
            tell("both collections indexed", f"{quiet:.0f} s")

            local, long = await collection("local"), await collection("long")
            texts = [sentence(10**7 + number) for number in range(QUESTIONS)]
            asked = await client.post("gateway-embed", {"model": "local-embed", "input": texts})
            long_vectors = vectors_of(QUESTIONS, 13).tolist()
            sets: list[tuple[str, Any, list[dict[str, Any]], list[bytes]]] = [
                (
                    "local",
                    local,
                    [{"collection": "local", "query": text} for text in texts],
                    [packed(one) for one in asked["embeddings"]],
                ),
                (
                    "long",
                    long,
                    [{"collection": "long", "vector": one} for one in long_vectors],
                    [packed(one) for one in long_vectors],
                ),
            ]
            quiet_p95: dict[str, float] = {}
            for name, row, questions, vectors in sets:
                for told, condition in (
                    ("no filter", {}),
                    ("filter 10 %", {"ten": 3}),
                    ("filter 1 %", {"hundred": 42}),
                ):
                    more = {"filter": condition} if condition else {}
                    await searched(client, questions[:20], more)
                    took, scores = await searched(client, questions, more)
                    right = recall(scores, await exact(pool, row.id, vectors, condition))
                    p50, p95 = statistics.median(took), quantile(took, 0.95)
                    quiet_p95.setdefault(name, p95)
                    what = f"search in {row.vectors:,} × {row.dimensions:,}, {told}"
                    tell(f"{what}: p50 in the database (p95 {p95:.1f} ms)", f"{p50:.1f} ms", "≤ 15 ms")
                    tell(f"{what}: recall@10", f"{right:.3f}", "≥ 0.98")

            busy = asyncio.create_task(ingest(client, "meanwhile", INGESTED * 4, pace=3000))
            await asyncio.sleep(0.5)
            took = []
            while not busy.done():
                took += (await searched(client, sets[0][2][:20], {}))[0]
            reached = await busy
            p95 = quantile(took, 0.95)
            tell(
                f"search in {local.vectors:,} × 256 while another collection takes in {reached:,.0f} vectors/s of 1,536: p95",
                f"{p95:.1f} ms, {p95 / quiet_p95['local']:.1f}× its quiet {quiet_p95['local']:.1f} ms",
                "≤ 3×",
            )
            other_id = await customer(pool, cap_nusd=10**15)
            _, other_key = await virtual_key(pool, other_id, rpm_limit=10**7)
            for owner in (customer_id, other_id):
                await fill_many(pool, owner, 250, 400)
            await pool.execute("analyze kaixu.document")
            alone, beside = await beside_another(client, Client(http, gateway.url, other_key))
            tell(
                "200,000 vectors in 500 collections of two customers: p95 of one's searches, alone, and while the other "
                "searches and stores (20 and 500 a second)",
                f"{alone:.1f} ms, {beside:.1f} ms",
                "unaffected",
            )
            for measure, figure in (await quality(client.post) if SET.exists() else {}).items():
                tell(measure, figure)
        write(rows)
    finally:
        await gateway.stop()
        standing.terminate()
        await pool.close()
        embedded.server.cleanup()
        shutil.rmtree(home, ignore_errors=True)


def write(rows: list[list[str]]) -> None:
    """bench/EMBEDDINGS.md."""
    (HERE / "EMBEDDINGS.md").write_text(
        f"""# Embeddings, search

Written by `make bench-embeddings` on {time.strftime("%Y-%m-%d")}: {os.cpu_count()} cores, Python {platform.python_version()}; generator, vendor's stand-in (nginx, a
fixed answer of 100 vectors as base64), Postgres (embedded, `fsync` on) and one gateway process on this machine.

Long vectors are made up: {DIMENSIONS} numbers with 64 directions that matter and some noise, as models make them. The
sentences for the local model are made up of a few dozen words each, so that many are near to one another. Recall is
counted against exact search. "In the database" is `query_ms` of the reply.

{table([["measure", "figure", "target"], *rows])}
"""
    )


if __name__ == "__main__":
    asyncio.run(main())
