"""What the edge lets in, how much of it, and from whom; over real sockets."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.accounts.key_material import new_key
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import SECRETS, Client, Process

from .conftest import Start

SERVERS = ("hypercorn", "granian")
MESSAGES = [{"role": "user", "content": "hello"}]


async def head_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    """A reply off a socket: its status, its headers, its JSON."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
    body = json.loads(await reader.readexactly(int(headers["content-length"])))
    return int(lines[0].split()[1]), headers, body


async def wait_for(pool: asyncpg.Pool, query: str, wanted: object) -> None:
    """Return when the database answers so; what it is waited for comes a little later than a reply."""
    for _ in range(200):
        if await pool.fetchval(query) == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{query}: {await pool.fetchval(query)}")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("method", "path", "credential"),
    [
        ("POST", "/api/gateway-chat", ""),
        ("POST", "/v1/chat/completions", "authorization: Bearer nonsense\r\n"),
        ("POST", "/v1/messages", "x-api-key: a.b.c\r\n"),
        ("POST", "/api/session-token", ""),
        ("POST", "/api/admin-customers", f"authorization: Bearer {new_key()}\r\n"),
        ("PATCH", "/.netlify/functions/admin-keys/", f"x-admin-password: {SECRETS['ADMIN_PASSWORD']}\r\n"),
    ],
    ids=["native", "openai", "anthropic", "sessions", "operators", "operators, by a header that is off"],
)
async def test_who_shows_no_credential_is_refused_before_the_body(
    server: str, method: str, path: str, credential: str, start: Start
) -> None:
    (gateway,) = await start(1, gateway=f"server: {server}")
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    # Four megabytes are announced, and none of them is sent.
    writer.write(f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n{credential}\r\n".encode())
    status, headers, body = await head_of(reader)
    assert (status, headers["connection"]) == (401, "close")
    assert "UNAUTHENTICATED" in json.dumps(body).upper() or body["error"]["type"] == "authentication_error"
    assert headers["x-kaixu-request-id"]
    writer.close()


@pytest.mark.parametrize("server", SERVERS)
async def test_a_client_with_a_wrong_key_learns_it_also_when_its_body_is_long(
    server: str, start: Start, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1, gateway=f"server: {server}")
    for size in (10, 500_000, 3_000_000):
        data = io.BytesIO(b"x" * size)
        async with http.post(f"{gateway.url}/api/gateway-chat", data=data) as response:
            assert (response.status, (await response.json())["code"]) == (401, "UNAUTHENTICATED")


async def test_a_connection_goes_on_after_a_short_body_was_refused(start: Start) -> None:
    (gateway,) = await start(1)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for _ in range(2):
        writer.write(b"POST /api/gateway-chat HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        status, headers, _ = await head_of(reader)
        assert (status, "connection" in headers) == (401, False)
    writer.close()


async def test_all_request_bodies_together_are_bounded(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1, gateway="body_limit_bytes: 100000, body_memory_bytes: 100000")
    _, key = await virtual_key(pool, await customer(pool))
    headers = f"authorization: Bearer {key}\r\n"

    async def hold() -> tuple[asyncio.StreamWriter, asyncio.Future[bytes]]:
        """60,000 bytes that are held, for the last one does not come; and the reply, where they found no room."""
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(f"POST /api/gateway-chat HTTP/1.1\r\nhost: x\r\ncontent-length: 60001\r\n{headers}\r\n".encode())
        writer.write(b" " * 60_000)
        await writer.drain()
        return writer, asyncio.ensure_future(reader.read(1))

    writer, refused = await hold()
    body = json.dumps({"provider": "up", "model": "ok", "messages": MESSAGES, "padding": "x" * 60_000})
    url, given = f"{gateway.url}/api/gateway-chat", {"authorization": f"Bearer {key}"}
    while True:
        async with http.post(url, data=body, headers=given) as response:
            if response.status == 503:  # until the first one's bytes have arrived there is room
                assert (await response.json())["code"] == "OVERLOADED"
                assert response.headers["retry-after"] == "1"
                break
        if refused.done():  # they came while the other one's were held
            writer.close()
            writer, refused = await hold()
    assert (await Client(http, gateway.url, key).chat())[0] == 200  # a short one has room
    writer.close()
    refused.cancel()
    while True:
        async with http.post(url, data=body, headers=given) as response:
            if response.status == 200:
                break


@pytest.mark.parametrize("server", SERVERS)
async def test_no_upgrade_to_a_websocket_makes_a_500(server: str, start: Start, http: aiohttp.ClientSession) -> None:
    (gateway,) = await start(1, gateway=f"server: {server}")
    for path in ("/nothing", "/v1/chat/completions", "/api/gateway-chat", "/api/models"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(gateway.url + path)
        assert 400 <= caught.value.status < 500
    assert "Traceback" not in gateway.log.read_text()


@pytest.mark.parametrize("path", ["/", "/v1/chat/completions", "/api/gateway-chat", "/api/health"])
async def test_a_websocket_is_turned_away_with_a_reason(path: str, start: Start, http: aiohttp.ClientSession) -> None:
    (gateway,) = await start(1)
    async with http.get(
        gateway.url + path,
        headers={
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        },
    ) as response:
        assert response.status == 400
        assert "WebSocket" in await response.text()
    assert "Traceback" not in gateway.log.read_text()


async def login(http: aiohttp.ClientSession, gateway: Process, forwarded: str, password: str) -> int:
    """A login through a proxy: its status."""
    headers = {"x-forwarded-for": forwarded}
    async with http.post(f"{gateway.url}/api/admin-login", json={"password": password}, headers=headers) as response:
        return response.status


async def test_behind_a_trusted_proxy_every_client_has_its_own_tries(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1, KAIXU_TRUSTED_PROXIES="127.0.0.0/8, 10.0.0.0/8")
    guesses = [await login(http, gateway, f"1.2.3.{at}, 203.0.113.7, 10.0.0.1", "a wrong one") for at in range(12)]
    assert guesses == [401] * 10 + [429] * 2  # whatever the guesser wrote before its own address
    right = SECRETS["ADMIN_PASSWORD"]
    assert await login(http, gateway, "198.51.100.1", right) == 200
    assert await login(http, gateway, "203.0.113.7", right) == 429  # a stranger's tries are not forgotten for that
    hashes = await pool.fetchval("select count(distinct address_hash) from kaixu.login_try where address_hash <> ''")
    assert hashes == 2


async def test_without_trusted_proxies_nobody_chooses_its_address(start: Start, http: aiohttp.ClientSession) -> None:
    (gateway,) = await start(1)
    guesses = [await login(http, gateway, f"203.0.113.{at}", "a wrong one") for at in range(12)]
    assert guesses == [401] * 10 + [429] * 2


async def test_reports_of_clients_are_counted_by_the_same_address(start: Start, http: aiohttp.ClientSession) -> None:
    (gateway,) = await start(1, KAIXU_TRUSTED_PROXIES="127.0.0.1")

    async def report(address: str) -> int:
        headers = {"x-forwarded-for": address}
        async with http.post(f"{gateway.url}/api/client-error-report", json={}, headers=headers) as response:
            return response.status

    assert [await report("203.0.113.7") for _ in range(31)] == [200] * 30 + [429]
    assert await report("203.0.113.8") == 200


async def test_one_key_never_takes_all_places(start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession) -> None:
    (gateway,) = await start(1, gateway="max_in_flight: 8")
    _, greedy = await virtual_key(pool, await customer(pool))
    _, other = await virtual_key(pool, await customer(pool))
    client = Client(http, gateway.url, greedy)
    running = [asyncio.ensure_future(client.chat("hang")) for _ in range(2)]
    await wait_for(pool, "select count(*) from kaixu.reservation", 2)
    body = {"provider": "up", "model": "ok", "messages": MESSAGES}
    async with http.post(f"{gateway.url}/api/gateway-chat", json=body, headers=client.headers) as response:
        said = await response.json()
        assert (response.status, said["code"], response.headers["retry-after"]) == (429, "TOO_MANY_AT_ONCE", "1")
        assert said["error"].startswith("2 calls of this key are running")
    assert (await Client(http, gateway.url, other).chat())[0] == 200
    for call in running:
        call.cancel()
    await asyncio.wait(running)
    await wait_for(pool, "select count(*) from kaixu.reservation", 0)
    assert [(await client.chat())[0] for _ in range(5)] == [200] * 5
    gateway.config.write_text(gateway.config.read_text().replace("max_in_flight: 8", "max_in_flight_per_key: 1"))
    assert (await gateway.command("reload")).returncode == 0
    both = await asyncio.gather(client.chat("stream-50-5"), client.chat("stream-50-5"))
    assert sorted(status for status, _ in both) == [200, 429]
    # Large bodies are read beside the loop: the place is taken after that.
    large = [{"role": "user", "content": "x" * 400_000}]
    both = await asyncio.gather(client.chat("stream-50-5", messages=large), client.chat("stream-50-5", messages=large))
    assert sorted(status for status, _ in both) == [200, 429]
    await assert_books_balance(pool)


async def test_a_stream_that_fails_in_the_middle_is_in_the_monitor_once(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    customer_id = await customer(pool)
    key_id, key = await virtual_key(pool, customer_id)
    await Client(http, gateway.url, key).stream("cut-3")
    await Client(http, gateway.url, key).stream("ok")
    await gateway.stop()
    [row] = await pool.fetch("select * from kaixu.gateway_event where kind = 'error'")
    assert (row["customer_id"], row["key_id"], row["provider"], row["model"]) == (customer_id, key_id, "up", "cut-3")
    assert (row["http_status"], row["error_code"], row["level"]) == (502, "UPSTREAM_ERROR", "error")
    assert row["request_id"]


async def test_a_reached_cap_names_its_holder_its_figures_and_a_way_out(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    customer_id = await customer(pool, cap_nusd=10**9)
    _, roomy = await virtual_key(pool, customer_id)
    _, narrow = await virtual_key(pool, customer_id, monthly_cap_nusd=7000)
    status, said = await Client(http, gateway.url, narrow).chat(max_tokens=100)
    assert (status, said["scope"]) == (402, "key")
    assert said["error"].startswith(
        f"Monthly cap reached: key …{narrow[-4:]} has $0.000007 left of $0.000007 ($0.00 spent, $0.00 held"
    )
    assert said["hint"].startswith("Shorten the request or lower max_tokens, or ask your operator for a higher cap.")
    await pool.execute("update kaixu.customer set monthly_cap_nusd = 0")
    status, said = await Client(http, gateway.url, roomy).chat()
    assert (status, said["scope"]) == (402, "customer")
    assert said["error"].startswith(
        f"Monthly cap reached: the account of key …{roomy[-4:]} has $0.00 left of $0.00 ($0.00 spent"
    )
    assert said["hint"].startswith("Ask your operator for a higher cap. The next month begins on 20")
