"""What clients are told of limits: status, code, scope, headers, in the shape of each door."""

from __future__ import annotations

from typing import Any

import aiohttp
import asyncpg

from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Client
from tests.support.vendor import INPUT_TOKENS, Vendor

from .conftest import Start

HELLO = [{"role": "user", "content": "hello"}]


async def ask(
    http: aiohttp.ClientSession, url: str, key: str, path: str, body: dict[str, Any]
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of a request."""
    async with http.post(f"{url}{path}", json=body, headers={"authorization": f"Bearer {key}"}) as response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return response.status, await response.json(), headers


def doors(max_tokens: int) -> dict[str, dict[str, Any]]:
    """A chat call at each door."""
    return {
        "/api/gateway-chat": {"provider": "up", "model": "ok", "messages": HELLO, "max_tokens": max_tokens},
        "/api/gateway-stream": {"provider": "up", "model": "ok", "messages": HELLO, "max_tokens": max_tokens},
        "/v1/chat/completions": {"model": "up/ok", "messages": HELLO, "max_tokens": max_tokens},
        "/v1/responses": {"model": "up/ok", "input": "hello", "max_output_tokens": max_tokens},
        "/v1/messages": {"model": "up/ok", "messages": HELLO, "max_tokens": max_tokens},
    }


async def test_every_door_tells_what_is_left_of_a_minute_s_tokens_and_when_there_are_more(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    customer_id = await customer(pool, tpm_limit=10_000)
    _, key = await virtual_key(pool, customer_id)
    status, _, headers = await ask(http, gateway.url, key, "/v1/chat/completions", doors(4)["/v1/chat/completions"])
    assert (status, headers["x-ratelimit-limit-tokens"]) == (200, "10000")
    assert 9000 < int(headers["x-ratelimit-remaining-tokens"]) < 10_000
    # As if every second of the last minute had used 160 tokens: 9,760 in all.
    await pool.execute(
        "update kaixu.limit_use set token_slot = extract(epoch from now()), token_counts = array_fill(160::bigint, array[61])"
    )
    for path, body in doors(3000).items():
        status, said, headers = await ask(http, gateway.url, key, path, body)
        assert (status, said["scope"]) == (429, "tokens"), path
        assert said["ratelimit"]["remaining"] == 0
        assert 10 <= int(headers["retry-after"]) <= 22
        assert 240 <= int(headers["x-ratelimit-remaining-tokens"]) < 3000
        if path == "/v1/messages":
            assert said["error"]["type"] == "rate_limit_error"
        elif path.startswith("/v1"):
            assert (said["error"]["type"], said["error"]["code"]) == ("rate_limit_error", "rate_limited")
        else:
            assert said["code"] == "RATE_LIMITED"
            assert "used, 0 held" in said["error"]


async def test_every_door_tells_of_a_day_s_cap_and_when_the_next_day_begins(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    _, key = await virtual_key(pool, await customer(pool), day_cap_nusd=1000)
    for path, body in doors(4).items():
        status, said, headers = await ask(http, gateway.url, key, path, body)
        assert (status, said["scope"]) == (402, "key_day"), path
        assert 1 <= int(headers["retry-after"]) <= 24 * 3600
        assert "month" in said
        if path.startswith("/v1"):
            kind = "billing_error" if path == "/v1/messages" else "insufficient_quota"
            assert said["error"]["type"] == kind
            assert "Daily cap reached" in said["error"]["message"]
    assert await pool.fetchval("select count(*) from kaixu.rate_window") == 0


async def test_a_call_larger_than_the_limit_gets_fewer_tokens_and_is_told_so(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1)
    _, key = await virtual_key(pool, await customer(pool), limits={"up/stream-50-5": {"tpm": 100}})
    status, body = await Client(http, gateway.url, key).chat("stream-50-5", max_tokens=10_000)
    assert status == 200
    applied = body["usage"]["max_tokens_applied"]
    assert 0 < applied < 100
    assert vendor.requests[0]["max_completion_tokens"] == applied
    assert await pool.fetchval("select sum(input_tokens + output_tokens) from kaixu.usage_event") <= 100
    await assert_books_balance(pool)


async def test_a_call_that_can_never_run_is_told_so_and_sdks_do_not_repeat_it(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    _, key = await virtual_key(pool, await customer(pool), tpm_limit=INPUT_TOKENS)
    long: dict[str, Any] = {"model": "up/ok", "messages": [{"role": "user", "content": "hello " * 100}]}
    status, said, headers = await ask(http, gateway.url, key, "/v1/chat/completions", long)
    assert (status, said["scope"], headers["x-should-retry"]) == (429, "key_tokens", "false")
    assert "retry-after" not in headers
    assert "shorten it" in said["error"]["message"]


async def test_a_model_s_limit_holds_under_the_name_that_clients_see(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1, lane="public_name: kAIxU\n    aliases: [house]")
    customer_id = await customer(pool)
    for name in ("up/ok", "kaixu/ok", "house/ok"):
        _, key = await virtual_key(pool, customer_id, limits={name: {"rpm": 2}})
        client = Client(http, gateway.url, key)
        statuses = [(await client.chat("ok", provider=provider))[0] for provider in ("up", "KAIXU", "house", "up")]
        assert statuses == [200, 200, 429, 429]
        assert (await client.chat("silent"))[0] == 200


async def test_an_expired_key_is_told_so_at_every_door(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    key_id, key = await virtual_key(pool, await customer(pool))
    assert (await Client(http, gateway.url, key).chat())[0] == 200
    await pool.execute("update kaixu.virtual_key set expires_at = now() where id = $1", key_id)
    for path, body in doors(4).items():
        status, said, _ = await ask(http, gateway.url, key, path, body)
        assert status == 401, path
        assert "this key has expired" in str(said["error"])
        if not path.startswith("/v1"):
            assert said["code"] == "KEY_EXPIRED"


async def test_a_key_sees_the_limits_that_bind_it(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    customer_id = await customer(pool, tpm_limit=900)
    group_id = await pool.fetchval(
        "insert into kaixu.key_group (customer_id, name, rpm_limit) values ($1, 'lab', 5) returning id", customer_id
    )
    limits = {"up/ok": {"day_cap_nusd": 10_000_000}}
    _, key = await virtual_key(pool, customer_id, group_id=group_id, limits=limits, rpm_limit=7)
    headers = {"authorization": f"Bearer {key}"}
    async with http.get(f"{gateway.url}/api/user-summary", headers=headers) as response:
        told = (await response.json())["limits"]
    assert told == {
        "rpm_limit": 7,
        "rpd_limit": None,
        "tpm_limit": None,
        "day_cap_cents": None,
        "models": {"up/ok": {"day_cap_cents": 1}},
        "expires_at": None,
        "customer_tpm_limit": 900,
        "max_devices": None,
        "devices": 0,
        "require_install_id": False,
        "customer_day_cap_cents": None,
        "group": {
            "name": "lab",
            "monthly_cap_cents": None,
            "day_cap_cents": None,
            "rpm_limit": 5,
            "tpm_limit": None,
        },
    }
