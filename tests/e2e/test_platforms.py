"""Surfaces on real gateways: looked at in the background, by one gateway at a time, and changed by a reload."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import asyncpg
from aiohttp import web

from tests.support.process import SECRETS, Process

from .conftest import Start


class Surface:
    """A surface that answers with a status."""

    def __init__(self) -> None:
        self.status = 200
        self.seen = 0
        self.hangs = False

    async def start(self) -> str:
        """Listen; its address."""
        app = web.Application()
        app.router.add_get("/health", self.answer)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}/health"

    async def answer(self, _: web.Request) -> web.Response:
        """The status."""
        self.seen += 1
        if self.hangs:
            await asyncio.sleep(60)
        return web.Response(status=self.status)


def platforms(url: str, backup: str = "up/ok") -> str:
    """The section."""
    return f"""
platforms:
  backup_model: {backup}
  surfaces:
    space: {{title: Space, launch_url: /space/, health_url: "{url}"}}
"""


async def page(http: aiohttp.ClientSession, process: Process) -> dict[str, Any]:
    """The platform page."""
    async with http.post(f"{process.url}/api/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]}) as response:
        token = (await response.json())["token"]
    headers = {"authorization": f"Bearer {token}"}
    async with http.get(f"{process.url}/api/admin-platform-control", headers=headers) as response:
        assert response.status == 200
        body: dict[str, Any] = await response.json()
        return body


async def health(http: aiohttp.ClientSession, process: Process, state: str) -> dict[str, Any]:
    """The page, once its surface is in this state."""
    for _ in range(300):
        body = await page(http, process)
        if body["platforms"][0]["health"]["state"] == state:
            return body
        await asyncio.sleep(0.1)
    raise AssertionError(body)


async def test_one_of_three_gateways_looks_and_a_reload_brings_another_surface(
    start: Start, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    surface = Surface()
    url = await surface.start()
    processes = await start(3)
    for process in processes:
        process.config.write_text(process.config.read_text() + platforms(url))
        reloaded = await process.command("reload")
        assert reloaded.returncode == 0, reloaded.stdout + reloaded.stderr
    body = await health(http, processes[0], "up")
    assert body["platforms"][0]["health"]["status"] == 200
    assert [(await health(http, process, "up"))["counts"]["surfaces"] for process in processes] == [1, 1, 1]
    assert surface.seen == 1
    assert body["backup_brain"] == {
        "configured": True,
        "locked": True,
        "provider": "up",
        "model": "ok",
        "status": "ready",
        "breaker": "closed",
        "reason": None,
    }
    surface.status = 500
    await pool.execute("update kaixu.remote_check set due_at = now()")
    body = await health(http, processes[1], "down")
    assert (body["platforms"][0]["health"]["error"], body["counts"]["surfaces_down"]) == ("HTTP 500", 1)
    assert surface.seen == 2
    await surface.runner.cleanup()

    process = processes[0]
    wrong = process.config.read_text().replace("up/ok", "up/nothing")
    right = process.config.read_text()
    process.config.write_text(wrong)
    refused = await process.command("reload")
    assert refused.returncode != 0
    assert "no such model: `up/nothing`" in refused.stdout + refused.stderr
    process.config.write_text(right.replace("space:", "other:").replace(url, url + "?other"))
    assert (await process.command("reload")).returncode == 0
    body = await health(http, process, "down")
    assert [one["app_id"] for one in body["platforms"]] == ["other"]
    assert body["platforms"][0]["health"]["error"] == "no connection"


async def test_the_turn_of_a_gateway_that_died_while_it_looked_passes_to_another(
    start: Start, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    surface = Surface()
    url = await surface.start()
    surface.hangs = True
    first, second = await start(2)
    first.config.write_text(first.config.read_text() + platforms(url))
    assert (await first.command("reload")).returncode == 0
    for _ in range(300):
        if surface.seen:
            break
        await asyncio.sleep(0.1)
    first.kill()
    surface.hangs = False
    second.config.write_text(second.config.read_text() + platforms(url))
    assert (await second.command("reload")).returncode == 0
    assert (await page(http, second))["platforms"][0]["health"]["state"] == "unchecked"
    await pool.execute("update kaixu.remote_check set due_at = now()")  # the minute of the turn is over
    await health(http, second, "up")
    assert surface.seen == 2
    await surface.runner.cleanup()
