"""Answers in one piece: what a client that does not stream gets, and what it is billed, whatever its vendor does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from kaixu.store.pool import open_pool
from tests.support.both_ways import CALL, SECRET, WORDS, BothWays, both_ways
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Process
from tests.vendors.stage import database, gateway

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
TEXT = "".join(WORDS)
PRICE = "type: chat, price: {input: 1, output: 2, cached_input: 0.5, reasoning: 3}, cost: {input: 1, output: 1}"
OPENAI = ("ok", "streams", "late", "cut", "nonsense", "error", "busy", "stubborn")


def config(url: str) -> str:
    """Lanes of both protocols; `patient` waits for a late answer, `streamed` never asks for one piece."""

    def lane(name: str, plugin: str, base: str, further: str, *models: str) -> str:
        listed = "".join(f"      {model}\n" for model in models)
        head = f"  {name}:\n    plugin: {plugin}\n    base_url: {base}\n    api_key: k\n    retries: 1\n"
        return f"{head}    {further}\n    models:\n{listed}"

    models = [f"{name}: {{{PRICE}, reasoning: false}}" for name in OPENAI]
    stored = f"stored: {{{PRICE}, upstream: ok, cache: {{ttl: 10m, any_temperature: true}}}}"
    rescued = f"rescued: {{{PRICE}, upstream: error, deployments: [{{lane: up}}, {{lane: streamed, upstream: ok, priority: 1}}]}}"
    late = f"late: {{{PRICE}, reasoning: false, tokens_per_s: 1000}}"
    return "lanes:\n" + "".join(
        [
            lane("up", "openai", f"{url}/v1", "timeouts: {first_byte_s: 3}", *models, stored, rescued),
            lane("patient", "openai", f"{url}/v1", "on_disconnect: cancel", late),
            lane("streamed", "openai", f"{url}/v1", "plain_answers: false", f"ok: {{{PRICE}}}"),
            lane("claude", "anthropic", url, "required: true", f"ok: {{{PRICE}}}"),
        ]
    )


class Stage(NamedTuple):
    """The vendor and the gateway before it."""

    vendor: BothWays
    gateway: Process


@pytest.fixture(scope="module")
def stage(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with (
        both_ways() as vendor,
        database(server_dsn, pristine) as dsn,
        gateway(tmp_path_factory.mktemp("plain"), dsn, config(vendor.url)) as process,
    ):
        yield Stage(vendor, process)


@pytest.fixture
async def pool(stage: Stage) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(stage.gateway.environment["DATABASE_URL"])
    yield pool
    await assert_books_balance(pool)
    await pool.close()


@pytest.fixture
def vendor(stage: Stage) -> BothWays:
    stage.vendor.requests.clear()
    return stage.vendor


@pytest.fixture
async def key(pool: asyncpg.Pool) -> str:
    return (await virtual_key(pool, await customer(pool)))[1]


@pytest.fixture
async def client(stage: Stage, key: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{stage.gateway.url}/v1", api_key=key, max_retries=0) as client:
        yield client


async def last_event(pool: asyncpg.Pool) -> dict[str, Any]:
    """The bill of the latest call."""
    row = await pool.fetchrow(
        "select input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, cost_nusd, vendor_cost_nusd,"
        " usage_source, end_reason from kaixu.usage_event order by id desc limit 1"
    )
    return {"end_reason": None} if row is None else dict(row)


async def test_all_that_the_vendor_says_reaches_a_client_of_its_protocol(client: AsyncOpenAI, vendor: BothWays) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="up/ok", messages=HELLO, max_tokens=9)
    answer = json.loads(raw.text)
    choice = answer["choices"][0]
    assert choice["message"]["content"] == TEXT
    assert choice["message"]["annotations"] == [{"index": 0, "a": 1}, {"index": 0, "a": 2}]
    assert choice["message"]["x_message"] == {"deep": [1, None]}
    assert choice["message"]["refusal"] is None
    assert "x_choice" in choice
    assert (answer["id"], answer["model"], answer["object"]) == ("chatcmpl-of-the-vendor", "up/ok", "chat.completion")
    assert (answer["x_answer"], answer["service_tier"]) == ({"kept": True}, None)
    assert answer["usage"] == {"prompt_tokens": 14, "completion_tokens": 7, "total_tokens": 21}
    assert answer["kaixu"]["usage_source"] == "provider"
    assert SECRET not in f"{raw.headers}{raw.text}"
    [asked] = vendor.requests
    assert asked == {"model": "ok", "messages": HELLO, "max_completion_tokens": 9, "stream": False}


async def test_all_that_claude_says_reaches_its_client(stage: Stage, key: str, vendor: BothWays) -> None:
    async with AsyncAnthropic(base_url=stage.gateway.url, auth_token=key, api_key=None, max_retries=0) as client:
        answer = await client.messages.create(model="claude/ok", messages=HELLO, max_tokens=9)
    assert answer.id == "msg_of_the_vendor"
    assert (answer.model, answer.stop_reason, answer.usage.input_tokens) == ("claude/ok", "end_turn", 14)
    assert answer.model_extra is not None
    assert answer.model_extra["x_answer"] == {"kept": True}
    assert answer.content[0].model_dump()["x_block"] == 7
    assert vendor.requests == [{"model": "ok", "messages": HELLO, "max_tokens": 9, "stream": False}]


async def test_tool_calls_come_as_the_vendor_has_sent_them(client: AsyncOpenAI, vendor: BothWays) -> None:
    vendor.calls_tool = True
    try:
        answer = await client.chat.completions.create(model="up/ok", messages=HELLO)
        raw = await client.chat.completions.with_raw_response.create(model="up/ok", messages=HELLO)
    finally:
        vendor.calls_tool = False
    assert answer.choices[0].finish_reason == "tool_calls"
    assert json.loads(raw.text)["choices"][0]["message"]["tool_calls"] == [CALL]


@pytest.mark.parametrize("model", ["ok", "claude"])
async def test_clients_of_other_protocols_gain_too(stage: Stage, key: str, vendor: BothWays, model: str) -> None:
    provider = "claude" if model == "claude" else "up"
    headers = {"authorization": f"Bearer {key}"}
    body = {"provider": provider, "model": "ok", "messages": HELLO, "max_tokens": 9}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(f"{stage.gateway.url}/api/gateway-chat", json=body) as response:
            assert (await response.json())["output_text"] == TEXT
        asked = {"model": f"{provider}/ok", "input": "hello", "max_output_tokens": 16}
        async with http.post(f"{stage.gateway.url}/v1/responses", json=asked) as response:
            assert (await response.json())["output"][0]["content"][0]["text"] == TEXT
    assert [asked["stream"] for asked in vendor.requests] == [False, False]


#: What vendors report: the usual, cached input, hidden reasoning beside the rest, a total alone, no figure, nothing.
USAGES: list[dict[str, Any] | None] = [
    {"prompt_tokens": 14, "completion_tokens": 7, "total_tokens": 21},
    {"prompt_tokens": 900, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 800}},
    {"prompt_tokens": 14, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 8}},
    {"prompt_tokens": 14, "completion_tokens": 7, "total_tokens": 60},
    {"prompt_tokens": 14, "completion_tokens": 5000, "total_tokens": 5014},
    {"total_tokens": 40},
    {"prompt_tokens": 0, "completion_tokens": 0},
    {"prompt_tokens": "14", "completion_tokens": 7.0},
    None,
]


async def test_a_plain_call_costs_what_the_same_call_costs_as_a_stream(
    client: AsyncOpenAI, vendor: BothWays, pool: asyncpg.Pool
) -> None:
    usual = vendor.usage
    try:
        for usage in USAGES:
            vendor.usage = usage
            await client.chat.completions.create(model="up/ok", messages=HELLO, max_tokens=40)
            plain = await last_event(pool)
            stream = await client.chat.completions.create(model="up/ok", messages=HELLO, max_tokens=40, stream=True)
            assert [chunk async for chunk in stream]
            streamed = await last_event(pool)
            if plain["end_reason"] == "budget_cut":  # both pay their hold, which counts the bytes of `stream`, too
                assert max(plain.pop("cost_nusd"), streamed.pop("cost_nusd")) < 40 * 2000 + 200 * 1000
            assert plain == streamed, usage
    finally:
        vendor.usage = usual
    assert [asked["stream"] for asked in vendor.requests] == [False, True] * len(USAGES)


async def test_what_a_vendor_made_beyond_the_budget_costs_the_operator(
    client: AsyncOpenAI, vendor: BothWays, pool: asyncpg.Pool
) -> None:
    usual, vendor.usage, vendor.repeats = vendor.usage, {"prompt_tokens": 14, "completion_tokens": 400}, 50
    try:
        await client.chat.completions.create(model="up/ok", messages=HELLO, max_tokens=9)
    finally:
        vendor.usage, vendor.repeats = usual, 1
    event = await last_event(pool)
    assert (event["end_reason"], event["output_tokens"], event["usage_source"]) == ("budget_cut", 400, "provider")
    assert event["vendor_cost_nusd"] == (14 + 400) * 1000
    assert event["cost_nusd"] < 9 * 2000 + 200 * 1000  # at most the hold, which counts the request's bytes


@pytest.mark.parametrize(
    ("model", "max_tokens"), [("streamed/ok", 9), ("up/ok", 61), ("up/ok", 4000)], ids=["off", "long", "very long"]
)
async def test_long_answers_and_lanes_where_it_is_off_are_streamed(
    client: AsyncOpenAI, vendor: BothWays, model: str, max_tokens: int
) -> None:
    answer = await client.chat.completions.create(model=model, messages=HELLO, max_tokens=max_tokens)
    assert answer.choices[0].message.content == TEXT
    assert [asked["stream"] for asked in vendor.requests] == [True]


async def test_a_vendor_that_streams_all_the_same_is_read(client: AsyncOpenAI, vendor: BothWays) -> None:
    answer = await client.chat.completions.create(model="up/stubborn", messages=HELLO, max_tokens=9)
    assert answer.choices[0].message.content == TEXT
    assert [asked["stream"] for asked in vendor.requests] == [False]


async def test_a_model_that_only_streams_is_asked_again_at_once_and_then_for_streams(
    client: AsyncOpenAI, vendor: BothWays
) -> None:
    for _ in range(2):
        answer = await client.chat.completions.create(model="up/streams", messages=HELLO, max_tokens=9)
        assert answer.choices[0].message.content == TEXT
    assert [asked["stream"] for asked in vendor.requests] == [False, True, True]


async def test_a_vendor_that_is_late_is_asked_for_a_stream(
    client: AsyncOpenAI, vendor: BothWays, pool: asyncpg.Pool
) -> None:
    for _ in range(2):
        answer = await client.chat.completions.create(model="up/late", messages=HELLO, max_tokens=9)
        assert answer.choices[0].message.content == TEXT
    assert [asked["stream"] for asked in vendor.requests] == [False, True, True]
    assert (await last_event(pool))["cost_nusd"] == 14 * 1000 + 7 * 2000
    late = await pool.fetchrow(
        "select units #> '{call,failed}' as failed, vendor_cost_nusd from kaixu.usage_event"
        " where model = 'late' and units #> '{call,failed}' is not null"
    )
    assert late is not None  # the vendor that made the answer is paid for it, though nobody has seen it
    assert (late["failed"]["tries"], late["failed"]["output_tokens"], late["failed"]["estimated"]) == (1, 9, True)
    assert late["vendor_cost_nusd"] == (14 + 7 + late["failed"]["input_tokens"] + 9) * 1000


async def test_another_deployment_answers_under_the_same_bill(
    client: AsyncOpenAI, vendor: BothWays, pool: asyncpg.Pool
) -> None:
    answer = await client.chat.completions.create(model="up/rescued", messages=HELLO, max_tokens=9)
    assert answer.choices[0].message.content == TEXT
    assert [(asked["model"], asked["stream"]) for asked in vendor.requests] == [("error", False), ("ok", True)]
    assert (await last_event(pool))["cost_nusd"] == 14 * 1000 + 7 * 2000


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("cut", 502, "upstream_error"),
        ("nonsense", 502, "upstream_error"),
        ("error", 502, "upstream_error"),
        ("busy", 429, "upstream_busy"),
    ],
)
async def test_a_failure_is_that_of_a_stream_and_costs_nothing(
    stage: Stage, key: str, vendor: BothWays, pool: asyncpg.Pool, model: str, status: int, code: str
) -> None:
    spent = await pool.fetchval("select sum(spent_nusd) from kaixu.customer_month")
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as http:
        body = {"model": f"up/{model}", "messages": HELLO, "max_tokens": 9}
        async with http.post(f"{stage.gateway.url}/v1/chat/completions", json=body) as response:
            text = await response.text()
    assert (response.status, json.loads(text)["error"]["code"]) == (status, code)
    assert SECRET not in text
    assert len(vendor.requests) == 2  # one retry
    assert spent == await pool.fetchval("select sum(spent_nusd) from kaixu.customer_month")


async def test_a_stored_answer_is_the_same_and_can_be_streamed(
    client: AsyncOpenAI, vendor: BothWays, pool: asyncpg.Pool
) -> None:
    vendor.calls_tool = True
    try:
        first = await client.chat.completions.create(model="up/stored", messages=HELLO, max_tokens=9)
    finally:
        vendor.calls_tool = False
    async with asyncio.timeout(30):
        while not await pool.fetchval("select count(*) from kaixu.response"):
            await asyncio.sleep(0.01)
    again = await client.chat.completions.create(model="up/stored", messages=HELLO, max_tokens=9)
    assert again.choices == first.choices
    calls: list[Any] = []
    stream = await client.chat.completions.create(model="up/stored", messages=HELLO, max_tokens=9, stream=True)
    async for chunk in stream:
        calls += [call for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    assert [(call.index, call.function.name, call.function.arguments) for call in calls] == [
        (0, "weather", '{"city":"Rome"}')
    ]
    assert len(vendor.requests) == 1


async def test_a_client_that_leaves_before_the_answer_pays_the_bound_by_time(
    stage: Stage, key: str, vendor: BothWays, pool: asyncpg.Pool
) -> None:
    vendor.waiting.clear()
    body = {"model": "patient/late", "messages": HELLO, "max_tokens": 30}
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as http:
        task = asyncio.ensure_future(http.post(f"{stage.gateway.url}/v1/chat/completions", json=body))
        assert await asyncio.to_thread(vendor.waiting.wait, 30)
        await asyncio.sleep(0.1)  # at 1,000 tokens a second, all of them may be made by now
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    async with asyncio.timeout(30):
        while (event := await last_event(pool))["end_reason"] != "client_gone":
            await asyncio.sleep(0.05)
    assert event["usage_source"] == "estimated"
    assert event["output_tokens"] == 30
    assert event["cost_nusd"] == event["input_tokens"] * 1000 + 30 * 2000
    assert [asked["stream"] for asked in vendor.requests] == [False]
