"""What vendors tell of their usage, recomputed by hand to the nano-dollar; and what no vendor can truly tell."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Process

#: Nano-dollars a token: input, output, cached, written.
IN, OUT, READ, WRITE = 1000, 10_000, 100, 1250
MOST_TOKENS = 5000

#: OpenAI's way: what the vendor says, and what it costs.
TOLD: dict[str, tuple[dict[str, Any], int]] = {
    "written": (
        {"prompt_tokens": 9080, "completion_tokens": 10, "prompt_tokens_details": {"cache_write_tokens": 9077}},
        3 * IN + 9077 * WRITE + 10 * OUT,
    ),
    "beside": (
        {
            "prompt_tokens": 10120,
            "completion_tokens": 1499,
            "total_tokens": 14428,
            "completion_tokens_details": {"reasoning_tokens": 2809},
        },
        10120 * IN + 4308 * OUT,
    ),
    "hidden": ({"prompt_tokens": 9, "completion_tokens": 664, "total_tokens": 1994}, 9 * IN + 1985 * OUT),
    "google": ({"prompt_tokens": 50, "completion_tokens": 10, "total_tokens": 250}, 50 * IN + 200 * OUT),
    "cached-at-the-top": (
        {"prompt_tokens": 1000, "completion_tokens": 10, "cached_tokens": 800},
        200 * IN + 800 * READ + 10 * OUT,
    ),
    "hits": (
        {"prompt_tokens": 1000, "completion_tokens": 10, "prompt_cache_hit_tokens": 800, "prompt_cache_miss_tokens": 200},
        200 * IN + 800 * READ + 10 * OUT,
    ),
    "both-kinds": (
        {
            "prompt_tokens": 1000,
            "completion_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 300},
        },
        100 * IN + 600 * READ + 300 * WRITE + 10 * OUT,
    ),
    "inside": (
        {"prompt_tokens": 100, "completion_tokens": 60, "total_tokens": 160, "completion_tokens_details": {"reasoning_tokens": 50}},
        100 * IN + 60 * OUT,
    ),
    "as-text": ({"prompt_tokens": "100", "completion_tokens": 6.0}, 100 * IN + 6 * OUT),
}  # fmt: skip
#: Figures that cannot be true: of input that was never sent, and of parts that are more than the whole.
ABSURD: dict[str, dict[str, Any]] = {
    "input": {"prompt_tokens": 10**9, "completion_tokens": 5},
    "half-of-it": {"prompt_tokens": 10**6, "completion_tokens": 5},
    "cached": {"prompt_tokens": 50, "completion_tokens": 5, "cached_tokens": 10**9},
    "written": {"prompt_tokens": 50, "completion_tokens": 5, "prompt_tokens_details": {"cache_write_tokens": 10**9}},
    "total": {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 10**12},
    "only-total": {"total_tokens": 10**9},
    "reasoning": {"prompt_tokens": 50, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 10**9}},
}  # fmt: skip
#: Those whose absurd part is output: that is billed up to the hold, and shows in what the vendor is said to cost.
ABSURD_OUTPUT = ("total", "only-total", "reasoning")
GEMINI = {"promptTokenCount": 50, "candidatesTokenCount": 10, "totalTokenCount": 250}
CLAUDE = {"input_tokens": 10, "cache_read_input_tokens": 800, "cache_creation_input_tokens": 200, "output_tokens": 1}


def events(*data: Any) -> bytes:
    return "".join(f"data: {json.dumps(one)}\n\n" for one in data).encode()


async def chat(request: web.Request) -> web.Response:
    kind, _, name = str((await request.json())["model"]).partition("--")
    usage = TOLD[name][0] if kind == "told" else ABSURD[name]
    delta = {"choices": [{"index": 0, "delta": {"content": "hello you"}}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return web.Response(body=events(delta, end, {"choices": [], "usage": usage}), content_type="text/event-stream")


async def messages(request: web.Request) -> web.Response:
    await request.read()
    body = events(
        {"type": "message_start", "message": {"id": "m", "usage": CLAUDE}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "hello you"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    )
    return web.Response(body=body, content_type="text/event-stream")


async def gemini(request: web.Request) -> web.Response:
    await request.read()
    said = {"content": {"parts": [{"text": "hello you"}]}, "finishReason": "STOP"}
    return web.Response(body=events({"candidates": [said], "usageMetadata": GEMINI}), content_type="text/event-stream")


async def embeddings(request: web.Request) -> web.Response:
    body = await request.json()
    tokens = {"honest": 7, "input": 10**9, "only-total": 0}[body["model"]]
    data = [{"index": at, "embedding": [1.0, 0.0]} for at in range(len(body["input"]))]
    return web.json_response({"data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens or 10**9}})


@pytest.fixture
async def gateway(tmp_path: Path, dsn: str) -> AsyncIterator[Process]:
    """A gateway before one vendor that speaks four protocols."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_post("/v1/messages", messages)
    app.router.add_post("/v1/embeddings", embeddings)
    app.router.add_post("/{rest:.*}", gemini)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    price = "{input: 1, output: 10, cached_input: 0.10, cache_write: 1.25}"
    model = f"{{type: chat, price: {price}, cost: {price}, max_output_tokens: {MOST_TOKENS}}}"
    embed = "{type: embed, dimensions: 2, price: {input: 1}}"
    names = [f"told--{name}" for name in TOLD] + [f"absurd--{name}" for name in ABSURD]
    lines = ["lanes:"]
    for lane, plugin, base in (("chat", "openai", "/v1"), ("claude", "anthropic", ""), ("gem", "gemini", "/v1beta")):
        lines += [f"  {lane}: {{plugin: {plugin}, base_url: '{url}{base}', api_key: k, retries: 0, models: {{"]
        lines += [f"    {name}: {model}," for name in (names if lane == "chat" else ["m"])]
        lines += [f"    {name}: {embed}," for name in ("honest", "input", "only-total") if lane == "chat"]
        lines += ["  }}"]
    process = await Process(tmp_path / "gateway", dsn, "\n".join(lines) + "\n").start()
    yield process
    await process.stop()
    await runner.cleanup()


