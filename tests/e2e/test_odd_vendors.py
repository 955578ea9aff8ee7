"""Vendors whose answers are odd, at every door: what is no answer is asked elsewhere, what is one is delivered whole."""

from __future__ import annotations

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


def chunk(**choice: Any) -> dict[str, Any]:
    return {"id": "v", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, **choice}]}


def call(id: str | None, name: str | None, arguments: Any, **fields: Any) -> dict[str, Any]:
    piece = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}, **fields}
    return chunk(delta={"tool_calls": [piece]})


def events(*chunks: Any, done: bool = True) -> bytes:
    data = [one if isinstance(one, str) else json.dumps(one) for one in chunks]
    return "".join(f"data: {one}\n\n" for one in [*data, *(["[DONE]"] if done else [])]).encode()


TEXT = chunk(delta={"role": "assistant", "content": "hello you"})
END = chunk(finish_reason="stop")
USAGE = {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23}}

#: Answers that are none, by the model's name: what the vendor sends, and what it says that it is.
NOTHING: dict[str, tuple[bytes, str]] = {
    "own-error": (b'{"code":30001,"message":"bad parameter"}', "application/json"),
    "choices-null": (b'{"choices":null}', "application/json"),
    "choices-none": (b'{"choices":[],"usage":{"prompt_tokens":20,"total_tokens":20}}', "application/json"),
    "lone-done": (events(), "text/event-stream"),
    "empty-stream": (b"", "text/event-stream"),
    "empty-json": (b"", "application/json"),
    "error-stream": (events({"code": 30001, "message": "bad parameter"}), "text/event-stream"),
    "heartbeats": (b": alive\n\ndata:\n\n" * 3, "text/event-stream"),
}
#: Answers that say "hello you" and are complete.
WHOLE: dict[str, tuple[bytes, str]] = {
    "plain": (events(TEXT, END, USAGE), "text/event-stream"),
    "hearts": (b"data:\n\n: x\n\n" + events("", TEXT, "", END, USAGE), "text/event-stream"),
    "labelled-json": (events(TEXT, END, USAGE), "application/json"),
    "labelled-text": (events(TEXT, END, USAGE), "text/plain"),
    "no-done": (events(TEXT, END, USAGE, done=False), "text/event-stream"),
    "cut-after-end": (events(TEXT, END, USAGE, done=False), "text/event-stream"),
    "late-error": (events(TEXT, END, USAGE, {"error": {"message": "late"}}), "text/event-stream"),
    "parts": (
        events(chunk(delta={"content": [{"type": "text", "text": "hello you"}]}), END, USAGE),
        "text/event-stream",
    ),
    "json": (
        json.dumps(
            {
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello you"}}],
                "usage": USAGE["usage"],
            }
        ).encode(),
        "text/event-stream",
    ),
    "no-completion": (
        events(TEXT, END, {"choices": [], "usage": {"prompt_tokens": 20, "total_tokens": 20}}),
        "text/event-stream",
    ),
}
CALLS = (
    events(
        call("a", "weather", '{"city":', index=0),
        call(None, None, '"Rome"}', index=0),
        call("b", "time", {"zone": "CET"}, index=0),
        chunk(finish_reason="tool_calls"),
        USAGE,
    ),
    "text/event-stream",
)
ANSWERS = NOTHING | WHOLE | {"calls": CALLS}


async def answer(request: web.Request) -> web.StreamResponse:
    """The answer by the model's name."""
    model = (await request.json())["model"]
    body, kind = ANSWERS[model]
    response = web.StreamResponse(headers={"content-type": kind})
    await response.prepare(request)
    await response.write(body)
    if model == "cut-after-end":
        assert request.transport is not None
        request.transport.close()
    return response


@pytest.fixture
async def gateway(tmp_path: Path, dsn: str) -> AsyncIterator[Process]:
    """A gateway before that vendor; `X-or-plain` is served by `plain` where X fails."""
    app = web.Application()
    app.router.add_post("/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    price = "type: chat, price: {input: 1, output: 10}"
    models = [f"{name}: {{{price}}}" for name in ANSWERS]
    models += [
        f"{name}-or-plain: {{{price}, deployments: [{{upstream: {name}}}, {{upstream: plain, priority: 1}}]}}"
        for name in NOTHING
    ]
    listed = ",\n    ".join(models)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    config = (
        f'lanes:\n  up: {{plugin: openai, base_url: "{url}", api_key: k, retries: 0, models: {{\n    {listed} }} }}\n'
    )
    process = Process(tmp_path / "gateway", dsn, config)
    await process.start()
    yield process
    assert await process.stop() == 0
    await runner.cleanup()


HELLO = [{"role": "user", "content": "hello"}]
DOORS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "native": "/api/gateway-chat"}


