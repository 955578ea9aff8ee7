"""Behind Caddy with the file that we ship: what tests/e2e/test_behind_nginx.py shows of nginx. `make deploy-check`."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.conftest import Start, http, start, vendor
from tests.e2e.test_behind_nginx import (
    test_a_stream_arrives_as_it_is_written_and_a_client_that_leaves_is_noticed,
    test_large_bodies_pass_and_what_is_refused_is_refused_by_the_gateway,
    test_the_gateway_sees_the_client_s_address_whatever_the_client_says,
)
from tests.support.process import Process, free_port

__all__ = [
    "http",
    "start",
    "test_a_stream_arrives_as_it_is_written_and_a_client_that_leaves_is_noticed",
    "test_large_bodies_pass_and_what_is_refused_is_refused_by_the_gateway",
    "test_the_gateway_sees_the_client_s_address_whatever_the_client_says",
    "vendor",
]

SHIPPED = Path(__file__).parents[2] / "config" / "deploy" / "Caddyfile"


class Caddy:
    """One Caddy before one gateway, without TLS."""

    def __init__(self, folder: Path, gateway: Process) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        text = SHIPPED.read_text().replace("gateway-1:8787 gateway-2:8787", f"127.0.0.1:{gateway.port}")
        text = text.replace("ai.example.com {", f"http://:{self.port} {{\n\tbind 127.0.0.1")
        folder.mkdir()
        (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + text)
        with (folder / "caddy.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")],
                env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
                stdout=log,
                stderr=log,
            )


@pytest.fixture
async def behind(start: Start, tmp_path: Path) -> AsyncIterator[tuple[Caddy, Process]]:
    """Caddy, and the gateway behind it."""
    assert shutil.which("caddy"), "caddy is missing: apt-get install caddy"
    (gateway,) = await start(1, KAIXU_TRUSTED_PROXIES="127.0.0.1", KAIXU_LOG="json")
    caddy = Caddy(tmp_path / "caddy", gateway)
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        while True:
            try:
                async with session.get(f"{caddy.url}/api/health") as response:
                    if response.status == 200:
                        break
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    yield caddy, gateway
    caddy.process.terminate()
    caddy.process.wait(30)
