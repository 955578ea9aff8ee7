"""`/v1/messages` with Anthropic's own client, against a real gateway."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import anthropic
import asyncpg
import pytest
from aiohttp import web
from anthropic import AsyncAnthropic, Omit
from anthropic.types import MessageParam, ToolParam

from tests.e2e.conftest import Start
from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Process, config_for
from tests.support.vendor import Vendor

HELLO: list[MessageParam] = [{"role": "user", "content": "hello"}]
ZONES: list[ToolParam] = [
    {"name": "time", "description": "the time", "input_schema": {"type": "object", "properties": {"zone": {}}}}
]


@pytest.fixture
async def gateway(start: Start) -> Process:
    """A gateway before the stand-in, which speaks OpenAI's protocol."""
    [gateway] = await start()
    return gateway


@pytest.fixture
async def client(gateway: Process, pool: asyncpg.Pool) -> AsyncIterator[AsyncAnthropic]:
    """Anthropic's client with a key of ours."""
    _, key = await virtual_key(pool, await customer(pool))
    async with AsyncAnthropic(base_url=gateway.url, api_key=key, max_retries=0) as client:
        yield client


async def test_a_plain_answer(client: AsyncAnthropic, pool: asyncpg.Pool) -> None:
    answer = await client.messages.create(model="up/ok", messages=HELLO, max_tokens=4, system="Be kind.")
    assert [block.to_dict() for block in answer.content] == [{"type": "text", "text": "wd0 wd1 wd2 wd3 "}]
    assert (answer.stop_reason, answer.model, answer.role, answer.type) == ("end_turn", "up/ok", "assistant", "message")
    assert answer.id.startswith("msg_")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (14, 4)
    assert answer.model_extra is not None
    assert answer.model_extra["kaixu"]["usage_source"] == "provider"
    assert answer._request_id
    await assert_books_balance(pool)


async def test_a_stream_ends_with_its_bill(client: AsyncAnthropic) -> None:
    async with client.messages.stream(model="ok", messages=HELLO, max_tokens=4) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_message()
    assert [event.type for event in events if event.type != "text"] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    [delta] = [event for event in events if event.type == "message_delta"]
    assert delta.model_extra is not None
    assert delta.model_extra["kaixu"]["cost_usd"] == "0.000022"
    assert (final.model, final.stop_reason) == ("ok", "end_turn")
    assert [block.to_dict() for block in final.content] == [{"type": "text", "text": "wd0 wd1 wd2 wd3 "}]
    assert (final.usage.input_tokens, final.usage.output_tokens) == (14, 4)


async def test_a_stream_that_reached_its_budget_ends_as_one_of_full_length(client: AsyncAnthropic) -> None:
    async with client.messages.stream(model="greedy", messages=HELLO, max_tokens=4) as stream:
        final = await stream.get_final_message()
    assert final.stop_reason == "max_tokens"


async def test_a_key_may_come_as_x_api_key(client: AsyncAnthropic, gateway: Process) -> None:
    headers: dict[str, str | Omit] = {"Authorization": Omit(), "X-Api-Key": client.api_key or ""}
    answer = await client.messages.create(model="ok", messages=HELLO, max_tokens=4, extra_headers=headers)
    assert answer.stop_reason == "end_turn"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("model", "error", "kind", "code"),
    [
        ("status-500", anthropic.InternalServerError, "api_error", "upstream_error"),
        ("status-429", anthropic.RateLimitError, "rate_limit_error", "upstream_busy"),
        ("status-400", anthropic.BadRequestError, "invalid_request_error", "upstream_rejected"),
        ("nonsense", anthropic.InternalServerError, "api_error", "upstream_error"),
        ("nothing-of-ours", anthropic.BadRequestError, "invalid_request_error", "unknown_model"),
    ],
)
async def test_errors_have_their_own_status_and_anthropic_s_shape(
    client: AsyncAnthropic, stream: bool, model: str, error: type[anthropic.APIStatusError], kind: str, code: str
) -> None:
    with pytest.raises(error) as raised:
        await client.messages.create(model=model, messages=HELLO, max_tokens=4, stream=stream)
    assert (raised.value.type, raised.value.error_code) == (kind, code)
    assert "secret" not in str(raised.value)
    assert raised.value.request_id
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["request_id"] == raised.value.request_id


