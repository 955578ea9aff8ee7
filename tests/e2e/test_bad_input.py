"""Nonsense of every kind at every door: a clear 4xx, never a 500, never a stack trace."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import aiohttp
import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import SECRETS
from tests.support.size import examples

from .conftest import Start

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "provider", "model", "messages", "max_tokens", "temperature", "email", "plan_name", "monthly_cap_cents", "customer_id",
    "label", "role", "rpm_limit", "max_devices", "allowed_providers", "allowed_models", "amount_cents", "month", "password",
    "api_key_id", "install_id", "revoked", "ttl_seconds", "is_active", "require_install_id",
)  # fmt: skip
VALUES = JSON | st.sampled_from(
    [
        "up",
        "ok",
        "1",
        1,
        "999999999999999999999999",
        10**30,
        -1,
        2**63,
        "\x00",
        "a\x00b",
        "\ud83d\ude00",
        "x" * 5000,
        "1e400",
        "",
    ]
)
BODIES = (
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6).map(json.dumps)
    | JSON.map(json.dumps)
    | st.text(max_size=40)
)
DOORS = st.sampled_from(
    [
        "gateway-chat", "gateway-stream", "session-token", "admin-login", "admin-session-check", "admin-customers", "admin-keys",
        "admin-usage", "admin-topup", "admin-devices", "health", "nowhere", "%00", "gateway-chat/../x",
    ]
)  # fmt: skip
METHODS = st.sampled_from(["GET", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "HEAD"])
QUERIES = st.sampled_from(
    [
        "", "?customer_id=1", "?customer_id=x", "?customer_id=99999999999999999999", "?customer_id=1&month=2026-13",
        "?customer_id=1&month=9999-12", "?customer_id=%00", "?key_id=1", "?key_id=-1", "?rotate_key_id=7", "?reveal_key_id=1",
        "?customer_id=1&limit=abc", "?customer_id=1&limit=-5", "?month=%ff",
    ]
)  # fmt: skip
CREDENTIALS = st.sampled_from(["key", "admin", "session", "none", "kx_live_" + "a" * 48, "a.b.c", "\u00e9", "x" * 9000])


async def test_no_input_makes_a_500(start: Start, pool: asyncpg.Pool) -> None:
    (gateway,) = await start(1)
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(limit=4)
    async with aiohttp.ClientSession(connector=connector) as http:
        tokens = {"key": key}
        async with http.post(
            f"{gateway.url}/api/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]}
        ) as response:
            tokens["admin"] = (await response.json())["token"]
        async with http.post(
            f"{gateway.url}/api/session-token", headers={"authorization": f"Bearer {key}"}
        ) as response:
            tokens["session"] = (await response.json())["token"]

        async def ask(method: str, door: str, query: str, body: str, credential: str) -> None:
            headers = {"x-kaixu-request-id": "nonsense"}
            if credential != "none":
                headers["authorization"] = f"Bearer {tokens.get(credential, credential)}"
            data = body.encode("utf-8", "surrogatepass")
            url = f"{gateway.url}/api/{door}{query}"
            async with http.request(method, url, data=data, headers=headers) as response:
                text = await response.text(errors="replace")
                if credential == "admin" and method in ("PATCH", "DELETE") and response.status == 200:
                    # The key must go on working for the examples that follow.
                    await pool.execute(
                        "update kaixu.virtual_key set revoked_at = null, rpm_limit = 100000, rpd_limit = null"
                    )
                assert response.status < 500 or response.status in (502, 503), (method, door, query, body, text)
                assert "Traceback" not in text
                if response.status >= 400 and method != "HEAD" and "json" in response.headers.get("content-type", ""):
                    said: dict[str, Any] = json.loads(text)
                    assert {"error", "code", "request_id"} <= set(said), said

        def run(*example: str) -> None:
            asyncio.run_coroutine_threadsafe(ask(*example), loop).result(30)

        @given(METHODS, DOORS, QUERIES, BODIES, CREDENTIALS)
        @settings(
            max_examples=examples(400),
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        def try_one(method: str, door: str, query: str, body: str, credential: str) -> None:
            run(method, door, query, body, credential)

        await asyncio.to_thread(try_one)
    await assert_books_balance(pool)
    assert "Traceback" not in gateway.log.read_text()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "BAD_JSON"),
        (b"{", 400, "BAD_JSON"),
        (b"[]", 400, "BAD_JSON"),
        (b"\xff\xfe", 400, "BAD_JSON"),
        (b"[" * 100_000, 400, "BAD_JSON"),
        (b'{"model": "ok"}', 400, "BAD_REQUEST"),
        (b'{"provider": "up", "model": "ok"}', 400, "BAD_REQUEST"),
        (b'{"provider": "up", "model": "ok", "messages": []}', 400, "BAD_REQUEST"),
        (b'{"provider": "up", "model": "ko", "messages": [{"role": "user", "content": "x"}]}', 400, "UNKNOWN_MODEL"),
        (b'{"provider": "up", "model": "ok", "messages": [{"role": "king", "content": "x"}]}', 422, "INVALID_FIELD"),
        (b'{"provider": "up", "model": "ok", "max_tokens": 0, "messages": [{"role": "user", "content": "x"}]}', 422, "INVALID_FIELD"),
        (b'{"provider": "up", "model": "ok", "temperature": 9, "messages": [{"role": "user", "content": "x"}]}', 422, "INVALID_FIELD"),
        (b'{"provider": "up", "model": "ok", "messages": "' + b"x" * 9_000_000 + b'"}', 413, "TOO_LARGE"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_body_is_said(
    body: bytes, status: int, code: str, start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    _, key = await virtual_key(pool, await customer(pool))
    headers = {"authorization": f"Bearer {key}"}
    async with http.post(f"{gateway.url}/api/gateway-chat", data=io.BytesIO(body), headers=headers) as response:
        said = await response.json()
        assert (response.status, said["code"]) == (status, code)
        assert said["request_id"] == response.headers["x-kaixu-request-id"]


async def test_bodies_encoded_twice_and_part_lists_are_read(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    _, key = await virtual_key(pool, await customer(pool))
    headers = {"authorization": f"Bearer {key}"}
    body = {
        "provider": "UP",
        "model": "ok",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }
    for data in (json.dumps(body), json.dumps(json.dumps(body))):
        async with http.post(f"{gateway.url}/.netlify/functions/gateway-chat", data=data, headers=headers) as response:
            said = await response.json()
            assert response.status == 200, said
            assert (said["provider"], said["requested_provider"]) == ("up", "UP")
