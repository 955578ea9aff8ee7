"""A look at another server: bounded in time, size and redirects, and told in words of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from kaixu.jobs import remote_look
from kaixu.jobs.remote_look import MOST_BYTES, Found, RemoteLooks

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """A server on two ports of this machine, with paths as the tests need them."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []
        self.app = web.Application()
        self.app.router.add_get("/{path:.*}", self.answer)
        self.ports: list[int] = []

    async def start(self) -> None:
        """Listen."""
        self.runner = web.AppRunner(self.app, shutdown_timeout=0.1)
        await self.runner.setup()
        for _ in range(2):
            site = web.TCPSite(self.runner, "127.0.0.1", 0)
            await site.start()
        self.ports = [address[1] for address in self.runner.addresses]

    def url(self, path: str = "", *, port: int = 0, host: str = "127.0.0.1") -> str:
        """An address of it."""
        return f"http://{host}:{self.ports[port]}/{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """By the path."""
        path = request.match_info["path"]
        self.seen.append((f"{request.url.port}/{path}", request.headers.get("authorization")))
        if path.startswith("to:"):
            return web.Response(status=302, headers={"location": request.query["at"]})
        if path.startswith("loop"):
            return web.Response(status=301, headers={"location": f"/loop{len(path)}x"})
        if path == "hang":
            await asyncio.sleep(60)
        if path == "endless":
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b"x" * 4096)
        if path == "zip":
            return web.Response(body=b"\x1f\x8b", headers={"content-encoding": "gzip"})
        if path == "long-header":
            return web.Response(headers={"x-long": "x" * 100_000})
        if path.isdigit():
            return web.Response(status=int(path), text="secret words")
        return web.json_response({"ok": True})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """It runs."""
    server = Server()
    await server.start()
    yield server
    await server.runner.cleanup()


async def look(url: str, *, private_redirects: bool = False, with_body: bool = False, token: str = "t") -> Found:
    """One look."""
    async with RemoteLooks(private_redirects=private_redirects) as looks:
        return await looks.look(url, headers={"authorization": token}, with_body=with_body)


async def test_the_operators_own_address_may_be_private(server: Server) -> None:
    found = await look(server.url("health"), with_body=True)
    assert (found.status, found.error, found.body) == (200, None, b'{"ok": true}')
    assert [token for _, token in server.seen] == ["t"]


@pytest.mark.parametrize("status", [404, 500, 503, 304, 201])
async def test_only_success_is_success(server: Server, status: int) -> None:
    found = await look(server.url(str(status)))
    assert (found.status, found.error) == (status, None if status == 201 else f"HTTP {status}")


async def test_a_redirect_to_the_same_server_is_followed(server: Server) -> None:
    found = await look(server.url("to:?at=/health"))
    assert (found.status, found.error) == (200, None)
    assert [token for _, token in server.seen] == ["t", "t"]


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:{1}/", "http://127.1:{1}/", "http://2130706433:{1}/", "http://[::ffff:127.0.0.1]:{1}/", "//localhost:{1}/x", "http://10.0.0.1/", "http://169.254.169.254/latest/"]
)  # fmt: skip
async def test_a_redirect_to_a_private_address_is_refused(server: Server, target: str) -> None:
    found = await look(server.url(f"to:?at={target.format(*server.ports)}"))
    assert found.error == "it redirects, and its address is inside a private network"
    assert len(server.seen) == 1


async def test_a_redirect_to_a_private_address_is_followed_where_that_is_allowed(server: Server) -> None:
    found = await look(server.url(f"to:?at={server.url('health', port=1)}"), private_redirects=True)
    assert (found.status, found.error) == (200, None)
    assert [token for _, token in server.seen] == ["t", None]  # the token does not go along


async def test_a_name_that_means_a_private_address_later_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rebound(AbstractResolver):
        """Every name is this machine."""

        async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
            return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=2, proto=0, flags=0)]

        async def close(self) -> None:
            """Nothing is open."""

    looks = RemoteLooks(private_redirects=False)
    looks.redirected.resolver = Rebound()
    async with looks:
        found = await looks.look(server.url(f"to:?at=http://public.example:{server.ports[1]}/"))
    assert found.error == "it redirects, and its address is inside a private network"
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://example.com/", "http://user:password@example.com/", "http://[", "javascript:1"]
)  # fmt: skip
async def test_a_redirect_to_no_web_address_is_refused(server: Server, target: str) -> None:
    found = await look(server.url(f"to:?at={target}"))
    assert found.error == "it redirects to something that is not a web address"
    assert "password" not in str(found)


async def test_redirects_are_counted(server: Server) -> None:
    assert (await look(server.url("loop"))).error == "it redirects more than 3 times"
    assert len(server.seen) == 4


async def test_a_server_that_never_answers_or_never_ends_is_left(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_look, "PATIENCE_S", 0.3)
    assert (await look(server.url("hang"))).error == "no reply within 0.3 s"
    found = await look(server.url("endless"), with_body=True)
    assert (found.status, found.error) == (200, f"its reply is longer than {MOST_BYTES} bytes")
    assert (await look(server.url("endless"))).error is None  # the body is not read


async def test_what_is_compressed_is_not_unpacked(server: Server) -> None:
    assert (await look(server.url("zip"), with_body=True)).body == b"\x1f\x8b"


async def test_no_connection_and_no_http_are_told_in_words_of_ours(server: Server) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"secret, not HTTP\r\n\r\n")
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    assert (await look(f"http://127.0.0.1:{port}/")).error == "its reply is not HTTP"
    other.close()
    await other.wait_closed()
    assert (await look(f"http://127.0.0.1:{port}/")).error == "no connection"
    assert (await look("http://name.invalid/")).error == "its name is not known"
    assert (await look(server.url().replace("http", "https"))).error == "no secure connection"
    assert (await look(server.url("long-header"))).error == "its reply is not HTTP"


def test_aiohttp_still_has_what_we_rely_on() -> None:
    assert hasattr(aiohttp.ClientConnectorError, "os_error")
