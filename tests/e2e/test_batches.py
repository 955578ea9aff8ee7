"""`/v1/files` and `/v1/batches`, by OpenAI's own client."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import openai
import pytest

from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Process, config_for
from tests.support.vendor import Vendor

from .conftest import MODELS


@pytest.fixture
async def process(tmp_path: Path, dsn: str, vendor: Vendor) -> AsyncIterator[Process]:
    config = config_for(vendor.url, *MODELS, gateway="jobs: {workers: 8, attempts: 1}", lane="batch_price_factor: 0.5")
    process = Process(tmp_path / "gateway", dsn, config)
    yield await process.start()
    assert await process.stop() == 0


@pytest.fixture
async def client(process: Process, pool: asyncpg.Pool) -> AsyncIterator[openai.AsyncOpenAI]:
    _, key = await virtual_key(pool, await customer(pool))
    async with openai.AsyncOpenAI(base_url=f"{process.url}/v1", api_key=key, max_retries=0) as client:
        yield client


def line(name: Any, model: str = "ok", **body: Any) -> str:
    said = {"model": f"up/{model}", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 20, **body}
    return json.dumps({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": said})


async def batched(client: openai.AsyncOpenAI, *lines: str) -> Any:
    content = io.BytesIO("\n".join(lines).encode())
    content.name = "lines.jsonl"
    file = await client.files.create(file=content, purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"of": "a test"}
    )


async def ended(client: openai.AsyncOpenAI, batch_id: str) -> Any:
    async with asyncio.timeout(30):
        while (batch := await client.batches.retrieve(batch_id)).status in ("in_progress", "cancelling"):
            await asyncio.sleep(0.05)
    return batch


async def told(client: openai.AsyncOpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    text = (await client.files.content(file_id)).text
    return [json.loads(one) for one in text.splitlines()]


async def test_a_batch_goes_in_as_lines_and_comes_out_as_lines_at_its_own_price(
    client: openai.AsyncOpenAI, pool: asyncpg.Pool, process: Process
) -> None:
    made = await batched(client, *(line(f"call-{at}") for at in range(30)))
    assert (made.status, made.request_counts.total, made.metadata) == ("in_progress", 30, {"of": "a test"})
    batch = await ended(client, made.id)
    assert (batch.status, batch.request_counts.completed, batch.request_counts.failed) == ("completed", 30, 0)
    assert batch.error_file_id is None
    lines = await told(client, batch.output_file_id)
    assert [one["custom_id"] for one in lines] == [f"call-{at}" for at in range(30)]
    body = lines[0]["response"]["body"]
    assert body["choices"][0]["message"]["content"] == "wd0 wd1 wd2 wd3 "
    assert (body["usage"]["total_tokens"], body["kaixu"]["cost_usd"]) == (18, "0.000011")
    assert await pool.fetchval("select sum(spent_nusd)::bigint from kaixu.customer_month") == 30 * 11_000
    await assert_books_balance(pool)
    proven = await process.command("reconcile")
    assert proven.returncode == 0, proven.stdout
    assert [one.id for one in (await client.batches.list()).data] == [batch.id]


async def test_each_line_has_its_own_error(client: openai.AsyncOpenAI, pool: asyncpg.Pool) -> None:
    made = await batched(
        client,
        line("good"),
        "not json",
        line("good"),
        line(""),
        line("unknown", model="nothing"),
        line("streams", stream=True),
        line("fails", model="status-500"),
        line("rejected", model="status-400"),
        json.dumps({"custom_id": "elsewhere", "method": "GET", "url": "/v1/models", "body": {}}),
        line("last"),
    )
    batch = await ended(client, made.id)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (2, 8)
    assert [one["custom_id"] for one in await told(client, batch.output_file_id)] == ["good", "last"]
    errors = await told(client, batch.error_file_id)
    assert [(one["custom_id"], one["error"]["code"], one["error"]["line"]) for one in errors] == [
        (None, "BAD_JSON", 2),
        ("good", "INVALID_FIELD", 3),
        (None, "INVALID_FIELD", 4),
        ("unknown", "UNKNOWN_MODEL", 5),
        ("streams", "UNSUPPORTED_FIELD", 6),
        ("fails", "UPSTREAM_ERROR", 7),
        ("rejected", "UPSTREAM_REJECTED", 8),
        ("elsewhere", "INVALID_FIELD", 9),
    ]
    assert "vendor secret" not in str(errors)
    await assert_books_balance(pool)


async def test_a_batch_is_cancelled_and_what_had_run_stays_billed(
    client: openai.AsyncOpenAI, pool: asyncpg.Pool
) -> None:
    made = await batched(client, *(line(f"call-{at}", model="hang") for at in range(30)))
    while await pool.fetchval("select count(*) from kaixu.job where status = 'running'") < 8:
        await asyncio.sleep(0.05)
    assert (await client.batches.cancel(made.id)).status == "cancelling"
    await pool.execute("update kaixu.job set heartbeat_at = null")
    async with asyncio.timeout(60):
        batch = await ended(client, made.id)
    assert (batch.status, batch.request_counts.failed) == ("cancelled", 30)
    await assert_books_balance(pool)


async def test_nothing_of_it_is_anybody_else_s_and_nothing_can_be_read_at_rest(
    client: openai.AsyncOpenAI, pool: asyncpg.Pool, process: Process
) -> None:
    made = await batched(client, line("secret-name", messages=[{"role": "user", "content": "the launch code"}]))
    batch = await ended(client, made.id)
    _, key = await virtual_key(pool, await customer(pool))
    async with openai.AsyncOpenAI(base_url=f"{process.url}/v1", api_key=key, max_retries=0) as stranger:
        for ask in (
            lambda: stranger.batches.retrieve(batch.id),
            lambda: stranger.batches.cancel(batch.id),
            lambda: stranger.files.retrieve(batch.input_file_id),
            lambda: stranger.files.content(batch.input_file_id),
            lambda: stranger.files.content(batch.output_file_id),
            lambda: stranger.files.delete(batch.input_file_id),
            lambda: stranger.batches.create(
                input_file_id=batch.input_file_id, endpoint="/v1/chat/completions", completion_window="24h"
            ),
        ):
            with pytest.raises(openai.NotFoundError):
                await ask()
    rows = await pool.fetch("select content as text from kaixu.file union all select payload from kaixu.job")
    assert all(word not in row["text"] for row in rows for word in (b"launch code", b"secret-name"))
    assert (await client.files.delete(batch.input_file_id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(batch.input_file_id)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/batches", {}, 400),
        ("POST", "/v1/batches", {"input_file_id": "file-x", "endpoint": "/v1/other"}, 400),
        ("POST", "/v1/batches", {"input_file_id": "file-x", "endpoint": "/v1/chat/completions"}, 404),
        ("POST", "/v1/files", {"purpose": "batch"}, 400),
        ("GET", "/v1/files/nonsense", None, 404),
        ("GET", "/v1/files/file-output-nonsense/content", None, 404),
        ("GET", "/v1/batches/batch_nonsense", None, 404),
        ("DELETE", "/v1/batches/batch_nonsense", None, 404),
        ("DELETE", "/v1/files", None, 405),
        ("POST", "/v1/batches/a/b/c", {}, 404),
    ],
    ids=[
        "batch-of-nothing",
        "batch-for-another-endpoint",
        "batch-of-no-file",
        "file-without-content",
        "no-file",
        "no-output",
        "no-batch",
        "batch-deleted",
        "files-deleted",
        "no-such-path",
    ],
)
async def test_what_cannot_be_done_is_said(
    refusing: Process,
    http: aiohttp.ClientSession,
    refusing_pool: asyncpg.Pool,
    method: str,
    path: str,
    body: Any,
    status: int,
) -> None:
    owner = await customer(refusing_pool)
    headers = {"authorization": f"Bearer {(await virtual_key(refusing_pool, owner))[1]}"}
    async with http.request(method, refusing.url + path, json=body, headers=headers) as response:
        said = await response.json()
        assert response.status == status, said
    assert {"message", "code"} <= said["error"].keys()
    assert await spent_and_held(refusing_pool, owner) == (0, 0)
