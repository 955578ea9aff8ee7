"""A client that leaves early never pays less than the vendor charges for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Process

#: Half of its bytes are tokens: digits and signs.
DENSE = "7#1!9$"
DELTAS = 20
PROMPT_TOKENS, OUTPUT_TOKENS = 900, 60
PRICE = {"input": 1000, "output": 10_000}  # nano-dollars a token


class Vendor:
    """Streams dense text, then waits for `usage_due` before it tells the usage."""

    def __init__(self) -> None:
        self.pause_s = 0.005
        self.usage_due_s = 0.4
        self.stop_due_s = 0.0  # Anthropic's last word, after the end and its usage
        self.waiting = asyncio.Event()  # the answer's end is told
        self.cancelled = 0
        self.finished = 0
        self.runner: web.AppRunner | None = None

    async def start(self) -> str:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/messages", self.messages)
        self.runner = web.AppRunner(app, handler_cancellation=True)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def stream(
        self, request: web.Request, before: list[Any], pieces: list[Any], after: list[Any]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            for event in before + pieces:
                await response.write(f"data: {json.dumps(event)}\n\n".encode())
                await asyncio.sleep(self.pause_s)
            for event in after:
                if event == "wait":
                    self.waiting.set()
                    await asyncio.sleep(self.usage_due_s)
                elif event == "wait for the stop":
                    self.waiting.set()
                    await asyncio.sleep(self.stop_due_s)
                else:
                    await response.write(f"data: {json.dumps(event)}\n\n".encode())
            self.finished += 1
        except (asyncio.CancelledError, ConnectionError):
            self.cancelled += 1
            raise
        return response

    async def chat(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        pieces = [{"choices": [{"index": 0, "delta": {"content": DENSE}}]} for _ in range(DELTAS)]
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": 960}
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        return await self.stream(request, [], pieces, [end, "wait", {"choices": [], "usage": usage}])

    async def messages(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": PROMPT_TOKENS}}}
        begin = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": DENSE}}
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": OUTPUT_TOKENS}}
        after = [{"type": "content_block_stop", "index": 0}, "wait", end, "wait for the stop", {"type": "message_stop"}]
        return await self.stream(request, [start, begin], [delta] * DELTAS, after)


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    yield vendor
    if vendor.runner is not None:
        await vendor.runner.cleanup()


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL = {"type": "function", "function": {"name": "f", "description": "x" * 2000, "parameters": {"type": "object"}}}
#: What each door sends; the input is worth 900 tokens: a long text, images, or tools.
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "long text": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "7" * 1800}]}),
    "images": ("/v1/chat/completions", {"messages": [{"role": "user", "content": [IMAGE] * 9}]}),
    "tools": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "tools": [TOOL] * 2}),
    "messages": ("/v1/messages", {"messages": [{"role": "user", "content": "7" * 1800}]}),
    "native": ("/api/gateway-stream", {"messages": [{"role": "user", "content": "7" * 1800}]}),
}


def config(url: str, on_disconnect: str) -> str:
    """Two lanes before the stand-in, each with a model that reasons and one that does not."""
    lines = ["lanes:"]
    for lane, plugin, base in (("chat", "openai", f"{url}/v1"), ("messages", "anthropic", url)):
        lines += [f"  {lane}:", f"    plugin: {plugin}", f"    base_url: {base}", "    api_key: k", "    retries: 0"]
        lines += [f"    on_disconnect: {on_disconnect}"] if on_disconnect else []
        lines += ["    models:"]
        for name, further in (("plain", "reasoning: false"), ("thinks", "reasoning: true, tokens_per_s: 1000")):
            price = "price: {input: 1, output: 10}, image_tokens: 100, max_output_tokens: 4000"
            lines.append(f"      {name}: {{type: chat, {price}, {further}}}")
    return "\n".join(lines) + "\n"


async def leave(http: aiohttp.ClientSession, url: str, key: str, model: str, case: str, when: str) -> None:
    """Make a streamed call and reset the connection after the first word, the last word, or what comes next."""
    path, body = BODIES[case]
    lane = "messages" if case == "messages" else "chat"
    fields = {"provider": lane, "model": model} if case == "native" else {"model": f"{lane}/{model}", "stream": True}
    async with http.post(
        url + path, json=body | fields | {"max_tokens": 2000}, headers={"authorization": f"Bearer {key}"}
    ) as answer:
        assert answer.status == 200, await answer.text()
        seen = b""
        async for chunk in answer.content.iter_any():
            seen += chunk
            words = seen.count(DENSE.encode())
            if when == "first word" and words >= 1:
                break
            if when == "last word" and words >= DELTAS:
                break
            if (
                when == "finish"
                and words >= DELTAS
                and (b'finish_reason":"stop' in seen or b"content_block_stop" in seen)
            ):
                break
        transport = answer.connection.transport if answer.connection else None
        if transport is not None:
            transport.abort()


async def event_of(pool: asyncpg.Pool, number: int) -> asyncpg.Record:
    """The newest usage event, once there are `number` and nothing is held."""
    for _ in range(200):
        rows = await pool.fetch("select * from kaixu.usage_event order by id desc")
        if len(rows) == number and not await pool.fetchval("select count(*) from kaixu.reservation"):
            return rows[0]
        await asyncio.sleep(0.05)
    raise AssertionError("nothing was settled")


TRUE_COST = PROMPT_TOKENS * PRICE["input"] + OUTPUT_TOKENS * PRICE["output"]


async def test_leaving_early_is_never_cheaper_than_staying(
    vendor: Vendor, tmp_path: Path, dsn: str, pool: asyncpg.Pool
) -> None:
    gateway = await Process(tmp_path / "gateway", dsn, config(await vendor.start(), "cancel")).start()
    _, key = await virtual_key(pool, await customer(pool))
    number = 0
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            for model in ("plain", "thinks"):
                for case in BODIES:
                    for when in ("first word", "last word", "finish"):
                        if when == "finish" and case == "native":
                            continue  # it has no such event
                        await leave(http, gateway.url, key, model, case, when)
                        number += 1
                        event = await event_of(pool, number)
                        told = (model, case, when, dict(event))
                        if when == "first word":
                            # One word was made for sure; all of the input was.
                            assert event["cost_nusd"] >= PROMPT_TOKENS * 1000 + 3 * 10_000, told
                        else:
                            assert event["cost_nusd"] >= TRUE_COST, told
                        if when == "finish" and case not in ("messages", "native"):
                            # The vendor had ended: the exact bill is waited for.
                            assert event["usage_source"] == "provider", told
                            assert event["cost_nusd"] == TRUE_COST, told
                        elif event["usage_source"] != "provider":
                            assert event["usage_source"] == "estimated", told
        await assert_books_balance(pool)
    finally:
        await gateway.stop()


#: Doors that translate, by the path, the lane and the body: they show nothing of the vendor's end before its usage.
TRANSLATED: dict[str, tuple[str, dict[str, Any]]] = {
    "messages": ("/v1/messages", {"stream": True, "messages": [{"role": "user", "content": "7" * 1800}]}),
    "responses": ("/v1/responses", {"stream": True, "input": "7" * 1800}),
    "native": ("/api/gateway-stream", {"provider": "chat", "messages": [{"role": "user", "content": "7" * 1800}]}),
    "plain": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "7" * 1800}]}),
    "plain messages": ("/v1/messages", {"messages": [{"role": "user", "content": "7" * 1800}]}),
    "plain native": ("/api/gateway-chat", {"provider": "chat", "messages": [{"role": "user", "content": "7" * 1800}]}),
    "chat before messages": (
        "/v1/chat/completions",
        {"model": "messages/plain", "stream": True, "messages": [{"role": "user", "content": "7" * 1800}]},
    ),
}


async def test_who_leaves_between_the_end_and_the_usage_gets_the_exact_bill_at_every_door(
    vendor: Vendor, tmp_path: Path, dsn: str, pool: asyncpg.Pool
) -> None:
    gateway = await Process(tmp_path / "gateway", dsn, config(await vendor.start(), "cancel")).start()
    _, key = await virtual_key(pool, await customer(pool))
    vendor.stop_due_s = 1.0
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            for number, (case, (path, body)) in enumerate(TRANSLATED.items(), 1):
                vendor.waiting.clear()
                vendor.usage_due_s = 0.0 if body.get("model") == "messages/plain" else 1.0
                model = "plain" if "provider" in body else "chat/plain"
                whole = {"model": model, "max_tokens": 2000, "max_output_tokens": 2000} | body
                headers = {"authorization": f"Bearer {key}"}
                asked = asyncio.ensure_future(http.post(gateway.url + path, json=whole, headers=headers))
                await asyncio.wait_for(vendor.waiting.wait(), 10)
                await asyncio.sleep(0.2)  # the gateway reads what the vendor has written
                if asked.done():
                    answer = asked.result()
                    assert answer.connection is not None
                    assert answer.connection.transport is not None
                    answer.connection.transport.abort()
                else:
                    asked.cancel()
                event = await event_of(pool, number)
                assert (event["usage_source"], event["cost_nusd"]) == ("provider", TRUE_COST), (case, dict(event))
        await assert_books_balance(pool)
    finally:
        await gateway.stop()


async def test_models_that_reason_are_read_to_their_end_by_default(
    vendor: Vendor, tmp_path: Path, dsn: str, pool: asyncpg.Pool
) -> None:
    gateway = await Process(tmp_path / "gateway", dsn, config(await vendor.start(), "")).start()
    _, key = await virtual_key(pool, await customer(pool))
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            await leave(http, gateway.url, key, "thinks", "long text", "first word")
            event = await event_of(pool, 1)
            assert (event["usage_source"], event["cost_nusd"]) == ("provider", TRUE_COST)
            assert (vendor.finished, vendor.cancelled) == (1, 0)
            vendor.pause_s = 0.2
            await leave(http, gateway.url, key, "plain", "long text", "first word")
            event = await event_of(pool, 2)
            assert event["usage_source"] == "estimated"
            assert (vendor.finished, vendor.cancelled) == (1, 1)
        await assert_books_balance(pool)
    finally:
        await gateway.stop()
