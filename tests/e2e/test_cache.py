"""Kept answers: the same question of the same customer, and of nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Client, Process
from tests.support.size import examples
from tests.support.vendor import Vendor

Serve = Callable[..., Awaitable[Process]]
INPUT, OUTPUT = 14, 4
FULL = INPUT * 1000 + OUTPUT * 2000


@pytest.fixture
async def serve(tmp_path: Path, dsn: str, vendor: Vendor) -> AsyncIterator[Serve]:
    """Start a gateway whose model `ok` keeps its answers."""
    running: list[Process] = []

    async def serve(cache: str = "{ttl: 10m}", more: str = "") -> Process:
        config = f"""
lanes:
  up: {{plugin: openai, base_url: "{vendor.url}", api_key: k, retries: 0, models: {{
    ok: {{type: chat, price: {{input: 1, output: 2}}, cost: {{input: 1, output: 1}}, cache: {cache}, {more}}} }} }}
"""
        process = Process(tmp_path / f"gateway{len(running)}", dsn, config)
        running.append(process)
        return await process.start()

    yield serve
    for process in running:
        assert await process.stop() == 0


@pytest.fixture
async def client(pool: asyncpg.Pool, http: aiohttp.ClientSession) -> Client:
    """A client whose gateway's address is set by `at`."""
    return Client(http, "", (await virtual_key(pool, await customer(pool)))[1])


def at(client: Client, process: Process) -> Client:
    client.url = process.url
    return client


async def kept(pool: asyncpg.Pool, count: int) -> None:
    """Wait until so many answers are kept."""
    async with asyncio.timeout(10):
        while await pool.fetchval("select count(*) from kaixu.response") < count:
            await asyncio.sleep(0.01)


async def asked(client: Client, *, stream: bool = False, **fields: Any) -> dict[str, Any]:
    """What a call's last word is, with its text."""
    if not stream:
        status, body = await client.chat("ok", **{"temperature": 0, **fields})
        assert status == 200, body
        return body
    status, frames = await client.stream("ok", **{"temperature": 0, **fields})
    assert status == 200
    last: dict[str, Any] = frames[-1][1]
    return last | {"output_text": "".join(data["text"] for name, data in frames if name == "delta")}


async def test_the_same_question_again_is_answered_without_the_vendor_and_costs_nothing(
    serve: Serve, client: Client, pool: asyncpg.Pool, vendor: Vendor
) -> None:
    at(client, await serve())
    first = await asked(client)
    assert (first["routing"]["cache"], first["usage"]["cost_usd"]) == ("miss", "0.000022")
    await kept(pool, 1)
    for stream in (False, True):
        again = await asked(client, stream=stream)
        assert again["routing"] == {"deployment": None, "tries": 0, "cache": "hit"}
        assert again["output_text"] == first["output_text"]
        assert (again["usage"]["input_tokens"], again["usage"]["cost_usd"]) == (INPUT, "0.00")
    assert len(vendor.requests) == 1
    rows = await pool.fetch(
        "select cost_nusd, vendor_cost_nusd, units -> 'call' as course from kaixu.usage_event order by id"
    )
    assert [row["cost_nusd"] for row in rows] == [FULL, 0, 0]
    assert [row["vendor_cost_nusd"] for row in rows] == [INPUT * 1000 + OUTPUT * 1000, 0, 0]
    assert [row["course"].get("cache") for row in rows] == [None, "hit", "hit"]
    await assert_books_balance(pool)


async def test_every_door_finds_its_own_answers(
    serve: Serve, client: Client, pool: asyncpg.Pool, vendor: Vendor
) -> None:
    at(client, await serve())
    body = {"model": "up/ok", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 9, "temperature": 0}
    said = []
    for stream in (False, True):
        for path in ("/v1/chat/completions", "/v1/messages"):
            async with client.http.post(
                client.url + path, json=body | {"stream": stream}, headers=client.headers
            ) as reply:
                assert reply.status == 200
                said.append(await reply.text())
        await kept(pool, 2)
    assert len(vendor.requests) == 2
    assert json.loads(said[0])["choices"][0]["message"]["content"] == "wd0 wd1 wd2 wd3 "
    assert "wd3" in said[2]
    assert said[2].rstrip().endswith("[DONE]")
    assert said[3].count('"text_delta"') == 4


async def test_a_kept_answer_has_a_price_where_the_operator_says_so_and_the_books_know_which(
    serve: Serve, client: Client, pool: asyncpg.Pool
) -> None:
    process = await serve(more="cached_price: {input: 0.1, output: 0.5}")
    at(client, process)
    await asked(client)
    await kept(pool, 1)
    again = await asked(client)
    assert again["usage"]["cost_usd"] == "0.0000034"
    prices = [row[0] for row in await pool.fetch("select price_id from kaixu.usage_event order by id")]
    assert prices[0] != prices[1]
    proven = await process.command("reconcile")
    assert proven.returncode == 0, proven.stdout


