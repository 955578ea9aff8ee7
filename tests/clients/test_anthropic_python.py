"""Anthropic's own client for Python: messages, their tools, the count of tokens, models, and its exceptions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic, beta_async_tool
from anthropic.types import MessageParam, ToolParam
from pydantic import BaseModel

from tests.vendors.stage import CAPITAL, COST_NUSD, INPUT_TOKENS, MODELS, OUTPUT_TOKENS, THOUGHT

from .conftest import Keys
from .matrix import proves

CLIENT = "anthropic (Python)"
MESSAGES = "/v1/messages"
ITALY: list[MessageParam] = [{"role": "user", "content": "What is the capital of Italy?"}]
WEATHER = "How is the weather in Rome and Oslo?"
TOOLS: list[ToolParam] = [
    {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
]
RESULTS = {"Rome": "22 degrees", "Oslo": "5 degrees"}
Paid = Callable[[], Awaitable[int]]


class Place(BaseModel):
    """The form of an answer."""

    city: str
    country: str


@pytest.fixture
async def client(url: str, keys: Keys) -> AsyncIterator[AsyncAnthropic]:
    """The client with a good key."""
    async with AsyncAnthropic(base_url=url, api_key=keys.good, max_retries=0) as client:
        yield client


@proves(CLIENT, MESSAGES, "plain", MODELS)
async def test_messages(client: AsyncAnthropic, lane: str, paid: Paid) -> None:
    answer = await client.messages.create(model=f"{lane}/{MODELS[lane]}", messages=ITALY, max_tokens=99)
    assert [block.to_dict() for block in answer.content] == [{"type": "text", "text": CAPITAL}]
    assert (answer.stop_reason, answer.role, answer.model) == ("end_turn", "assistant", f"{lane}/{MODELS[lane]}")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert await paid() == COST_NUSD


@proves(CLIENT, MESSAGES, "streamed", MODELS)
async def test_messages_streamed(client: AsyncAnthropic, lane: str, paid: Paid) -> None:
    async with client.messages.stream(model=MODELS[lane], messages=ITALY, max_tokens=99) as stream:
        said = [text async for text in stream.text_stream]
        whole = await stream.get_final_message()
    assert "".join(said) == CAPITAL
    assert len(said) > 1
    assert [block.to_dict() for block in whole.content] == [{"type": "text", "text": CAPITAL}]
    assert (whole.stop_reason, whole.usage.input_tokens, whole.usage.output_tokens) == (
        "end_turn",
        INPUT_TOKENS,
        OUTPUT_TOKENS,
    )
    assert await paid() == COST_NUSD


@proves(CLIENT, MESSAGES, "tools", MODELS)
async def test_messages_with_tools(client: AsyncAnthropic, lane: str, paid: Paid) -> None:
    messages: list[MessageParam] = [{"role": "user", "content": WEATHER}]
    first = await client.messages.create(model=MODELS[lane], messages=messages, max_tokens=99, tools=TOOLS)
    assert first.stop_reason == "tool_use"
    messages += turns_after(first)
    second = await client.messages.create(model=MODELS[lane], messages=messages, max_tokens=99, tools=TOOLS)
    assert [block.to_dict() for block in second.content] == [{"type": "text", "text": "22 and 5 degrees."}]
    assert await paid() == 2 * COST_NUSD


@proves(CLIENT, MESSAGES, "tools, streamed", MODELS)
async def test_messages_with_tools_streamed(client: AsyncAnthropic, lane: str, paid: Paid) -> None:
    messages: list[MessageParam] = [{"role": "user", "content": WEATHER}]
    async with client.messages.stream(model=MODELS[lane], messages=messages, max_tokens=99, tools=TOOLS) as stream:
        messages += turns_after(await stream.get_final_message())
    async with client.messages.stream(model=MODELS[lane], messages=messages, max_tokens=99, tools=TOOLS) as stream:
        assert await stream.get_final_text() == "22 and 5 degrees."
    assert await paid() == 2 * COST_NUSD


def turns_after(message: anthropic.types.Message) -> list[MessageParam]:
    """The assistant's turn, and what its tools answered."""
    results: list[Any] = [
        {"type": "tool_result", "tool_use_id": block.id, "content": RESULTS[str(block.input["city"])]}
        for block in message.content
        if block.type == "tool_use"
    ]
    assert len(results) == 2
    return [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]


