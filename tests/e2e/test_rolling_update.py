"""Gateways behind a balancer are restarted in turn while clients call: no call fails, each is billed once."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived

from kaixu.gateway.stopping import SAME_S
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.nginx import balanced, nginx
from tests.support.process import Client, Process
from tests.support.shipped_nginx import Nginx
from tests.support.size import SLOW, size
from tests.support.vendor import Vendor

CONFIG = """
gateway: {{server: {server}, drain_s: {drain_s}, grace_s: 20}}
lanes:
  up:
    plugin: openai
    base_url: {vendor}
    api_key: vendor-key
    retries: 0
    models:
      ok: {{type: chat, price: {{input: 1, output: 2}}}}
      stream-20-5: {{type: chat, price: {{input: 1, output: 2}}}}
      stream-200-20: {{type: chat, price: {{input: 1, output: 2}}}}
      vectors: {{type: embed, dimensions: 2, price: {{input: 1}}}}
"""

#: nginx tries a server that refused a connection again after this long; the default in `make slow`.
FAIL_S = size(1, 10)
DRAIN_S = FAIL_S + 2
PLAIN_NUSD, STREAM_NUSD, EMBED_NUSD = 22_000, 54_000, 14_000


class Load:
    """Clients that call without a pause through one address; every answer is counted."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key
        self.answers: Counter[str] = Counter()
        self.failed: list[str] = []
        self.is_over = False

    async def client(self, at: int) -> None:
        """One client: plain calls, streams and embeddings in turn."""
        async with aiohttp.ClientSession() as http:
            client = Client(http, self.url, self.key)
            kinds = [self.plain, self.streamed, self.embedded]
            while not self.is_over:
                kind = kinds[at % len(kinds)]
                at += 1
                try:
                    wrong = await kind(client)
                except (aiohttp.ClientError, ValueError) as error:
                    wrong = repr(error)
                if wrong:
                    self.failed.append(f"{kind.__name__}: {wrong}")
                else:
                    self.answers[kind.__name__] += 1
                await asyncio.sleep(0.01)

    async def plain(self, client: Client) -> str | None:
        """A plain call; what is wrong with its answer."""
        status, body = await client.chat("ok")
        return None if status == 200 and body["usage"]["output_tokens"] == 4 else f"{status} {body}"

    async def streamed(self, client: Client) -> str | None:
        """A stream; what is wrong with it."""
        status, frames = await client.stream("stream-20-5", max_tokens=100)
        return None if status == 200 and frames[-1][0] == "done" else f"{status} {frames[-1:]}"

    async def embedded(self, client: Client) -> str | None:
        """Embeddings; what is wrong with the answer."""
        body = {"provider": "up", "model": "vectors", "input": "hello"}
        async with client.http.post(f"{self.url}/api/gateway-embed", json=body, headers=client.headers) as response:
            text = await response.text()
            return None if response.status == 200 else f"{response.status} {text}"

    @asynccontextmanager
    async def running(self, clients: int) -> AsyncIterator[None]:
        """Call while the block runs."""
        tasks = [asyncio.ensure_future(self.client(at)) for at in range(clients)]
        try:
            yield
        finally:
            self.is_over = True
            await asyncio.gather(*tasks)


async def health_of(http: aiohttp.ClientSession, gateway: Process) -> int | None:
    """The status that a gateway reports; None if it does not listen any more."""
    try:
        async with http.get(f"{gateway.url}/api/health") as response:
            return response.status
    except aiohttp.ClientError:
        return None


async def until_unready(http: aiohttp.ClientSession, gateway: Process) -> None:
    """Wait until a gateway says that it is about to stop."""
    async with asyncio.timeout(30):
        while await health_of(http, gateway) != 503:
            await asyncio.sleep(0.02)