async def test_other_temperatures_other_words_and_those_who_want_it_fresh_get_new_answers(
    serve: Serve, client: Client, pool: asyncpg.Pool, vendor: Vendor
) -> None:
    at(client, await serve())
    await asked(client)
    await kept(pool, 1)
    for fields in (
        {"temperature": 0.5},
        {"temperature": None},
        {"max_tokens": 3},
        {"messages": [{"role": "user", "content": "hello!"}]},
    ):
        assert (await asked(client, **fields))["routing"]["cache"] == "miss"
    for word in ("no-cache", "no-store", "max-age=0, no-cache"):
        client.headers["cache-control"] = word
        assert (await asked(client))["routing"]["cache"] == "miss"
    assert len(vendor.requests) == 8
    assert await pool.fetchval("select count(*) from kaixu.response") == 3


async def test_answers_of_any_temperature_are_kept_where_the_operator_says_so(
    serve: Serve, client: Client, pool: asyncpg.Pool
) -> None:
    at(client, await serve("{ttl: 10m, any_temperature: true}"))
    await asked(client, temperature=0.7)
    await kept(pool, 1)
    assert (await asked(client, temperature=0.7))["routing"]["cache"] == "hit"


async def test_an_answer_grows_stale(serve: Serve, client: Client, pool: asyncpg.Pool) -> None:
    at(client, await serve("{ttl: 1h}"))
    await asked(client)
    await kept(pool, 1)
    await pool.execute("update kaixu.response set expires_at = now() - interval '1 second'")
    assert (await asked(client))["routing"]["cache"] == "miss"


async def test_what_is_kept_can_be_read_by_nobody(serve: Serve, client: Client, pool: asyncpg.Pool) -> None:
    at(client, await serve())
    await asked(client)
    await kept(pool, 1)
    row = await pool.fetchrow("select question, answer from kaixu.response")
    assert row is not None
    assert b"wd0" not in row["answer"]
    assert b"hello" not in row["question"]


async def test_a_key_that_may_not_ask_gets_no_kept_answer_either(
    serve: Serve, client: Client, pool: asyncpg.Pool
) -> None:
    at(client, await serve())
    await asked(client)
    await kept(pool, 1)
    await pool.execute("update kaixu.virtual_key set revoked_at = now()")
    assert (await client.chat("ok", temperature=0))[0] == 401
    await pool.execute('update kaixu.virtual_key set revoked_at = null, allowed_models = \'{"other": ["x"]}\'')
    assert (await client.chat("ok", temperature=0))[0] == 403


async def test_answers_that_broke_off_are_not_kept(
    serve: Serve, client: Client, pool: asyncpg.Pool, vendor: Vendor
) -> None:
    at(client, await serve(more="upstream: cut-3"))
    await client.stream("ok", temperature=0)
    await client.stream("ok", temperature=0)
    assert len(vendor.requests) == 2
    assert await pool.fetchval("select count(*) from kaixu.response") == 0


async def test_no_customer_ever_gets_what_was_kept_for_another(
    serve: Serve, http: aiohttp.ClientSession, pool: asyncpg.Pool, vendor: Vendor
) -> None:
    process = await serve()
    customers = [await customer(pool) for _ in range(4)]
    keys: list[tuple[int, str]] = []
    for owner in customers:
        keys += [(owner, (await virtual_key(pool, owner))[1]) for _ in range(2)]
    answered: dict[tuple[int, str], int] = {}
    loop = asyncio.get_running_loop()

    async def steps(turns: list[tuple[int, str, bool]]) -> None:
        for which, words, stream in turns:
            owner, key = keys[which]
            before = len(vendor.requests)
            said = await asked(
                Client(http, process.url, key), stream=stream, messages=[{"role": "user", "content": words}]
            )
            vendors = len(vendor.requests) - before
            known = (owner, words) in answered
            assert said["routing"]["cache"] == ("hit" if known else "miss")
            assert vendors == (0 if known else 1)
            answered[owner, words] = 1
            await kept(pool, len(answered))

    turns = st.lists(st.tuples(st.integers(0, 7), st.sampled_from("abcd"), st.booleans()), min_size=1, max_size=12)

    @settings(max_examples=examples(15), deadline=None, suppress_health_check=list(HealthCheck))
    @given(turns)
    def whoever_asks_whatever(order: list[tuple[int, str, bool]]) -> None:
        asyncio.run_coroutine_threadsafe(steps(order), loop).result(60)

    await asyncio.to_thread(whoever_asks_whatever)
    await assert_books_balance(pool)
