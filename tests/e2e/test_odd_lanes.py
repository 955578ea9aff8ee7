"""Lanes that misbehave: whatever a plugin does, its call is settled, rightly, and the gateway goes on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Client, Process

from .test_endings import settled

PLUGIN = '''
"""What it does is in the model's name."""
import asyncio

from kaixu.plugin import ChatDelta, Finish, Lane, Options, Usage, hookimpl


class Odd(Lane):
    def __init__(self, options):
        pass

    def count_tokens(self, model, text):
        if model == "miscounts":
            raise RuntimeError("no tokenizer")
        return -1 if model == "negative" else None

    async def chat(self, request, wire):
        match request.model:
            case "miscounts" | "negative":
                yield ChatDelta("four words of text")
            case "half-character":
                yield ChatDelta("well and good")
                yield ChatDelta("\\ud83d")
            case "early-usage":
                yield Usage(14, 1)
                for _ in range(40):
                    yield ChatDelta("wd1 ")
                await asyncio.sleep(3600)
            case "empty-usage":
                yield Usage(14, 7)
                yield ChatDelta("done")
                yield Usage()
            case "quiet":
                yield ChatDelta("well and good")
                await asyncio.sleep(3600)
            case "dashes":
                for _ in range(request.max_tokens):
                    yield ChatDelta("-" * 100)
                yield Usage(14, request.max_tokens)
            case "endless":
                while True:
                    yield ChatDelta("-" * 100)
        yield Finish("stop")


@hookimpl
def register_lanes(register):
    register("odd", Odd, Options)
'''

MODELS = ("miscounts", "negative", "half-character", "early-usage", "empty-usage", "quiet", "dashes", "endless")


@pytest.fixture
async def gateway(tmp_path: Path, dsn: str) -> AsyncIterator[Process]:
    """A gateway with the lane, whose calls may take a second."""
    listed = "\n".join(
        f"      {model}: {{type: chat, price: {{input: 1, output: 2}}, max_output_tokens: 100000}}" for model in MODELS
    )
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "odd.py").write_text(PLUGIN)
    config = f"plugins: [odd.py]\nlanes:\n  up:\n    plugin: odd\n    timeouts: {{total_s: 2}}\n    models:\n{listed}\n"
    process = Process(tmp_path / "gateway", dsn, config)
    await process.start()
    yield process
    assert await process.stop() == 0


@pytest.fixture
async def client(gateway: Process, pool: asyncpg.Pool, http: aiohttp.ClientSession) -> Client:
    """Somebody with a key."""
    _, key = await virtual_key(pool, await customer(pool))
    return Client(http, gateway.url, key)


@pytest.mark.parametrize("model", ["miscounts", "negative"])
async def test_a_tokenizer_that_fails_is_done_without(model: str, client: Client, pool: asyncpg.Pool) -> None:
    status, body = await client.chat(model)
    assert status == 200
    assert body["output_text"] == "four words of text"
    event = await settled(pool)
    assert (event["usage_source"], event["output_tokens"]) == ("counted", 5)
    await assert_books_balance(pool)


async def test_half_a_character_ends_the_stream_and_what_came_before_is_billed(
    client: Client, pool: asyncpg.Pool
) -> None:
    status, frames = await client.stream("half-character")
    assert (status, [name for name, _ in frames]) == (200, ["meta", "delta", "error"])
    assert (frames[-1][1]["status"], frames[-1][1]["code"]) == (502, "UPSTREAM_ERROR")
    event = await settled(pool)
    assert (event["end_reason"], event["output_tokens"]) == ("upstream_error", 4)
    status, body = await client.chat("half-character")
    assert (status, body["code"]) == (502, "UPSTREAM_ERROR")
    await assert_books_balance(pool)


async def test_usage_that_came_first_does_not_hide_what_came_after_it(client: Client, pool: asyncpg.Pool) -> None:
    await client.stream("early-usage", leave_after=30)
    event = await settled(pool)
    assert (event["end_reason"], event["usage_source"], event["input_tokens"]) == ("client_gone", "estimated", 14)
    assert event["output_tokens"] >= 31
    await assert_books_balance(pool)


async def test_a_later_usage_without_figures_says_nothing(client: Client, pool: asyncpg.Pool) -> None:
    await client.chat("empty-usage")
    event = await settled(pool)
    assert (event["usage_source"], event["input_tokens"], event["output_tokens"]) == ("provider", 14, 7)


async def test_a_lane_that_says_no_more_is_ended_in_time(client: Client, pool: asyncpg.Pool) -> None:
    status, frames = await client.stream("quiet")
    assert (status, frames[-1][0], frames[-1][1]["code"]) == (200, "error", "UPSTREAM_TIMEOUT")
    event = await settled(pool)
    assert (event["end_reason"], event["output_tokens"]) == ("upstream_error", 4)
    status, body = await client.chat("quiet")
    assert (status, body["code"]) == (504, "UPSTREAM_TIMEOUT")
    await assert_books_balance(pool)


def narrow(address: aiohttp.AddrInfoType) -> socket.socket:
    """A client's socket that takes little ahead of its reader."""
    made = socket.socket(family=address[0])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return made


async def test_a_reader_that_is_slower_than_the_lane_s_time_gets_it_all(client: Client, pool: asyncpg.Pool) -> None:
    body = {
        "provider": "up",
        "model": "dashes",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 60_000,
    }
    slow = aiohttp.TCPConnector(socket_factory=narrow)
    async with aiohttp.ClientSession(connector=slow, read_bufsize=2**12) as http:
        url = f"{client.url}/api/gateway-stream"
        async with http.post(url, json=body, headers=client.headers) as response:
            await asyncio.sleep(3)  # longer than `total_s`
            assert await pool.fetchval("select count(*) from kaixu.reservation") == 1  # and still not all is out
            said = await response.text()
    assert said.count("event: delta") == 60_000
    assert '"end":"complete"' in said


async def test_tokens_that_are_long_are_not_taken_for_too_many(client: Client, pool: asyncpg.Pool) -> None:
    status, body = await client.chat("dashes", max_tokens=10)
    assert (status, body["end"], body["finish_reason"]) == (200, "complete", "stop")
    assert len(body["output_text"]) == 1000


async def test_a_lane_that_never_stops_is_cut_and_the_reply_says_so(client: Client, pool: asyncpg.Pool) -> None:
    status, body = await client.chat("endless", max_tokens=10)
    assert (status, body["end"], body["finish_reason"]) == (200, "budget_cut", "length")
    event = await settled(pool)
    assert (event["end_reason"], event["output_tokens"]) == ("budget_cut", 10)
    customer_id = event["customer_id"]
    assert await spent_and_held(pool, customer_id) == (event["cost_nusd"], 0)