class Asking:
    """Asks one model at all three doors, plain and streamed."""

    def __init__(self, http: aiohttp.ClientSession, url: str, key: str) -> None:
        self.http = http
        self.url = url
        self.headers = {"authorization": f"Bearer {key}", "anthropic-version": "2023-06-01"}

    async def at(self, door: str, model: str, *, stream: bool) -> tuple[int, str]:
        """The status, and all that was said."""
        path = "/api/gateway-stream" if stream and door == "native" else DOORS[door]
        body = {"model": model, "provider": "up", "messages": HELLO, "max_tokens": 1000}
        body |= {"stream": stream} if door != "native" else {}
        body = {name: value for name, value in body.items() if door == "native" or name != "provider"}
        async with self.http.post(self.url + path, json=body, headers=self.headers) as response:
            return response.status, await response.text()

    async def everywhere(self, model: str) -> dict[tuple[str, bool], tuple[int, str]]:
        """What all of them say."""
        return {(door, stream): await self.at(door, model, stream=stream) for door in DOORS for stream in (False, True)}


@pytest.fixture
async def asking(gateway: Process, pool: asyncpg.Pool, http: aiohttp.ClientSession) -> Asking:
    """A client with a key."""
    _, key = await virtual_key(pool, await customer(pool))
    return Asking(http, gateway.url, key)


async def test_what_is_no_answer_is_the_vendor_s_failure_at_every_door_and_costs_nothing(
    asking: Asking, pool: asyncpg.Pool
) -> None:
    for model in NOTHING:
        for (door, stream), (status, text) in (await asking.everywhere(model)).items():
            where = (model, door, stream)
            if door == "native" and stream:  # it has said `meta` already
                assert (where, status) == (where, 200)
                assert "event: error" in text, where
                assert '"status":502' in text, where
            else:
                assert (where, status) == (where, 502), text
            assert "bad parameter" not in text
    # The vendor may have worked; nobody pays for it.
    rows = await pool.fetch("select end_reason, cost_nusd from kaixu.usage_event")
    assert {(row["end_reason"], row["cost_nusd"]) for row in rows} <= {("undelivered", 0)}
    await assert_books_balance(pool)


async def test_another_deployment_is_asked_instead(asking: Asking, pool: asyncpg.Pool) -> None:
    for model in NOTHING:
        for where, (status, text) in (await asking.everywhere(f"{model}-or-plain")).items():
            assert (where, status) == (where, 200), text
            assert "hello you" in text, (model, where)
    costs = await pool.fetch("select distinct cost_nusd, usage_source from kaixu.usage_event")
    assert [tuple(row) for row in costs] == [(20 * 1000 + 3 * 10_000, "provider")]
    await assert_books_balance(pool)


async def test_what_is_an_answer_is_delivered_whole_at_every_door(asking: Asking, pool: asyncpg.Pool) -> None:
    for model in WHOLE:
        for where, (status, text) in (await asking.everywhere(model)).items():
            assert (model, where, status) == (model, where, 200), text
            assert "hello you" in text, (model, where)
            assert "event: error" not in text, (model, where, text)
            assert '"error"' not in text, (model, where, text)
    rows = await pool.fetch(
        "select model, end_reason, usage_source, cost_nusd, count(*) from kaixu.usage_event group by 1, 2, 3, 4"
    )
    for row in rows:
        counted = row["model"] == "no-completion"
        wanted = ("complete", "counted" if counted else "provider", 20 * 1000 + 3 * 10_000, 6)
        assert (row["model"], *tuple(row)[1:]) == (row["model"], *wanted)
    assert len(rows) == len(WHOLE)
    await assert_books_balance(pool)


async def test_two_calls_of_tools_that_share_an_index_are_two_at_every_door(asking: Asking) -> None:
    _, text = await asking.at("openai", "calls", stream=False)
    calls = json.loads(text)["choices"][0]["message"]["tool_calls"]
    assert [(one["function"]["name"], json.loads(one["function"]["arguments"])) for one in calls] == [
        ("weather", {"city": "Rome"}),
        ("time", {"zone": "CET"}),
    ]
    _, text = await asking.at("anthropic", "calls", stream=False)
    blocks = json.loads(text)["content"]
    assert [(one["name"], one["input"]) for one in blocks] == [("weather", {"city": "Rome"}), ("time", {"zone": "CET"})]
    _, text = await asking.at("native", "calls", stream=False)
    assert [one["id"] for one in json.loads(text)["tool_calls"]] == ["a", "b"]
    _, text = await asking.at("openai", "calls", stream=True)
    pieces = [
        piece
        for line in text.splitlines()
        if line.startswith("data: {")
        for choice in json.loads(line[6:])["choices"]
        for piece in choice["delta"].get("tool_calls") or ()
    ]
    assert [(piece["index"], piece.get("id")) for piece in pieces] == [(0, "a"), (0, None), (1, "b")]
