"""Webhooks cannot reach the operator's network, in any notation of addresses."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from kaixu.config.gateway_section import JobsSection
from kaixu.jobs.webhook_guard import AddressGuard
from kaixu.plugin.private_addresses import is_private_host

PRIVATE = [
    "0", "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "2130706433",
    "0x7f.1", "0x7f000001", "0X7F.0.0.1", "0177.0.0.1", "017700000001", "169.254.169.254", "2852039166", "172.16.0.1",
    "192.168.1.1", "0xc0a80101", "192.0.0.1", "198.18.0.1", "192.88.99.1", "203.0.113.9", "224.0.0.1",
    "255.255.255.255", "127.0.0.1.", "127.1.", "127.0.0.1..",
    "::", "::1", "[::1]", "::127.0.0.1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:7f00:1", "0:0:0:0:0:ffff:10.0.0.1",
    "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "64:ff9b:1::8.8.8.8",
    "2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:101::5", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "3fff::1",
    "fe80::1", "fe80::1%eth0", "fe80::1%25eth0", "[fe80::1%2]", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "100::1",
    "5f00::1", "2a00:1450::5efe:7f00:1", "2a00:1450::200:5efe:10.0.0.1",
    "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "%31%32%37.0.0.1",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "1.1.1.1", "134744072", "172.32.0.1", "100.128.0.1", "2a00:1450:4001::1", "2606:4700::1111",
    "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2a00:1450::5efe:8.8.8.8",
]  # fmt: skip


@pytest.mark.parametrize("host", PRIVATE)
def test_every_form_of_an_address_inside_is_known(host: str) -> None:
    assert is_private_host(host)


@pytest.mark.parametrize("host", PUBLIC)
def test_addresses_outside_are_outside_in_every_form(host: str) -> None:
    assert not is_private_host(host)


@pytest.mark.parametrize("host", ["example.com", "localhost", "1.2.3.4.5", "0x", "999.1.1.1.1", "", "a.b.c", "0xzz.1"])
def test_a_name_says_nothing_until_it_is_looked_up(host: str) -> None:
    assert not is_private_host(host)


@pytest.fixture
async def listening() -> AsyncIterator[tuple[int, list[str]]]:
    """A server inside, on loopback in both protocols: its port, and what has arrived."""
    arrived: list[str] = []

    async def take(request: web.Request) -> web.Response:
        arrived.append(request.host)
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    if socket.has_ipv6:
        with contextlib.suppress(OSError):  # a machine without IPv6
            await web.TCPSite(runner, "::1", port).start()
    yield port, arrived
    await runner.cleanup()


class FixedResolver(AbstractResolver):
    """Resolves every name to the given answers, in turn, and counts the look-ups."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.lookups = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.lookups += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host, host=one, port=port, proto=0, flags=socket.AI_NUMERICHOST,
                family=socket.AF_INET6 if ":" in one else socket.AF_INET,
            )
            for one in answer
        ]  # fmt: skip

    async def close(self) -> None:
        pass


async def post(host: str, port: int, resolver: AbstractResolver | None = None, **section: Any) -> int:
    """Post through the guard; the status. The check of the address in `AddressGuard.refusal` is left out on purpose."""
    guard = AddressGuard(lambda: JobsSection(**section), resolver)
    async with (
        aiohttp.ClientSession(connector=guard.connector(limit=20), timeout=aiohttp.ClientTimeout(total=5)) as http,
        http.post(f"http://{host}:{port}/", data=b"{}") as response,
    ):
        return response.status


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0", "localhost", "localhost.", "[::1]", "127.0.0.1.",
     "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "0.0.0.0"],
)  # fmt: skip
async def test_nothing_arrives_inside_however_it_is_named(listening: tuple[int, list[str]], host: str) -> None:
    port, arrived = listening
    with pytest.raises((aiohttp.ClientError, OSError, ValueError)):
        await post(host, port)
    assert arrived == []


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "fe80::1%lo"]
)
async def test_a_name_that_leads_inside_is_not_followed(listening: tuple[int, list[str]], address: str) -> None:
    port, arrived = listening
    with pytest.raises((aiohttp.ClientError, OSError)):
        await post("outside.example", port, FixedResolver([address]))
    assert arrived == []


async def test_of_several_addresses_only_those_outside_are_tried(listening: tuple[int, list[str]]) -> None:
    guard = AddressGuard(JobsSection, FixedResolver(["127.0.0.1", "8.8.8.8", "10.0.0.1"]))
    assert [one["host"] for one in await guard.resolve("both.example", 80)] == ["8.8.8.8"]


async def test_a_name_is_looked_up_once_and_that_is_what_is_connected_to(listening: tuple[int, list[str]]) -> None:
    port, arrived = listening
    resolver = FixedResolver(["127.0.0.1"], ["10.255.255.1"])  # the second look-up would hang
    assert await post("inside.example", port, resolver, webhook_private=True) == 200
    assert (resolver.lookups, len(arrived)) == (1, 1)


async def test_an_operator_may_allow_it(listening: tuple[int, list[str]]) -> None:
    port, arrived = listening
    assert await post("127.0.0.1", port, webhook_private=True) == 200
    assert len(arrived) == 1
