"""Apps, builds and end users of calls: from the request, on every way that a call can take, to its event."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Process
from tests.support.rollups import assert_rollups_agree
from tests.support.vendor import Vendor

CONFIG = """
gateway: {{reporting_zone: Europe/Berlin, jobs: {{workers: 4}}}}
lanes:
  up:
    plugin: openai
    base_url: {url}
    api_key: sk-vendor
    models:
      ok: {{type: chat, price: {{input: 1, output: 2}}}}
  here:
    plugin: echo
    models:
      talk: {{type: chat, price: {{input: 1, output: 2}}}}
"""
TAGS = {"x-kaixu-app": "shop", "x-kaixu-build": " 2026.11 "}
MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def gateway(tmp_path: Path, dsn: str, vendor: Vendor) -> AsyncIterator[Process]:
    process = await Process(tmp_path / "gateway", dsn, CONFIG.format(url=vendor.url)).start()
    yield process
    await process.stop()


class Caller:
    """Sends tagged requests."""

    def __init__(self, http: aiohttp.ClientSession, url: str, key: str) -> None:
        self.http = http
        self.url = url
        self.headers = {"authorization": f"Bearer {key}"} | TAGS

    async def post(self, path: str, body: dict[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
        async with self.http.post(f"{self.url}{path}", json=body, headers=self.headers | headers) as response:
            return response.status, await response.json()


@pytest.fixture
async def customer_id(pool: asyncpg.Pool) -> int:
    return await customer(pool)


@pytest.fixture
async def caller(gateway: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool, customer_id: int) -> Caller:
    return Caller(http, gateway.url, (await virtual_key(pool, customer_id, role="owner"))[1])


async def tags(pool: asyncpg.Pool, count: int = 1) -> list[tuple[str, str | None, str | None, str | None]]:
    """Operation and tags of every event, as soon as there are `count`."""
    async with asyncio.timeout(30):
        while await pool.fetchval("select count(*) from kaixu.usage_event") < count:
            await asyncio.sleep(0.02)
    rows = await pool.fetch("select operation, app_id, build_id, end_user from kaixu.usage_event order by id")
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/gateway-chat", {"provider": "up", "user": "ada"}),
        ("/v1/chat/completions", {"model": "up/ok", "user": "ada"}),
        ("/v1/chat/completions", {"model": "here/talk", "user": "ignored", "safety_identifier": "ada"}),
        ("/v1/messages", {"model": "up/ok", "max_tokens": 9, "metadata": {"user_id": "ada"}}),
        ("/v1/responses", {"model": "up/ok", "input": "hello", "messages": None, "user": "ada"}),
    ],
    ids=["native", "openai", "safety-identifier", "anthropic", "responses"],
)
async def test_a_call_has_the_tags_of_its_request(
    caller: Caller, pool: asyncpg.Pool, path: str, body: dict[str, Any]
) -> None:
    sent = {"model": "ok", "messages": MESSAGES, **body}
    status, reply = await caller.post(path, {name: value for name, value in sent.items() if value is not None})
    assert status == 200, reply
    assert await tags(pool) == [("chat", "shop", "2026.11", "ada")]
    await assert_rollups_agree(pool)


async def test_calls_without_tags_have_none_and_odd_tags_are_no_error(caller: Caller, pool: asyncpg.Pool) -> None:
    body = {"provider": "up", "model": "ok", "messages": MESSAGES}
    for headers, user in (
        ({"x-kaixu-app": "", "x-kaixu-build": " "}, None),
        ({"x-kaixu-app": "a" * 5000, "x-kaixu-build": "  b"}, "\u0007u\ud83d\ude00" + "x" * 400),
        ({"x-kaixu-app": "1"}, ["no text"]),
    ):
        status, reply = await caller.post("/api/gateway-chat", body | {"user": user}, **headers)
        assert status == 200, reply
    assert await tags(pool, 3) == [
        ("chat", None, None, None),
        ("chat", "a" * 120, "b", "u\U0001f600" + "x" * 198),
        ("chat", "1", "2026.11", None),
    ]


async def test_jobs_and_batches_keep_the_tags_of_their_submission(caller: Caller, pool: asyncpg.Pool) -> None:
    body = {"provider": "up", "model": "ok", "messages": MESSAGES, "user": "ada"}
    status, reply = await caller.post("/api/gateway-job-submit", body)
    assert status == 202, reply
    assert await tags(pool) == [("job:chat", "shop", "2026.11", "ada")]

    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
    lines = json.dumps(line | {"body": {"model": "up/ok", "messages": MESSAGES, "user": "bob"}})
    form = aiohttp.FormData({"purpose": "batch"})
    form.add_field("file", io.BytesIO(lines.encode()), filename="lines.jsonl")
    async with caller.http.post(f"{caller.url}/v1/files", data=form, headers=caller.headers) as response:
        file = await response.json()
    batch = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    status, reply = await caller.post("/v1/batches", batch, **{"x-kaixu-app": "nightly"})
    assert status == 200, reply
    assert (await tags(pool, 2))[1] == ("job:chat", "nightly", "2026.11", "bob")
    await assert_books_balance(pool)
    await assert_rollups_agree(pool)


async def test_an_end_user_that_has_used_its_cap_is_refused_and_nobody_else(
    caller: Caller, gateway: Process, pool: asyncpg.Pool, customer_id: int
) -> None:
    token = await gateway_token(caller, gateway)
    async with caller.http.patch(
        f"{gateway.url}/api/admin-end-users",
        json={"customer_id": str(customer_id), "end_user": "ada", "monthly_cap_cents": 0},
        headers={"authorization": f"Bearer {token}"},
    ) as response:
        assert response.status == 200, await response.text()
    body = {"provider": "up", "model": "ok", "messages": MESSAGES}
    status, reply = await caller.post("/api/gateway-chat", body | {"user": "ada"})
    assert (status, reply["code"], reply["scope"]) == (402, "CAP_REACHED", "end_user")
    assert reply["end_user"] == {"cap_cents": 0, "spent_cents": 0, "held_cents": 0}
    assert "end user `ada`" in reply["error"]
    status, reply = await caller.post("/api/gateway-job-submit", body | {"user": "ada"})
    assert (status, reply["scope"], reply["cap_cents"], reply["spent_cents"]) == (402, "end_user", 0, 0)
    status, reply = await caller.post("/v1/chat/completions", body | {"model": "up/ok", "user": "ada"})
    assert status == 402, reply
    for other in ("bob", None):
        assert (await caller.post("/api/gateway-chat", body | {"user": other}))[0] == 200
    audit = await pool.fetchrow("select action, target, meta from kaixu.audit_event where action = 'END_USER_CAP'")
    assert audit is not None
    assert (audit["target"], audit["meta"]) == (f"customer:{customer_id}", {"end_user": "ada"})


async def gateway_token(caller: Caller, gateway: Process) -> str:
    """An operator's token."""
    password = {"password": gateway.environment["ADMIN_PASSWORD"]}
    async with caller.http.post(f"{gateway.url}/api/admin-login", json=password) as response:
        token: str = (await response.json())["token"]
    return token
