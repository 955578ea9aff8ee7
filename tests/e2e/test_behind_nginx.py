"""Behind nginx with the file that we ship, config/deploy/nginx/kaixu.conf."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Client, Process
from tests.support.shipped_nginx import Nginx
from tests.support.vendor import Vendor

from .conftest import Start
from .test_endings import settled

MIB = 1024 * 1024


@pytest.fixture
async def behind(start: Start, tmp_path: Path) -> AsyncIterator[tuple[Nginx, Process]]:
    """nginx, and the gateway behind it."""
    (gateway,) = await start(1, KAIXU_TRUSTED_PROXIES="127.0.0.1", KAIXU_LOG="json")
    nginx = Nginx(tmp_path / "nginx", f"127.0.0.1:{gateway.port}")
    checked = subprocess.run([*nginx.command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr
    yield await nginx.start(), gateway
    nginx.stop()


async def test_a_stream_arrives_as_it_is_written_and_a_client_that_leaves_is_noticed(
    behind: tuple[Nginx, Process], pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    nginx, _ = behind
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    # The vendor speaks for a minute; the client reads two pieces of it and leaves.
    status, frames = await Client(http, nginx.url, key).stream("stream-3000-20", max_tokens=3000, leave_after=2)
    assert (status, [name for name, _ in frames]) == (200, ["meta", "delta", "delta"])
    assert vendor.delivered < 3000
    event = await settled(pool)
    assert (event["end_reason"], vendor.cancelled, vendor.finished) == ("client_gone", 1, 0)
    await assert_books_balance(pool)


async def test_large_bodies_pass_and_what_is_refused_is_refused_by_the_gateway(
    behind: tuple[Nginx, Process], pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    nginx, _ = behind
    _, key = await virtual_key(pool, await customer(pool))

    async def chat(size: int) -> tuple[int, dict[str, Any]]:
        """A call with a message of this size."""
        message = {"role": "user", "content": "x" * size}
        body = json.dumps({"provider": "up", "model": "ok", "messages": [message]}).encode()
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        async with http.post(f"{nginx.url}/api/gateway-chat", data=BytesIO(body), headers=headers) as response:
            return response.status, await response.json()

    status, answer = await chat(6 * MIB)
    assert (status, answer.get("finish_reason")) == (200, "stop")
    assert len(vendor.requests[0]["messages"][0]["content"]) == 6 * MIB
    status, answer = await chat(9 * MIB)
    assert (status, answer["code"]) == (413, "TOO_LARGE")

    # An unknown key is refused while its body is still to come: nginx does not collect it first.
    reader, writer = await asyncio.open_connection("127.0.0.1", nginx.port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: ai.example.com\r\nauthorization: Bearer nonsense\r\n"
        b"content-type: application/json\r\ncontent-length: 7000000\r\n\r\n{"
    )
    async with asyncio.timeout(30):
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()


async def test_the_gateway_sees_the_client_s_address_whatever_the_client_says(
    behind: tuple[Nginx, Process], http: aiohttp.ClientSession
) -> None:
    nginx, gateway = behind
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))) as elsewhere:
        for url, said in ((gateway.url, ""), (nginx.url, ""), (nginx.url, "203.0.113.7"), (nginx.url, "127.0.0.1")):
            headers = {"x-forwarded-for": said} if said else {}
            async with elsewhere.get(f"{url}/v1/models", headers=headers) as response:
                assert response.status == 401
    async with http.get(f"{nginx.url}/v1/models") as response:  # from the proxy's own address: the proxy is all we know
        assert response.status == 401
    seen: list[str] = []
    async with asyncio.timeout(30):
        while len(seen) < 5:  # the log is written by a thread
            lines = [json.loads(line) for line in gateway.log.read_text().splitlines() if line.endswith("}")]
            seen = [line["client"] for line in lines if line.get("path") == "/v1/models"]
            await asyncio.sleep(0.05)
    assert len(set(seen[:4])) == 1
    assert seen[4] != seen[0]
