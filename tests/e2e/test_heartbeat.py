"""The heartbeat of a real gateway: it looks at its own health over its port."""

from __future__ import annotations

from uuid import uuid4

import aiohttp
import asyncpg

from kaixu.gateway.heartbeat import Heartbeat
from kaixu.ops.heartbeat import Beats
from tests.support.process import Process


async def test_a_gateway_that_serves_has_a_beat(
    refusing: Process, refusing_pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    await Heartbeat(refusing_pool, Beats(), url=refusing.url, owner=uuid4()).round()
    async with http.get(f"{refusing.url}/.netlify/functions/gateway-heartbeat-read?history=1") as response:
        body = await response.json()
    assert response.status == 200
    assert body["last"]["ok"], body
    assert (body["last"]["status"], body["last"]["attempt"], body["failures"]["streak"]) == (200, 1, 0)
    assert body["history"]["items"] == [body["last"]]
