"""What a key used is there as soon as its call has its answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.process import Client, Process

from .conftest import CONFIG


async def test_what_a_call_used_shows_at_once(dsn: str, tmp_path: Path) -> None:
    gateway = Process(tmp_path / "gateway", dsn, CONFIG)

    async def read(*words: str) -> Any:
        ran = await gateway.command(*words, "--json")
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    await gateway.start()
    try:
        await read("customers", "create", "ada@example.com", "--cap-cents", "500")
        key = (await read("keys", "create", "ada@example.com", "--label", "laptop"))["key"]
        async with aiohttp.ClientSession() as http:
            status, body = await Client(http, gateway.url, key).chat("chat", provider="echo")
        assert status == 200
        used = await read("usage", "show", "ada@example.com")
        assert (used["total"]["calls"], used["total"]["spent_usd"]) == (1, body["usage"]["cost_usd"])
        assert float(used["total"]["spent_usd"]) > 0
        assert used["total"]["output_tokens"] == body["usage"]["output_tokens"] > 0
        assert [(one["label"], one["calls"]) for one in used["keys"]] == [("laptop", 1)]
        assert [one["end"] for one in used["events"]] == ["complete"]
    finally:
        await gateway.stop()
