"""docs/plugin-authors/integrations.md: its longer examples run in a gateway, as the page says."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from tests.support.money import customer, virtual_key
from tests.support.process import Process

from .pages import blocks, text_of

PAGE = text_of("docs/plugin-authors/integrations.md")


def example(name: str) -> str:
    """The code block of the page that registers this integration."""
    [code] = [block for block in blocks(PAGE, "python") if f'"{name}",\n' in block and "@hookimpl" in block]
    return code


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_the_example_of_callbacks_connects_an_account(
    tmp_path: Path, dsn: str, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    exchanged: list[dict[str, str]] = []

    async def token(request: web.Request) -> web.Response:
        exchanged.append({name: str(value) for name, value in (await request.post()).items()})
        return web.json_response({"access_token": "token-of-the-vendor"})

    app = web.Application()
    app.router.add_post("/token", token)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    vendor = f"http://127.0.0.1:{runner.addresses[0][1]}"
    home = tmp_path / "gateway"
    home.mkdir()
    (home / "desk.py").write_text(example("desk"))
    config = f"integrations:\n  desk: {{plugin: ./desk.py, vendor: '{vendor}', client_id: me}}\n"
    gateway = Process(home, dsn, config)
    gateway.environment["GATEWAY_URL"] = gateway.url
    await gateway.start()
    try:
        key = (await virtual_key(pool, await customer(pool)))[1]
        headers = {"authorization": f"Bearer {key}", "sec-fetch-site": "same-origin"}
        async with http.post(f"{gateway.url}/v1/desk/start", json={"return_to": "/docs"}, headers=headers) as answer:
            cookie = answer.headers["set-cookie"].partition(";")[0]
            asked = parse_qs(urlsplit((await answer.json())["authorize_url"]).query)
        back = f"{asked['redirect_uri'][0]}?code=code-1&state={asked['state'][0]}"
        async with http.get(back, headers={"cookie": cookie}) as answer:
            assert answer.status == 200
            assert "The account is connected." in await answer.text()
        assert (exchanged[0]["code"], exchanged[0]["redirect_uri"]) == ("code-1", asked["redirect_uri"][0])
    finally:
        await gateway.stop()
        await runner.cleanup()


async def test_the_example_of_uploads_stores_a_file_and_sends_it_on(
    tmp_path: Path, dsn: str, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    received: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        received.append(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_put("/files", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    home = tmp_path / "gateway"
    home.mkdir()
    (home / "shelf.py").write_text(example("shelf"))
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/files"
    config = f"integrations:\n  shelf: {{plugin: ./shelf.py, archive_url: '{url}'}}\n"
    gateway = await Process(home, dsn, config).start()
    try:
        key = (await virtual_key(pool, await customer(pool)))[1]
        headers = {"authorization": f"Bearer {key}"}
        digest = hashlib.sha256(b"film").hexdigest()
        where = f"{gateway.url}/v1/shelf/files"
        async with http.put(where, params={"name": "film", "sha256": digest}, data=b"film", headers=headers) as answer:
            assert answer.status == 200
            reply = await answer.json()
            assert (reply["bytes"], reply["sha256"]) == (4, digest)
        async with asyncio.timeout(20):
            while not received:
                await asyncio.sleep(0.05)
        assert received == [b"film"]
        async with http.put(where, params={"name": "film", "sha256": digest}, data=b"x", headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, "DIGEST_MISMATCH")
    finally:
        await gateway.stop()
        await runner.cleanup()