class Payer:
    """A customer whose calls are told with what they cost."""

    def __init__(self, http: aiohttp.ClientSession, gateway: Process, pool: asyncpg.Pool) -> None:
        self.http = http
        self.gateway = gateway
        self.pool = pool
        self.customer_id = 0

    async def call(self, path: str, body: dict[str, Any], *, cap_nusd: int = 10**10) -> asyncpg.Record:
        """The event of one call of a new customer."""
        self.customer_id = await customer(self.pool, cap_nusd=cap_nusd)
        _, key = await virtual_key(self.pool, self.customer_id)
        headers = {"authorization": f"Bearer {key}"}
        async with self.http.post(self.gateway.url + path, json=body, headers=headers) as answer:
            said = await answer.text()
            assert answer.status == 200, said
        row = await self.pool.fetchrow("select * from kaixu.usage_event where customer_id = $1", self.customer_id)
        assert row is not None
        return row


@pytest.fixture
def payer(http: aiohttp.ClientSession, gateway: Process, pool: asyncpg.Pool) -> Payer:
    """See `Payer`."""
    return Payer(http, gateway, pool)


def asking(door: str, model: str) -> tuple[str, dict[str, Any]]:
    """A door's path and body."""
    turns = [{"role": "user", "content": "hi"}]
    return f"/v1/{door}", {"model": model, "max_tokens": MOST_TOKENS, "messages": turns}


async def test_what_vendors_tell_is_billed_to_the_nano_dollar(payer: Payer, pool: asyncpg.Pool) -> None:
    for name, (_, cost) in TOLD.items():
        for door in ("chat/completions", "messages"):
            for streamed in (False, True):
                path, body = asking(door, f"chat/told--{name}")
                event = await payer.call(path, body | {"stream": streamed})
                told = (name, door, streamed, dict(event))
                assert (event["cost_nusd"], event["vendor_cost_nusd"], event["usage_source"]) == (
                    cost,
                    cost,
                    "provider",
                ), told
    for lane, cost in (("gem", 50 * IN + 200 * OUT), ("claude", 10 * IN + 800 * READ + 200 * WRITE + 5 * OUT)):
        for door in ("chat/completions", "messages"):
            event = await payer.call(*asking(door, f"{lane}/m"))
            assert (event["cost_nusd"], event["usage_source"]) == (cost, "provider"), (lane, door, dict(event))
    event = await payer.call("/v1/embeddings", {"model": "chat/honest", "input": ["a", "b"]})
    assert (event["cost_nusd"], event["input_tokens"]) == (7 * IN, 7)
    await assert_books_balance(pool)


async def test_what_cannot_be_true_takes_no_more_than_was_held(payer: Payer, pool: asyncpg.Pool) -> None:
    """A vendor that lies must not empty a customer's month."""
    # As the hold has it: 300 tokens of input are more than the bound of "hi".
    held = 300 * WRITE + MOST_TOKENS * OUT
    for name in ABSURD:
        for door in ("chat/completions", "messages"):
            for streamed in (False, True):
                path, body = asking(door, f"chat/absurd--{name}")
                event = await payer.call(path, body | {"stream": streamed})
                assert 0 < event["cost_nusd"] <= held, (name, door, streamed, dict(event))
                assert event["vendor_cost_nusd"] <= held or name in ABSURD_OUTPUT, (name, dict(event))
                assert event["input_tokens"] <= 300
    for name in ("input", "only-total"):
        event = await payer.call("/v1/embeddings", {"model": f"chat/{name}", "input": ["a", "b"]})
        assert (event["cost_nusd"], event["usage_source"]) == (2 * IN, "counted"), (name, dict(event))
    # The cap is held by what is reserved, whatever is told.
    event = await payer.call(*asking("chat/completions", "chat/told--written"), cap_nusd=60_000_000)
    spent, left = await spent_and_held(pool, payer.customer_id)
    assert (spent, left) == (event["cost_nusd"], 0)
    await assert_books_balance(pool)