@proves(CLIENT, MESSAGES, "tool runner, thread off", MODELS)
async def test_its_tool_runner(client: AsyncAnthropic, lane: str, paid: Paid) -> None:
    asked = []

    @beta_async_tool
    async def weather(city: str) -> str:
        """The weather in a city.

        Args:
            city: its name
        """
        asked.append(city)
        return RESULTS[city]

    runner = client.beta.messages.tool_runner(
        model=MODELS[lane],
        messages=[{"role": "user", "content": WEATHER}],
        max_tokens=99,
        tools=[weather],
        thread=False,
    )
    last = await runner.until_done()
    assert sorted(asked) == ["Oslo", "Rome"]
    assert [block.to_dict() for block in last.content] == [{"type": "text", "text": "22 and 5 degrees."}]
    assert await paid() == 2 * COST_NUSD


@proves(CLIENT, MESSAGES, "structured output", MODELS)
async def test_messages_parsed(client: AsyncAnthropic, lane: str) -> None:
    asked: list[MessageParam] = [{"role": "user", "content": "Where is the Pantheon, as JSON?"}]
    answer = await client.messages.parse(model=MODELS[lane], messages=asked, max_tokens=99, output_format=Place)
    assert answer.parsed_output == Place(city="Rome", country="Italy")


@proves(CLIENT, MESSAGES, "thinking", MODELS)
async def test_messages_with_thinking(client: AsyncAnthropic, lane: str) -> None:
    answer = await client.messages.create(
        model=MODELS[lane],
        messages=[{"role": "user", "content": "Please think about Italy."}],
        max_tokens=4000,
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    thought, text = answer.content
    assert thought.type == "thinking"
    assert text.type == "text"
    assert (thought.thinking, text.text) == (THOUGHT, CAPITAL)


@proves(CLIENT, "/v1/messages/count_tokens", "count of tokens", MODELS)
async def test_tokens_are_counted(client: AsyncAnthropic, lane: str, paid: Paid) -> None:
    counted = await client.messages.count_tokens(model=MODELS[lane], messages=ITALY, tools=TOOLS)
    assert counted.input_tokens > 10
    assert await paid() == 0


@proves(CLIENT, "/v1/models", "models")
async def test_models(client: AsyncAnthropic) -> None:
    listed = [model.id async for model in client.models.list()]
    assert listed == ["gpt", "openai-vectors", "claude", "flash", "gemini-vectors"]
    assert (await client.models.retrieve("claude")).display_name == "claude"


@proves(CLIENT, MESSAGES, "errors")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("key", "model", "error", "kind", "code"),
    [
        ("wrong", "claude", anthropic.AuthenticationError, "authentication_error", "unauthenticated"),
        ("poor", "claude", anthropic.PaymentRequiredError, "billing_error", "cap_reached"),
        ("good", "nothing-of-ours", anthropic.BadRequestError, "invalid_request_error", "unknown_model"),
        ("slow", "claude", anthropic.RateLimitError, "rate_limit_error", "rate_limited"),
    ],
)
async def test_refusals_are_its_own_exceptions(
    url: str,
    keys: Keys,
    key: str,
    model: str,
    error: type[anthropic.APIStatusError],
    kind: str,
    code: str,
    stream: bool,
) -> None:
    async with AsyncAnthropic(base_url=url, api_key=keys._asdict()[key], max_retries=0) as client:
        if key == "slow":
            await client.messages.create(model=model, messages=ITALY, max_tokens=9)
        with pytest.raises(error) as raised:
            await client.messages.create(model=model, messages=ITALY, max_tokens=9, stream=stream)
    assert (raised.value.type, raised.value.error_code) == (kind, code)
    assert raised.value.request_id


@proves(CLIENT, MESSAGES, "errors of the vendor", MODELS)
async def test_failures_of_the_vendor_are_its_own_exceptions(client: AsyncAnthropic, lane: str) -> None:
    for words, error, kind in (
        ("reject", anthropic.BadRequestError, "invalid_request_error"),
        ("fail", anthropic.InternalServerError, "api_error"),
        ("come back in an hour", anthropic.RateLimitError, "rate_limit_error"),
    ):
        asked: list[MessageParam] = [{"role": "user", "content": words}]
        with pytest.raises(error) as raised:
            await client.messages.create(model=MODELS[lane], messages=asked, max_tokens=9)
        assert raised.value.type == kind
    said: list[str] = []

    async def listen() -> None:
        asked: list[MessageParam] = [{"role": "user", "content": "Please break off."}]
        async with client.messages.stream(model=MODELS[lane], messages=asked, max_tokens=500) as stream:
            said.extend([text async for text in stream.text_stream])

    with pytest.raises(anthropic.APIStatusError) as raised_in_stream:
        await listen()
    assert raised_in_stream.value.type == "api_error"
