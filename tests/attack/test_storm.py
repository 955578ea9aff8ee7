"""Thousands of hostile requests against two gateways on one Postgres, which are stopped and killed meanwhile.

`make attack` and `make slow` send 8,000 of them, or KAIXU_ATTACK_REQUESTS; `make test` a few hundred, by the same seed.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal
from collections import Counter
from pathlib import Path

import aiohttp
import asyncpg

from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Process
from tests.support.size import size

from .requests import Attack, made
from .vendor import LyingVendor

REQUESTS = int(os.environ.get("KAIXU_ATTACK_REQUESTS", size(400, 8_000)))
AT_ONCE = 24
#: Used up towards the end of the storm, so that both are tried: calls that are let in, and calls that pass no cap.
CAP_NUSD = 3_000_000 * max(1, REQUESTS // 500)

CONFIG = """
gateway: {{reservation_s: 3}}
lanes:
  chat: {{plugin: openai, base_url: "{url}/v1", api_key: vendor-key, retries: 0, models: {chat}}}
  messages: {{plugin: anthropic, base_url: "{url}", api_key: vendor-key, retries: 0, models: {messages}}}
"""
MODEL = "type: chat, price: {input: 1, output: 2}, cost: {input: 1, output: 1}, max_output_tokens: 1000"
#: One that is cancelled with its client, one that is read to its end, and one that falls over to the other lane.
MODELS = f"""{{
    m: {{{MODEL}}},
    thinks: {{{MODEL}, reasoning: true}},
    both: {{{MODEL}, fallback: [FALLBACK]}},
  }}"""


async def send(http: aiohttp.ClientSession, url: str, attack: Attack) -> tuple[int, str]:
    """Send one request; its status (0: none came) and its answer's beginning."""
    try:
        timeout = aiohttp.ClientTimeout(total=60)
        async with http.request(
            attack.method,
            url + attack.path,
            data=io.BytesIO(attack.body) if attack.body else None,
            headers=attack.headers,
            timeout=timeout,
        ) as answer:
            if attack.leave_after is None:
                return answer.status, (await answer.read())[:2000].decode("utf-8", "replace")
            seen = b""
            async for chunk in answer.content.iter_any():
                seen += chunk
                if len(seen) >= attack.leave_after:
                    break
            if answer.connection is not None and answer.connection.transport is not None:
                answer.connection.transport.abort()
            return answer.status, seen[:2000].decode("utf-8", "replace")
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        return 0, ""


async def test_a_storm_of_hostile_requests_passes_no_cap_and_breaks_nothing(
    tmp_path: Path, dsn: str, pool: asyncpg.Pool
) -> None:
    draw = random.Random(12)
    vendor = LyingVendor(12)
    url = await vendor.start()
    chat, messages = (MODELS.replace("FALLBACK", other) for other in ("messages/m", "chat/m"))
    config = CONFIG.format(url=url, chat=chat, messages=messages)
    gateways = [Process(tmp_path / f"gateway{at}", dsn, config) for at in range(2)]
    for gateway in gateways:
        await gateway.start()
    customers = [await customer(pool, cap_nusd=CAP_NUSD) for _ in range(5)]
    keys = [(await virtual_key(pool, one))[1] for one in customers]
    refused = await customer(pool)
    keys.append((await virtual_key(pool, refused, rpm_limit=0))[1])
    attacks = [made(draw, keys) for _ in range(REQUESTS)]
    statuses: Counter[tuple[str, int]] = Counter()
    wrong: list[str] = []
    alive = [True, True]

    async def worker(mine: list[Attack], http: aiohttp.ClientSession) -> None:
        for attack in mine:
            at = draw.randrange(2) if all(alive) else alive.index(True)
            status, said = await send(http, gateways[at].url, attack)
            statuses[attack.kind, status] += 1
            if status in (500, 501) or "vendor secret" in said or "vendor-key" in said:
                wrong.append(f"{status} {attack.method} {attack.path} {attack.body[:300]!r}: {said[:300]}")

    async def trouble() -> None:
        """One gateway is stopped for a while, then killed, or told to stop, and started again."""
        for turn in range(max(1, REQUESTS // 1000)):
            process = gateways[1].process
            assert process is not None
            await asyncio.sleep(1)
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(1)
            process.send_signal(signal.SIGCONT)
            await asyncio.sleep(1)
            alive[1] = False
            if turn % 2:
                assert await gateways[1].stop() == 0
            else:
                gateways[1].kill()
            await gateways[1].start()
            alive[1] = True

    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as http:
            shares = [worker(attacks[at::AT_ONCE], http) for at in range(AT_ONCE)]
            await asyncio.gather(trouble(), *shares)
        assert wrong == []
        for _ in range(200):
            if not await pool.fetchval("select count(*) from kaixu.reservation"):
                break
            await asyncio.sleep(0.1)
        for one in customers:
            spent, held = await spent_and_held(pool, one)
            assert spent <= CAP_NUSD
            assert held == 0
        assert await spent_and_held(pool, refused) == (0, 0)
        await assert_books_balance(pool)
        # Nothing that a vendor has worked for is without an event.
        ids = {row["request_id"] for row in await pool.fetch("select request_id from kaixu.usage_event")}
        assert sorted(vendor.worked_for - ids) == []
        # The cap buys so many tokens at 1 USD a million, and every byte of a text counts as one.
        assert vendor.longest_text < CAP_NUSD // 1000
        assert statuses["plain", 200] > 0
        done = await gateways[0].command("reconcile")
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        for gateway in gateways:
            await gateway.stop()
        await vendor.stop()
