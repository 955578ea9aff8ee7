"""kill -9 while documents come in: what is stored is billed, what is billed is stored, what was answered is both."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.pool import open_pool
from tests.support.embedding import CONFIG, Embedder
from tests.support.money import customer, virtual_key
from tests.support.process import Process

from .test_crashes import books_close, kill_postgres, own_postgres

__all__ = ["own_postgres"]

DOCUMENTS = 5


async def post(http: aiohttp.ClientSession, url: str, key: str, body: dict[str, Any], **headers: str) -> int:
    """One call's status; 0 where nothing came back."""
    try:
        async with http.post(
            f"{url}/api/gateway-embed", json=body, headers={"authorization": f"Bearer {key}", **headers}
        ) as response:
            await response.read()
            return response.status
    except (TimeoutError, aiohttp.ClientError, ConnectionError):
        return 0


async def assert_stored_is_billed(pool: asyncpg.Pool, answered: set[str]) -> None:
    """For every call: all of its documents and one bill, or neither; both for those that were answered."""
    rows = await pool.fetch("select doc_id from kaixu.document")
    stored = Counter(row["doc_id"].rpartition("/")[0] for row in rows)
    assert set(stored.values()) <= {DOCUMENTS}
    events = await pool.fetch(
        "select request_id, cost_nusd, units from kaixu.usage_event where operation = 'embed' and end_reason = 'complete'"
    )
    billed = Counter(row["request_id"] for row in events)
    assert set(billed.values()) <= {1}
    assert set(billed) == set(stored)
    assert all(row["cost_nusd"] > 0 and row["units"]["stored"] == DOCUMENTS for row in events)
    assert answered <= set(stored)
    counted = await pool.fetchval("select coalesce(sum(vectors), 0)::bigint from kaixu.collection")
    assert counted == len(rows)


@pytest.mark.parametrize("killed", ["gateway", "postgres", "both"])
async def test_killed_in_mid_ingest_what_is_stored_is_billed_and_the_rest_is_neither(
    killed: str, own_postgres: tuple[EmbeddedPostgres, str], tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    embedded, dsn = own_postgres
    vendor = Embedder()
    vendor.start()
    gateway = Process(tmp_path / "gateway", dsn, CONFIG.format(gateway="reservation_s: 3", url=vendor.url))
    await gateway.start()
    pool = await open_pool(dsn)
    try:
        _, key = await virtual_key(pool, await customer(pool))
        answered: set[str] = set()
        counter, stop = iter(range(10**9)), asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                name = f"call-{next(counter)}"
                body = {
                    "model": "words",
                    "collection": "all",
                    "input": [f"text {at} of {name}" for at in range(DOCUMENTS)],
                    "doc_ids": [f"{name}/{at}" for at in range(DOCUMENTS)],
                }
                headers = {"x-kaixu-request-id": name}
                if await post(http, gateway.url, key, body, **headers) == 200:
                    answered.add(name)
                else:
                    await asyncio.sleep(0.05)

        loads = [asyncio.ensure_future(load()) for _ in range(8)]
        while len(answered) < 40:
            await asyncio.sleep(0.02)
        if killed != "gateway":
            kill_postgres(embedded)
        if killed != "postgres":
            gateway.kill()
        await asyncio.sleep(0.5)
        before = len(answered)
        await asyncio.to_thread(embedded.revive)
        if killed != "postgres":
            await gateway.start()
        while len(answered) < before + 20:
            await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*loads)
        await pool.expire_connections()
        await books_close(pool)
        await assert_stored_is_billed(pool, answered)
    finally:
        await gateway.stop()
        vendor.stop()
        pool.terminate()


async def test_two_replicas_that_store_the_same_ids_at_once_leave_one_of_both_whole(
    pool: asyncpg.Pool, dsn: str, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    vendor = Embedder()
    vendor.start()
    config = CONFIG.format(gateway="", url=vendor.url)
    replicas = [Process(tmp_path / f"gateway{at}", dsn, config) for at in range(2)]
    try:
        for replica in replicas:
            await replica.start()
        _, key = await virtual_key(pool, await customer(pool))
        ids = [f"d{at}" for at in range(20)]
        for turn in range(6):
            writers = [f"turn {turn} writer {at}" for at in range(6)]
            done = await asyncio.gather(
                *(
                    post(
                        http,
                        replicas[at % 2].url,
                        key,
                        {
                            "model": "words",
                            "collection": "shared",
                            "input": [f"{writer} {one}" for one in ids],
                            "doc_ids": ids if at % 3 else ids[::-1],
                            "metadata": {"writer": writer},
                        },
                    )
                    for at, writer in enumerate(writers)
                )
            )
            assert done == [200] * 6
            rows = await pool.fetch("select doc_id, metadata ->> 'writer' as writer from kaixu.document")
            assert sorted(row["doc_id"] for row in rows) == sorted(ids)
            assert len({row["writer"] for row in rows}) == 1
            assert await pool.fetchval("select vectors from kaixu.collection") == len(ids)
        await books_close(pool)
    finally:
        for replica in replicas:
            await replica.stop()
        vendor.stop()


async def test_a_re_embedding_whose_gateway_was_killed_is_finished_by_another_and_billed_once(
    pool: asyncpg.Pool, dsn: str, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    vendor = Embedder()
    vendor.start()
    config = CONFIG.format(gateway="reservation_s: 2", url=vendor.url)
    first = Process(tmp_path / "first", dsn, config)
    second = Process(tmp_path / "second", dsn, config)
    documents = 900
    try:
        await first.start()
        _, key = await virtual_key(pool, await customer(pool))
        for start in range(0, documents, 300):
            body = {
                "model": "words",
                "collection": "moving",
                "input": [f"text number {at}" for at in range(start, start + 300)],
                "doc_ids": [f"d{at}" for at in range(start, start + 300)],
            }
            assert await post(http, first.url, key, body) == 200
        url = f"{first.url}/api/gateway-embed-collections"
        headers = {"authorization": f"Bearer {key}"}
        with vendor.holding("text number 700"):
            wanted = {"name": "moving", "reembed": {"model": "other"}}
            async with http.post(url, json=wanted, headers=headers) as response:
                assert response.status == 202
            await vendor.is_reached()
            first.kill()
        # Its lease would end by itself, a minute from now.
        await pool.execute("update kaixu.reembedding set leased_until = '-infinity'")
        await second.start()
        while await pool.fetchval("select state from kaixu.reembedding") == "running":
            await asyncio.sleep(0.1)
        shown = await pool.fetchrow("select state, done, total, error_message from kaixu.reembedding")
        assert shown is not None
        assert tuple(shown) == ("done", documents, documents, None)
        model = await pool.fetchval("select model from kaixu.collection where deleted_at is null")
        assert model == "other"
        await books_close(pool)
        made = await pool.fetchval(
            "select sum((units ->> 'stored')::integer) from kaixu.usage_event where model = 'other'"
        )
        assert made == documents
        # What was there before goes in the background.
        while await pool.fetchval("select count(*) from kaixu.document") > documents:
            await asyncio.sleep(0.1)
    finally:
        await first.stop()
        await second.stop()
        vendor.stop()
