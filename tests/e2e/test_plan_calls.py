"""Every kind of call is at its plan's price: embeddings, searches, stored texts, jobs and batches."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import openai
import pytest

from kaixu.accounts.customer_deletion import delete_customer
from kaixu.accounts.customers import change_customer
from kaixu.reports.reconcile import reconcile
from tests.support.embedding import CONFIG, Account, Embedder
from tests.support.money import customer, virtual_key
from tests.support.process import Process

PLANS = "plans: {half: {price_factor: 0.5}}\n"
BY = {"actor": "admin", "request_id": "request-1"}

#: 1 USD per million input tokens, halved; in a batch halved again.
HALF, QUARTER = 500_000_000, 250_000_000


@pytest.fixture
async def process(tmp_path: Path, dsn: str) -> AsyncIterator[Process]:
    """A gateway with embeddings and chats, and a plan at half the price."""
    vendor = Embedder()
    vendor.start()
    config = CONFIG.format(url=vendor.url, gateway="jobs: {workers: 4}")
    config = config.replace("    retries: 0\n", "    retries: 0\n    batch_price_factor: 0.5\n", 1)
    made = Process(tmp_path / "gateway", dsn, config + PLANS)
    yield await made.start()
    await made.stop()
    vendor.stop()


@pytest.fixture
async def account(process: Process, pool: asyncpg.Pool) -> AsyncIterator[Account]:
    """A customer of the plan, with a key."""
    customer_id = await customer(pool)
    await change_customer(pool, customer_id, {"plan_name": "half"}, **BY)
    async with aiohttp.ClientSession() as http:
        yield Account(http, process.url, customer_id, *await virtual_key(pool, customer_id, role="owner"))


async def billed(pool: asyncpg.Pool) -> list[tuple[str, int, bool]]:
    """The newest call first: its operation, its input's rate, and whether its cost is that of its tokens."""
    rows = await pool.fetch(
        """
        select e.operation, (p.rates ->> 'input')::bigint as rate, e.input_tokens, e.output_tokens, e.cost_nusd,
               (p.rates ->> 'output')::bigint as output
          from kaixu.usage_event e join kaixu.price p on p.id = e.price_id order by e.id desc
        """
    )
    return [
        (
            row["operation"],
            row["rate"],
            row["cost_nusd"]
            == (row["input_tokens"] * row["rate"] + row["output_tokens"] * row["output"] + 500_000) // 1_000_000,
        )
        for row in rows
    ]


async def test_embeddings_searches_and_jobs(account: Account, pool: asyncpg.Pool) -> None:
    assert (await account.embed(["one", "two"])).status == 200
    assert (await account.store("notes", {"a": "words of a", "b": "words of b"})).status == 200
    assert (await account.search("notes", "words")).status == 200
    talk = {"provider": "up", "model": "talk", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 9}
    submitted = await account.call("POST", "gateway-job-submit", talk)
    assert submitted.status == 202 or submitted.status == 200, submitted
    async with asyncio.timeout(30):
        while len(rows := await billed(pool)) < 4:
            await asyncio.sleep(0.05)
    assert [(rate, is_right) for _, rate, is_right in rows] == [(HALF, True)] * 4, rows
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []


async def test_a_batch_is_at_both_factors(process: Process, account: Account, pool: asyncpg.Pool) -> None:
    line = {
        "custom_id": "1",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": "up/words", "input": "hello"},
    }
    content = io.BytesIO(json.dumps(line).encode())
    content.name = "lines.jsonl"
    async with openai.AsyncOpenAI(base_url=f"{process.url}/v1", api_key=account.key, max_retries=0) as client:
        file = await client.files.create(file=content, purpose="batch")
        await client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    async with asyncio.timeout(30):
        while not (rows := await billed(pool)):
            await asyncio.sleep(0.05)
    assert [(rate, is_right) for _, rate, is_right in rows] == [(QUARTER, True)]


async def test_a_deleted_customer_s_collections_are_gone_with_their_rows(account: Account, pool: asyncpg.Pool) -> None:
    assert (await account.store("notes", {"a": "words of a", "b": "words of b"})).status == 200
    email = await pool.fetchval("select email from kaixu.customer where id = $1", account.customer_id)
    done = await delete_customer(pool, account.customer_id, confirm=email, **BY)
    assert done.finished_at is not None
    assert (await account.search("notes", "words")).status == 401
    assert await pool.fetchval("select count(*) from kaixu.document") == 0
    async with asyncio.timeout(30):
        while await pool.fetchval("select count(*) from kaixu.collection"):
            await asyncio.sleep(0.1)