async def test_refusals_are_the_client_s_own_exceptions(gateway: Process, pool: asyncpg.Pool) -> None:
    poor = await virtual_key(pool, await customer(pool, cap_nusd=1))
    slow = await virtual_key(pool, await customer(pool), rpm_limit=1)
    off = await virtual_key(pool, await customer(pool, is_active=False))
    refusals: list[tuple[str, type[anthropic.APIStatusError], str]] = [
        ("kx_live_" + "x" * 48, anthropic.AuthenticationError, "authentication_error"),
        (poor[1], anthropic.PaymentRequiredError, "billing_error"),
        (off[1], anthropic.PermissionDeniedError, "permission_error"),
        (slow[1], anthropic.RateLimitError, "rate_limit_error"),
    ]
    for key, error, kind in refusals:
        async with AsyncAnthropic(base_url=gateway.url, api_key=key, max_retries=0) as client:
            if key == slow[1]:
                await client.messages.create(model="ok", messages=HELLO, max_tokens=4)
            with pytest.raises(error) as raised:
                await client.messages.create(model="ok", messages=HELLO, max_tokens=4)
        assert raised.value.type == kind


async def test_an_error_in_the_middle_of_a_stream_is_raised_by_the_client(client: AsyncAnthropic) -> None:
    said = []

    async def listen() -> None:
        async with client.messages.stream(model="cut-3", messages=HELLO, max_tokens=9) as stream:
            async for text in stream.text_stream:
                said.append(text)

    with pytest.raises(anthropic.APIStatusError) as raised:
        await listen()
    assert said == ["wd0 ", "wd1 ", "wd2 "]
    assert (raised.value.type, raised.value.error_code) == ("api_error", "upstream_error")


async def test_fields_that_the_vendor_lacks_are_refused_by_name(
    client: AsyncAnthropic, vendor: Vendor, pool: asyncpg.Pool
) -> None:
    for field, fields in (
        ("inference_geo", {"inference_geo": "us"}),
        ("top_k", {"top_k": 3}),
        ("speed", {"speed": "fast"}),
        ("max_tokens", {"max_tokens": None}),
        ("stop_sequences", {"stop_sequences": "END"}),
    ):
        with pytest.raises(anthropic.BadRequestError) as raised:
            await client.messages.create(model="ok", messages=HELLO, max_tokens=4, extra_body=fields)
        assert isinstance(raised.value.body, dict)
        assert (raised.value.type, raised.value.body["field"]) == ("invalid_request_error", field)
        assert f"`{field}`" in str(raised.value.api_message)
    assert vendor.requests == []
    await assert_books_balance(pool)


async def test_the_vendor_is_told_what_it_understands(client: AsyncAnthropic, vendor: Vendor) -> None:
    await client.messages.create(
        model="ok",
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}]}
        ],
        max_tokens=4,
        system=[{"type": "text", "text": "Be kind."}],
        stop_sequences=["END"],
        metadata={"user_id": "u"},
        thinking={"type": "adaptive"},
        output_config={"effort": "low"},
        service_tier="auto",
        extra_headers={"anthropic-beta": "whatever-2026-01-01"},
        extra_body={"temperature": 0.5},
    )
    [asked] = vendor.requests
    assert asked == {
        "model": "ok",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"}],
        "max_completion_tokens": 4,
        "stop": ["END"],
        "temperature": 0.5,
        "reasoning_effort": "low",
        "user": "u",
        "stream": False,
    }


async def test_tokens_are_counted_without_a_call(client: AsyncAnthropic, vendor: Vendor) -> None:
    plain = await client.messages.count_tokens(model="ok", messages=HELLO)
    assert plain.to_dict() == {"input_tokens": 6, "kaixu": {"estimated": True}}
    more = await client.messages.count_tokens(model="ok", messages=HELLO, system="Be kind to us.", tools=ZONES)
    assert more.input_tokens > plain.input_tokens + 20
    assert vendor.requests == []
    with pytest.raises(anthropic.BadRequestError, match="inference_geo"):
        await client.messages.count_tokens(model="ok", messages=HELLO, extra_body={"inference_geo": "us"})
    picture: Any = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    with pytest.raises(anthropic.BadRequestError, match="takes no images"):
        await client.messages.count_tokens(model="ok", messages=[{"role": "user", "content": [picture]}])


