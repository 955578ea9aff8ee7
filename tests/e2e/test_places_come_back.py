"""Clients that leave at every stage of every kind of request take no place, no memory and no money with them."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import random

import aiohttp
import asyncpg
import pytest

from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Client

from .conftest import Start

LIMIT = 300_000
LONG = "x" * (LIMIT - 2000)


def chat(model: str, text: str = "hello") -> bytes:
    """The body of a chat."""
    return json.dumps({"provider": "up", "model": model, "messages": [{"role": "user", "content": text}]}).encode()


def requests(key: str) -> list[bytes]:
    """Whole requests, each of another kind."""
    models = ("ok", "hang", "stream-200-20", "status-500", "status-429", "cut-3", "nonsense", "greedy", "silent")
    bodies: list[tuple[str, str, bytes, str]] = [
        ("POST", f"/api/gateway-{function}", chat(model), "") for model in models for function in ("chat", "stream")
    ]
    bodies += [("POST", "/v1/chat/completions", chat(model), "") for model in models]
    bodies += [("POST", "/v1/messages", chat("ok"), ""), ("POST", "/api/gateway-job-submit", chat("ok"), "")]
    bodies += [("POST", "/api/gateway-chat", chat("ok", LONG), "")]
    bodies += [("POST", "/api/gateway-chat", gzip.compress(chat("ok", LONG)), "content-encoding: gzip\r\n")]
    bodies += [("POST", "/api/gateway-chat", gzip.compress(chat("ok", LONG))[:-9], "content-encoding: gzip\r\n")]
    bodies += [("POST", "/api/gateway-chat", b"{" * 1000, ""), ("POST", "/v1/files", b"x" * LIMIT, "")]
    bodies += [(method, "/api/gateway-chat", LONG.encode(), "") for method in ("GET", "PUT", "OPTIONS", "HEAD")]
    bodies += [("GET", "/v1/models", b"", ""), ("HEAD", "/v1/models", b"", ""), ("POST", "/nothing", LONG.encode(), "")]
    return [
        f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n{more}"
        f"content-length: {len(body)}\r\n\r\n".encode()
        + body
        for method, path, body, more in bodies
    ]


async def leave(port: int, request: bytes, part: float, wait_s: float) -> None:
    """Send this part of a request, wait, and leave without a word."""
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request[: int(len(request) * part)])
            await asyncio.wait_for(writer.drain(), 5)
            await asyncio.sleep(wait_s)
        except (OSError, TimeoutError):
            pass
        finally:
            writer.transport.abort()


@pytest.mark.parametrize("server", ["hypercorn", "granian"])
async def test_clients_that_leave_at_any_stage_take_nothing_with_them(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, server: str
) -> None:
    [gateway] = await start(
        gateway=f"server: {server}, max_in_flight: 8, max_in_flight_per_key: 4, grace_s: 1, "
        f"body_limit_bytes: {LIMIT}, body_memory_bytes: {2 * LIMIT}, jobs: {{workers: 0}}"
    )
    _, key = await virtual_key(pool, await customer(pool), rpm_limit=1_000_000)
    made = requests(key)
    chance = random.Random(13)
    storm = [
        leave(gateway.port, request, part, wait_s)
        for request in made
        for part in (0.02, 0.5, 0.999, 1)
        for wait_s in (0, 0.3)
    ]
    chance.shuffle(storm)
    for at in range(0, len(storm), 24):
        await asyncio.gather(*storm[at : at + 24])
    client = Client(http, gateway.url, key)
    async with asyncio.timeout(30):
        while await pool.fetchval("select count(*) from kaixu.reservation"):
            await asyncio.sleep(0.05)

    async def three() -> list[int]:
        calls = [client.chat(), client.chat(messages=[{"role": "user", "content": LONG}]), client.chat()]
        return [status for status, _ in await asyncio.gather(*calls)]

    # Requests that were left before their admission hold no money, but may hold a place a moment longer.
    async with asyncio.timeout(30):
        while await three() != [200, 200, 200]:
            await asyncio.sleep(0.2)
    for _ in range(3):
        assert await three() == [200, 200, 200]
    await assert_books_balance(pool)
