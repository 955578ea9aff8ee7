"""Calls by the thousand while the vendor misbehaves (ten thousand in `make slow`): each ends in an answer or a clear error, and the bill is what was delivered."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import aiohttp

from tests.support.aimock import Aimock
from tests.support.money import assert_books_balance
from tests.support.process import Process
from tests.support.size import size

from .conftest import Payer
from .doors import DOORS, Question, Said
from .stage import CAPITAL, COST_NUSD, Stage

CALLS = size(1_000, 10_000)
AT_ONCE = 48
LANES = ("openai", "anthropic", "gemini")

#: What a client may be told when a vendor fails and fails again.
ERRORS = {(502, "upstream_error"), (429, "upstream_busy"), (503, "upstream_busy"), (504, "upstream_timeout")}

CONFIG = """
gateway: {{max_in_flight: 200, max_in_flight_per_key: 200}}
lanes:
  one: {{plugin: openai, base_url: "{url}/v1", api_key: k, retries: 2, models: {{unused: {{type: chat}}}}}}
  two: {{plugin: anthropic, base_url: "{url}", api_key: k, retries: 2, models: {{unused: {{type: chat}}}}}}
  three: {{plugin: gemini, base_url: "{url}/v1beta", api_key: k, retries: 2, models: {{unused: {{type: chat}}}}}}
  openai: {{plugin: echo, models: {{gpt: {{type: chat, price: {{input: 1, output: 2}}, deployments: [
    {{lane: one, upstream: gpt-4.1-mini}}, {{lane: two, upstream: claude-sonnet-4-5, priority: 1}}]}}}}}}
  anthropic: {{plugin: echo, models: {{claude: {{type: chat, price: {{input: 1, output: 2}}, deployments: [
    {{lane: two, upstream: claude-sonnet-4-5}}]}}}}}}
  gemini: {{plugin: echo, models: {{flash: {{type: chat, price: {{input: 1, output: 2}}, deployments: [
    {{lane: three, upstream: gemini-2.5-flash, weight: 2}}, {{lane: one, upstream: gpt-4.1-mini}}]}}}}}}
"""


def open_files(process: Process) -> int:
    """How many files and connections the gateway has open."""
    assert process.process is not None
    return len(list(Path(f"/proc/{process.process.pid}/fd").iterdir()))


async def test_every_call_of_chaos_ends_well_and_is_billed_for_what_was_delivered(
    staged: Stage, aimock: Aimock, payer: Payer, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    process = Process(tmp_path / "chaos", staged.dsn, CONFIG.format(url=aimock.url))
    await process.start()
    choice = random.Random(11)
    asked = [(choice.choice(list(DOORS)), choice.choice(LANES), choice.random() < 0.5) for _ in range(CALLS)]
    turns = iter(asked)
    ends: Counter[tuple[str, str]] = Counter()
    delivered = 0

    async def caller(session: aiohttp.ClientSession) -> None:
        nonlocal delivered
        for door, lane, stream in turns:
            question = Question(lane, "What is the capital of Italy?", stream=stream)
            said: Said = await DOORS[door].ask(session, process.url, payer.key, question)
            if said.status == 200:
                assert (said.text, said.finish, said.cost_usd) == (CAPITAL, "stop", "0.000028")
                delivered += 1
                ends["answer", "stream" if stream else "plain"] += 1
            else:
                assert (said.status, said.code) in ERRORS, said
                assert CAPITAL.startswith(said.text), "what came before it broke off is a part of the answer"
                ends[f"{said.status}", "begun" if said.text else "not begun"] += 1

    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            aimock.chaos(dropRate=0.10, rateLimitRate=0.05, disconnectRate=0.05, malformedRate=0.02)
            before = open_files(process)
            await asyncio.gather(*(caller(session) for _ in range(AT_ONCE)))
            aimock.calm()
        assert sum(ends.values()) == CALLS
        assert delivered > CALLS * 0.95, ends
        rows = await payer.pool.fetch(
            "select end_reason, count(*) as count, sum(cost_nusd)::bigint as cost from kaixu.usage_event where customer_id = $1 group by 1",
            payer.id,
        )
        billed = {row["end_reason"]: (row["count"], row["cost"]) for row in rows}
        assert billed.pop("complete") == (delivered, delivered * COST_NUSD)
        undelivered, cost = billed.pop("undelivered", (0, 0))
        assert undelivered <= CALLS - delivered  # a vendor may have worked for them
        assert not cost
        begun = sum(count for (_, how), count in ends.items() if how == "begun")
        assert sum(count for count, _ in billed.values()) == begun, (billed, ends)
        assert await payer.pool.fetchval("select count(*) from kaixu.reservation") == 0
        await assert_books_balance(payer.pool)
        # Connections are kept for the next call, one for each that ran at one time; a leak would be hundreds.
        assert open_files(process) <= before + 2 * AT_ONCE
        async with http.get(f"{process.url}/api/health") as response:
            health = await response.json()
        assert (health["ok"], health["in_flight"]) == (True, 0)
    finally:
        assert await process.stop() == 0
    assert "Task was destroyed" not in process.log.read_text()
    assert "Traceback" not in process.log.read_text(), process.log.read_text()[-3000:]