async def status_by_http_2(gateway: Process, method: str, path: str, **headers: str) -> str:
    """The status of the reply to an HTTP/2 request; the rest of its body, if it announces one, does not come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    connection = H2Connection(H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    pseudo = {":method": method, ":path": path, ":scheme": "http", ":authority": "x"}
    connection.send_headers(1, [*pseudo.items(), *headers.items()], end_stream=method == "GET")
    writer.write(connection.data_to_send())
    try:
        async with asyncio.timeout(30):
            while True:
                for event in connection.receive_data(await reader.read(65536)):
                    if isinstance(event, ResponseReceived):
                        return str({str(name): str(value) for name, value in event.headers}[":status"])
    finally:
        writer.close()


async def restart(gateway: Process) -> None:
    """Stop a gateway as an update does, and start it again on the same port."""
    assert await gateway.stop() == 0
    await gateway.start()


async def test_gateways_restarted_in_turn_and_back_to_back_lose_no_call_and_bill_each_once(
    tmp_path: Path, dsn: str, pool: asyncpg.Pool, vendor: Vendor
) -> None:
    gateways = [
        Process(tmp_path / server, dsn, CONFIG.format(server=server, drain_s=DRAIN_S, vendor=vendor.url))
        for server in ("hypercorn", "granian")
    ]
    _, key = await virtual_key(pool, await customer(pool))
    ports = [gateway.port for gateway in gateways]
    again = "" if SLOW else f"fail_timeout={FAIL_S}s"
    defaults, url = balanced(ports, server=again)
    shipped = Nginx(tmp_path / "shipped", *(f"127.0.0.1:{port} {again}".strip() for port in ports))
    try:
        await asyncio.gather(*(gateway.start() for gateway in gateways))
        await shipped.start()
        with nginx(tmp_path / "nginx", defaults):
            loads = [Load(url, key), Load(shipped.url, key)]
            async with loads[0].running(4), loads[1].running(4):
                for gateway in gateways * size(1, 3):
                    await restart(gateway)
        assert [load.failed for load in loads] == [[], []], [load.failed[:5] for load in loads]
        answers = loads[0].answers + loads[1].answers
        assert min(load.answers[kind] for load in loads for kind in ("plain", "streamed", "embedded")) > 10
        billed = await pool.fetch("select operation, end_reason, count(*) from kaixu.usage_event group by 1, 2")
        assert sum(row["count"] for row in billed) == answers.total(), billed
        assert {row["end_reason"] for row in billed} == {"complete"}
        cost = answers["plain"] * PLAIN_NUSD + answers["streamed"] * STREAM_NUSD + answers["embedded"] * EMBED_NUSD
        assert await pool.fetchval("select sum(cost_nusd)::bigint from kaixu.usage_event") == cost
        await assert_books_balance(pool)
    finally:
        shipped.stop()
        for gateway in gateways:
            if gateway.process is not None:
                gateway.kill()


@pytest.mark.parametrize("server", ["hypercorn", "granian"])
async def test_a_draining_gateway_is_unready_and_serves_on_until_it_is_told_to_go_on(
    server: str, tmp_path: Path, dsn: str, pool: asyncpg.Pool, vendor: Vendor
) -> None:
    gateway = Process(tmp_path, dsn, CONFIG.format(server=server, drain_s=600, vendor=vendor.url))
    _, key = await virtual_key(pool, await customer(pool))
    await gateway.start()
    assert gateway.process is not None
    async with aiohttp.ClientSession() as kept, aiohttp.ClientSession() as http:
        client = Client(kept, gateway.url, key)
        body = {"provider": "up", "model": "ok", "messages": [{"role": "user", "content": "hello"}]}
        for is_draining in (False, True):
            if is_draining:
                gateway.process.send_signal(signal.SIGTERM)
                await until_unready(http, gateway)
            async with kept.post(f"{gateway.url}/api/gateway-chat", json=body, headers=client.headers) as response:
                assert response.status == 200
                assert (response.headers.get("connection") == "close") is is_draining
        assert (await Client(http, gateway.url, key).stream("stream-20-5", max_tokens=100))[1][-1][0] == "done"
        if server == "hypercorn":  # both replies say `connection: close` to HTTP/1, which HTTP/2 does not know
            assert await status_by_http_2(gateway, "GET", "/api/health") == "503"
            long = {"authorization": "Bearer nonsense", "content-length": "7000000"}
            assert await status_by_http_2(gateway, "POST", "/v1/chat/completions", **long) == "401"
        stream = asyncio.ensure_future(client.stream("stream-200-20", max_tokens=120))
        async with asyncio.timeout(60):
            while vendor.delivered < 30:
                await asyncio.sleep(0.02)
            await asyncio.sleep(SAME_S)  # a signal that comes sooner counts as the same one
            gateway.process.send_signal(signal.SIGTERM)
            while await health_of(http, gateway) == 503:
                await asyncio.sleep(0.05)
        assert (await stream)[1][-1][0] == "done"
    assert await asyncio.to_thread(gateway.process.wait, 60) == 0
    await assert_books_balance(pool)


async def test_ctrl_c_does_not_drain(tmp_path: Path, dsn: str, vendor: Vendor) -> None:
    gateway = Process(tmp_path, dsn, CONFIG.format(server="hypercorn", drain_s=600, vendor=vendor.url))
    await gateway.start()
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(gateway.process.wait, 60) == 0