async def test_tokens_are_counted_for_keys_that_could_call(gateway: Process, pool: asyncpg.Pool) -> None:
    owner = await customer(pool)
    _, other_models = await virtual_key(pool, owner, allowed_models={"up": ["silent"]})
    revoked_id, revoked = await virtual_key(pool, owner)
    await pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", revoked_id)
    _, off = await virtual_key(pool, await customer(pool, is_active=False))
    refusals: list[tuple[str, type[anthropic.APIStatusError]]] = [
        ("nonsense", anthropic.AuthenticationError),
        ("kx_live_" + "x" * 48, anthropic.AuthenticationError),
        (revoked, anthropic.AuthenticationError),
        (off, anthropic.PermissionDeniedError),
        (other_models, anthropic.PermissionDeniedError),
    ]
    for key, error in refusals:
        async with AsyncAnthropic(base_url=gateway.url, api_key=key, max_retries=0) as client:
            with pytest.raises(error):
                await client.messages.count_tokens(model="ok", messages=HELLO)
    async with AsyncAnthropic(base_url=gateway.url, api_key=other_models, max_retries=0) as client:
        assert (await client.messages.count_tokens(model="up/silent", messages=HELLO)).input_tokens
    assert await spent_and_held(pool, owner) == (0, 0)


class StandIn:
    """A vendor that listens, and remembers what it was asked."""

    path = ""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post(self.path, self.answer)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self.runner is not None
        await self.runner.cleanup()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Its events, streamed."""
        body = await request.json()
        self.requests.append(body)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in self.events(body):
            name = f"event: {event['type']}\n" if "type" in event else ""
            await response.write(f"{name}data: {json.dumps(event)}\n\n".encode())
        return response

    def events(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """What it says to a request."""
        raise NotImplementedError


class ToolVendor(StandIn):
    """Speaks OpenAI's protocol: thinks, calls two tools by turns, and says what they answered."""

    path = "/v1/chat/completions"

    def events(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        answers = [turn["content"] for turn in body["messages"] if turn["role"] == "tool"]
        choices: list[dict[str, Any]] = [
            {"delta": {"reasoning_content": "two zones"}},
            {"delta": {"content": "Let me see."}},
            {"delta": {"tool_calls": [piece(0, '{"zone": ', "call_a"), piece(1, '{"zone"', "call_b")]}},
            {"delta": {"tool_calls": [piece(0, '"utc"}'), piece(1, ': "cet"}')]}},
            {"delta": {}, "finish_reason": "tool_calls"},
        ]
        if answers:
            choices = [{"delta": {"content": " and ".join(answers)}}, {"delta": {}, "finish_reason": "stop"}]
        usage = {"prompt_tokens": 20, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 5}}
        return [{"choices": [choice]} for choice in choices] + [{"choices": [], "usage": usage}]


def piece(index: int, arguments: str, id: str | None = None) -> dict[str, Any]:
    """A piece of a tool call."""
    function = {"arguments": arguments} | ({"name": "time"} if id else {})
    return {"index": index, "function": function} | ({"id": id} if id else {})


@pytest.fixture
async def tool_vendor() -> AsyncIterator[ToolVendor]:
    """It, listening."""
    async with ToolVendor() as vendor:
        yield vendor


@pytest.fixture
async def tool_client(
    tool_vendor: ToolVendor, dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> AsyncIterator[AsyncAnthropic]:
    """Anthropic's client, and a gateway between the two."""
    gateway = await Process(tmp_path / "gateway", dsn, config_for(f"{tool_vendor.url}/v1", "talk")).start()
    _, key = await virtual_key(pool, await customer(pool))
    async with AsyncAnthropic(base_url=gateway.url, api_key=key, max_retries=0) as client:
        yield client
    await gateway.stop()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_tools_are_called_and_answer(tool_client: AsyncAnthropic, tool_vendor: ToolVendor, stream: bool) -> None:
    messages: list[MessageParam] = [{"role": "user", "content": "What time is it?"}]
    if stream:
        async with tool_client.messages.stream(model="talk", messages=messages, max_tokens=99, tools=ZONES) as told:
            answer: anthropic.types.Message = await told.get_final_message()
    else:
        answer = await tool_client.messages.create(model="talk", messages=messages, max_tokens=99, tools=ZONES)
    assert [block.to_dict() for block in answer.content] == [
        {"type": "thinking", "thinking": "two zones", "signature": ""},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "call_a", "name": "time", "input": {"zone": "utc"}},
        {"type": "tool_use", "id": "call_b", "name": "time", "input": {"zone": "cet"}},
    ]
    assert answer.stop_reason == "tool_use"
    usage = answer.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (15, 5, 8)
    messages += [
        answer.to_param(),
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_a", "content": "noon"},
                {"type": "tool_result", "tool_use_id": "call_b", "content": [{"type": "text", "text": "one"}]},
                {"type": "text", "text": "Well?"},
            ],
        },
    ]
    last = await tool_client.messages.create(
        model="talk", messages=messages, max_tokens=99, tools=ZONES, tool_choice={"type": "tool", "name": "time"}
    )
    assert [block.to_dict() for block in last.content] == [{"type": "text", "text": "noon and one"}]
    assert last.stop_reason == "end_turn"
    asked = tool_vendor.requests[-1]
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "time"}}
    assert asked["messages"] == [
        {"role": "user", "content": "What time is it?"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "call_a", "type": "function", "function": {"name": "time", "arguments": '{"zone":"utc"}'}},
                {"id": "call_b", "type": "function", "function": {"name": "time", "arguments": '{"zone":"cet"}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_a", "content": "noon"},
        {"role": "tool", "tool_call_id": "call_b", "content": "one"},
        {"role": "user", "content": [{"type": "text", "text": "Well?"}]},
    ]


NATIVE = """
lanes:
  claude:
    plugin: anthropic
    base_url: {url}
    api_key: vendor-key
    retries: 0
    models:
      claude-haiku: {{type: chat, upstream: claude-haiku-4-5, price: {{input: 1, output: 2}}}}
      claude-breaks: {{type: chat, price: {{input: 1, output: 2}}}}
"""
THEIRS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_theirs",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-4-5-20251001",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 9, "cache_read_input_tokens": 3, "output_tokens": 1, "service_tier": "standard"},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "tok"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "ping"},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "", "brand_new": 1}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hello!"}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"},
        "usage": {"output_tokens": 7},
    },
    {"type": "message_stop"},
]


