"""What needs a key and is no call: bounded for each key, beside its calls; and files, listed, measured and streamed."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import asyncpg
import openai
import pytest

from tests.support.embedding import Account, House, house
from tests.support.money import assert_books_balance

TALK: dict[str, Any] = {"model": "up/talk", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
BATCH = {"input_file_id": "file-x", "endpoint": "/v1/embeddings", "completion_window": "24h"}

#: Something that each door takes.
REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/up/talk", None),
    ("GET", "/v1/files", None),
    ("POST", "/v1/files", {}),
    ("GET", "/v1/files/file-x", None),
    ("GET", "/v1/files/file-output-x", None),
    ("DELETE", "/v1/files/file-x", None),
    ("GET", "/v1/batches", None),
    ("POST", "/v1/batches", BATCH),
    ("GET", "/v1/batches/batch_x", None),
    ("POST", "/v1/batches/batch_x/cancel", {}),
    ("POST", "/v1/messages/count_tokens", TALK),
    ("POST", "/v1/messages", TALK),
    ("POST", "/v1/chat/completions", TALK),
    ("POST", "/v1/responses", {"model": "up/talk", "input": "hello"}),
    ("POST", "/v1/embeddings", {"model": "up/words", "input": "a"}),
    ("POST", "/api/gateway-chat", TALK),
    ("POST", "/api/gateway-stream", TALK),
    ("POST", "/api/gateway-embed", {"provider": "up", "model": "words", "input": "a"}),
    ("POST", "/api/gateway-embed-search", {"collection": "docs", "query": "q"}),
    ("GET", "/api/gateway-embed-collections", None),
    ("POST", "/api/gateway-job-submit", TALK),
    ("GET", "/api/gateway-job-status?id=x", None),
    ("GET", "/api/gateway-job-result?id=x", None),
    ("POST", "/api/gateway-job-cancel", {"id": "x"}),
    ("POST", "/api/gateway-job-run-background", {"id": "x"}),
    ("POST", "/api/session-token", {}),
    ("GET", "/api/user-summary", None),
    ("GET", "/api/user-events", None),
    ("GET", "/api/user-devices", None),
    ("PATCH", "/api/user-devices", {"install_id": "x", "revoked": True}),
    ("GET", "/api/user-export", None),
    ("GET", "/api/user-push-charges", None),
    ("GET", "/api/push-whoami", None),
]


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway for all tests here."""
    options = "readings_per_minute: 120, jobs: {workers: 4, attempts: 1}"
    with house(server_dsn, pristine, tmp_path_factory.mktemp("readings"), gateway=options) as made:
        yield made


@pytest.fixture
def dsn(shared: House) -> str:
    """Its database."""
    return shared.dsn


async def status_of(account: Account, method: str, path: str, body: Any) -> int:
    """What a request comes to."""
    async with account.http.request(method, account.url + path, json=body, headers=account.headers) as response:
        await response.read()
        return response.status


async def test_a_key_without_a_rate_is_refused_at_every_door(
    shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    owner = await shared.account(http, pool)
    none = await shared.another_key(http, pool, owner.customer_id, rpm_limit=0)
    told = {(method, path): await status_of(none, method, path, body) for method, path, body in REQUESTS}
    assert {one: status for one, status in told.items() if status != 429} == {}


async def test_reading_uses_up_nothing_of_what_calls_have_and_is_bounded_itself(
    shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    owner = await shared.account(http, pool)
    slow = await shared.another_key(http, pool, owner.customer_id, rpm_limit=2)
    reading = [one for one in REQUESTS if one[0] == "GET" and "collections" not in one[1]]
    for at in range(120):
        assert await status_of(slow, *reading[at % len(reading)]) in (200, 404)
    assert await status_of(slow, *reading[0]) == 429
    assert await status_of(slow, "POST", "/v1/messages/count_tokens", TALK) == 429
    assert [await status_of(slow, "POST", "/v1/chat/completions", TALK) for _ in range(3)] == [200, 200, 429]


async def uploaded(client: openai.AsyncOpenAI, name: str, *lines: dict[str, Any]) -> Any:
    content = io.BytesIO("\n".join(map(json.dumps, lines)).encode())
    content.name = name
    return await client.files.create(file=content, purpose="batch")


async def test_files_are_listed_in_pages(shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> None:
    account, stranger = await shared.account(http, pool), await shared.account(http, pool)
    options: dict[str, Any] = {"base_url": f"{shared.url}/v1", "max_retries": 0}
    async with (
        openai.AsyncOpenAI(api_key=account.key, **options) as client,
        openai.AsyncOpenAI(api_key=stranger.key, **options) as other,
    ):
        made = [(await uploaded(client, f"{at}.jsonl", {"a": at})).id for at in range(5)]
        assert [one.id async for one in client.files.list()] == made[::-1]
        assert [one.id async for one in client.files.list(order="asc", limit=2)] == made
        page = await client.files.list(limit=2, after=made[3], purpose="batch")
        assert ([one.id for one in page.data], page.has_more) == (made[2:0:-1], True)
        assert (page.data[0].bytes, page.data[0].filename) == (8, "2.jsonl")
        assert (await client.files.list(purpose="vision")).data == []
        assert (await other.files.list()).data == []
        with pytest.raises(openai.NotFoundError):
            await other.files.list(after=made[0])
        for wrong in ({"limit": 0}, {"limit": 10_001}, {"order": "up"}):
            with pytest.raises(openai.APIStatusError) as caught:
                await client.files.list(**wrong)
            assert caught.value.status_code == 400, wrong


async def test_what_a_batch_ended_in_is_measured_once_and_streamed(
    shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    account = await shared.account(http, pool)
    body = {"model": "up/words", "input": ["some words"] * 300}
    lines = [{"custom_id": f"c{at}", "method": "POST", "url": "/v1/embeddings", "body": body} for at in range(30)]
    wrong = {"custom_id": "wrong", "method": "GET", "url": "/v1/embeddings", "body": body}
    async with openai.AsyncOpenAI(base_url=f"{shared.url}/v1", api_key=account.key, max_retries=0) as client:
        file = await uploaded(client, "a.jsonl", *lines, wrong)
        batch = await client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
        row = "select count(*) from kaixu.job where batch_id = $1::uuid and completed_at is null"
        if await pool.fetchval(row, batch.id.removeprefix("batch_")):
            with pytest.raises(openai.NotFoundError):  # not before it has ended
                await client.files.retrieve(f"file-output-{batch.id.removeprefix('batch_')}")
        async with asyncio.timeout(60):
            while await pool.fetchval(row, batch.id.removeprefix("batch_")):
                await asyncio.sleep(0.1)
        batch = await client.batches.retrieve(batch.id)
        assert batch.output_file_id is not None
        assert batch.error_file_id is not None
        for name, count in ((batch.output_file_id, 30), (batch.error_file_id, 1)):
            told = await client.files.retrieve(name)
            content = (await client.files.content(name)).content
            assert len(content) == told.bytes
            assert len([json.loads(line) for line in content.splitlines()]) == count
        first = json.loads((await client.files.content(batch.output_file_id)).content.splitlines()[0])
        data = first["response"]["body"]["data"]
        assert [one["index"] for one in data] == list(range(300))
        assert {len(one["embedding"]) for one in data} == {32}
        known = await pool.fetchrow("select output_bytes, error_bytes from kaixu.batch")
        assert known is not None
        assert known["output_bytes"] > 100_000
        await pool.execute("update kaixu.batch set output_bytes = 7")
        assert (await client.files.retrieve(batch.output_file_id)).bytes == 7  # it is a column
    await assert_books_balance(pool)
