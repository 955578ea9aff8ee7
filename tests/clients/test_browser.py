"""The official SDKs in a real browser, on a page of another origin: preflights, streams and errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from playwright.async_api import Page, async_playwright

from tests.support.aimock import MODULES
from tests.support.chromium import CHROMIUM, MISSING
from tests.support.embedding import House, house
from tests.support.money import assert_books_balance, customer, virtual_key

HERE = Path(__file__).parent
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
MODEL = "up/talk"


class Files(SimpleHTTPRequestHandler):
    """The page, and the SDKs as npm has installed them."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

    def translate_path(self, path: str) -> str:
        return str(HERE / "browser.html") if path == "/" else super().translate_path(path)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """A server of files, whose pages may call the gateway."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(MODULES / "node_modules")))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def shared(origin: str, server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway that lets the page in."""
    with house(
        server_dsn, pristine, tmp_path_factory.mktemp("browser"), gateway=f"allow_origins: ['{origin}']"
    ) as made:
        yield made


@pytest.fixture
def dsn(shared: House) -> str:
    """Its database."""
    return shared.dsn


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of Chromium's."""
    assert CHROMIUM, MISSING
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield await browser.new_page()
        await browser.close()


async def test_both_sdks_work_on_a_page(origin: str, shared: House, page: Page, pool: asyncpg.Pool) -> None:
    _, key = await virtual_key(pool, await customer(pool))
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("response", lambda reply: said.append(f"{reply.status} {reply.url}") if reply.status >= 400 else None)
    page.on("pageerror", lambda error: said.append(str(error)))

    async def tried(name: str, options: dict[str, str]) -> Any:
        return await page.evaluate("([name, ...given]) => window.tries[name](...given)", [name, options, MODEL])

    await page.goto(origin)
    try:
        await page.wait_for_function("window.tries !== undefined", timeout=20_000)
    except Exception:
        raise AssertionError(said) from None
    told = await tried("openai", {"baseURL": f"{shared.url}/v1", "apiKey": key})
    assert (told["plain"], told["streamed"]) == ("hello", "hello"), said
    assert MODEL.split("/")[1] in " ".join(told["models"])
    assert told["id"]
    told = await tried("anthropic", {"baseURL": shared.url, "apiKey": key})
    assert (told["plain"], told["streamed"]) == ("hello", "hello"), said
    assert told["counted"] > 0
    assert told["id"]
    told = await tried("refused", {"baseURL": f"{shared.url}/v1"})
    assert (told["status"], bool(told["id"])) == (401, True), said
    for _ in range(100):
        if not await pool.fetchval("select count(*) from kaixu.reservation"):
            break
        await asyncio.sleep(0.05)
    await assert_books_balance(pool)