class Claude(StandIn):
    """Speaks Anthropic's own protocol; one of its models breaks off."""

    path = "/v1/messages"

    def events(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        if body["model"] == "claude-breaks":
            return [*THEIRS[:8], {"type": "error", "error": {"type": "api_error", "message": "vendor secret"}}]
        return THEIRS


@pytest.fixture
async def claude() -> AsyncIterator[Claude]:
    """It, listening."""
    async with Claude() as vendor:
        yield vendor


@pytest.fixture
async def native_client(claude: Claude, dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[AsyncAnthropic]:
    """Anthropic's client, and a gateway between the two."""
    gateway = await Process(tmp_path / "gateway", dsn, NATIVE.format(url=claude.url)).start()
    _, key = await virtual_key(pool, await customer(pool))
    async with AsyncAnthropic(base_url=gateway.url, api_key=key, max_retries=0) as client:
        yield client
    await gateway.stop()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_its_own_vendor_gets_every_field_and_is_passed_on(
    native_client: AsyncAnthropic, claude: Claude, pool: asyncpg.Pool, stream: bool
) -> None:
    sent: dict[str, Any] = {
        "max_tokens": 50,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}]},
            {"role": "assistant", "content": "He"},
        ],
        "stop_sequences": ["END"],
    }
    brand_new = {"brand_new": {"a": 1}}
    if stream:
        async with native_client.messages.stream(model="claude-haiku", extra_body=brand_new, **sent) as told:
            [start, *_] = [event async for event in told]
            answer: anthropic.types.Message = await told.get_final_message()
        assert start.type == "message_start"
        assert start.message.model == "claude-haiku"
    else:
        answer = await native_client.messages.create(model="claude-haiku", extra_body=brand_new, **sent)
        assert answer.model_extra is not None
        assert answer.model_extra["kaixu"]["cost_usd"] == "0.000026"
    assert claude.requests == [sent | {"model": "claude-haiku-4-5", "stream": stream}]  # what nobody knows is dropped
    assert [block.to_dict() for block in answer.content] == [
        {"type": "thinking", "thinking": "hm", "signature": "tok"},
        {"type": "text", "text": "Hello!", "brand_new": 1},
    ]
    assert (answer.id, answer.model, answer.stop_reason, answer.stop_sequence) == (
        "msg_theirs", "claude-haiku", "stop_sequence", "END",
    )  # fmt: skip
    usage = answer.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (9, 3, 7)
    assert usage.service_tier == "standard"
    await assert_books_balance(pool)


async def test_what_costs_extra_is_refused_also_for_its_own_vendor(
    native_client: AsyncAnthropic, claude: Claude
) -> None:
    with pytest.raises(anthropic.BadRequestError, match="no price"):
        await native_client.messages.create(model="claude-haiku", messages=HELLO, max_tokens=9, speed="fast")
    assert claude.requests == []


async def test_what_its_own_vendor_says_of_its_failures_stays_here(native_client: AsyncAnthropic) -> None:
    async def listen() -> None:
        async with native_client.messages.stream(model="claude-breaks", messages=HELLO, max_tokens=9) as stream:
            async for _ in stream:
                pass

    with pytest.raises(anthropic.APIStatusError) as raised:
        await listen()
    assert raised.value.error_code == "upstream_error"
    assert "secret" not in str(raised.value)
