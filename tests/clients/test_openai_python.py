"""OpenAI's own client for Python: chat, responses, embeddings, models, and its exceptions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import ResponseInputParam
from pydantic import BaseModel

from tests.vendors.stage import CAPITAL, COST_NUSD, DIMENSIONS, EMBEDDERS, INPUT_TOKENS, MODELS, OUTPUT_TOKENS

from .conftest import Keys
from .matrix import proves

CLIENT = "openai (Python)"
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
ITALY: list[Any] = [{"role": "user", "content": "What is the capital of Italy?"}]
WEATHER = "How is the weather in Rome and Oslo?"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]
RESULTS = {"Rome": "22 degrees", "Oslo": "5 degrees"}
Paid = Callable[[], Awaitable[int]]


class Place(BaseModel):
    """The form of an answer."""

    city: str
    country: str


@pytest.fixture
async def client(url: str, keys: Keys) -> AsyncIterator[AsyncOpenAI]:
    """The client with a good key."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=keys.good, max_retries=0) as client:
        yield client


def result_of(arguments: str) -> str:
    """What the tool answers."""
    return RESULTS[json.loads(arguments)["city"]]


@proves(CLIENT, CHAT, "plain", MODELS)
async def test_chat(client: AsyncOpenAI, lane: str, paid: Paid) -> None:
    answer = await client.chat.completions.create(model=f"{lane}/{MODELS[lane]}", messages=ITALY)
    [choice] = answer.choices
    assert (choice.message.content, choice.finish_reason, choice.message.role) == (CAPITAL, "stop", "assistant")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert answer.usage.total_tokens == INPUT_TOKENS + OUTPUT_TOKENS
    assert answer.model == f"{lane}/{MODELS[lane]}"
    assert await paid() == COST_NUSD


@proves(CLIENT, CHAT, "streamed", MODELS)
async def test_chat_streamed(client: AsyncOpenAI, lane: str, paid: Paid) -> None:
    options: Any = {"include_usage": True}
    async with client.chat.completions.stream(model=MODELS[lane], messages=ITALY, stream_options=options) as stream:
        said = [event.delta async for event in stream if event.type == "content.delta"]
        whole = await stream.get_final_completion()
    assert "".join(said) == whole.choices[0].message.content == CAPITAL
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert len(said) > 1
    assert await paid() == COST_NUSD


@proves(CLIENT, CHAT, "tools", MODELS)
async def test_chat_with_tools(client: AsyncOpenAI, lane: str, paid: Paid) -> None:
    messages: list[Any] = [{"role": "user", "content": WEATHER}]
    first = await client.chat.completions.create(model=MODELS[lane], messages=messages, tools=TOOLS)
    assert first.choices[0].finish_reason == "tool_calls"
    messages.append(first.choices[0].message)
    for call in first.choices[0].message.tool_calls or ():
        assert call.type == "function"
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result_of(call.function.arguments)})
    assert len(messages) == 4
    second = await client.chat.completions.create(model=MODELS[lane], messages=messages, tools=TOOLS)
    assert second.choices[0].message.content == "22 and 5 degrees."
    assert await paid() == 2 * COST_NUSD


@proves(CLIENT, CHAT, "tools, streamed", MODELS)
async def test_chat_with_tools_streamed(client: AsyncOpenAI, lane: str, paid: Paid) -> None:
    messages: list[Any] = [{"role": "user", "content": WEATHER}]
    async with client.chat.completions.stream(model=MODELS[lane], messages=messages, tools=TOOLS) as stream:
        message = (await stream.get_final_completion()).choices[0].message
    messages.append(message.to_dict())
    for call in message.tool_calls or ():
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result_of(call.function.arguments)})
    assert len(messages) == 4
    async with client.chat.completions.stream(model=MODELS[lane], messages=messages, tools=TOOLS) as stream:
        assert (await stream.get_final_completion()).choices[0].message.content == "22 and 5 degrees."
    assert await paid() == 2 * COST_NUSD


@proves(CLIENT, CHAT, "structured output", MODELS)
async def test_chat_parsed(client: AsyncOpenAI, lane: str) -> None:
    messages: list[Any] = [{"role": "user", "content": "Where is the Pantheon, as JSON?"}]
    answer = await client.chat.completions.parse(model=MODELS[lane], messages=messages, response_format=Place)
    assert answer.choices[0].message.parsed == Place(city="Rome", country="Italy")


@proves(CLIENT, CHAT, "reasoning", MODELS)
async def test_chat_with_reasoning(client: AsyncOpenAI, lane: str) -> None:
    messages: list[Any] = [{"role": "user", "content": "Please think about Italy."}]
    answer = await client.chat.completions.create(
        model=MODELS[lane], messages=messages, reasoning_effort="low", max_completion_tokens=4000
    )
    message = answer.choices[0].message
    assert message.content == CAPITAL
    assert message.model_extra is not None
    assert message.model_extra["reasoning_content"] == "Italy is in Europe."


@proves(CLIENT, RESPONSES, "plain", MODELS)
async def test_responses(client: AsyncOpenAI, lane: str, paid: Paid) -> None:
    answer = await client.responses.create(model=MODELS[lane], input="What is the capital of Italy?", store=False)
    assert (answer.output_text, answer.status) == (CAPITAL, "completed")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert await paid() == COST_NUSD


@proves(CLIENT, RESPONSES, "streamed", MODELS)
async def test_responses_streamed(client: AsyncOpenAI, lane: str, paid: Paid) -> None:
    async with client.responses.stream(model=MODELS[lane], input="What is the capital of Italy?") as stream:
        said = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        whole = await stream.get_final_response()
    assert "".join(said) == whole.output_text == CAPITAL
    assert await paid() == COST_NUSD


@proves(CLIENT, RESPONSES, "tools", MODELS)
async def test_responses_with_tools(client: AsyncOpenAI, lane: str, paid: Paid) -> None:
    tools: list[Any] = [{"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}]
    asked: ResponseInputParam = [{"role": "user", "content": WEATHER}]
    first = await client.responses.create(model=MODELS[lane], input=asked, tools=tools)
    calls = [item for item in first.output if item.type == "function_call"]
    assert len(calls) == 2
    asked += first.output  # type: ignore[arg-type]  # the way OpenAI's own examples do it
    for call in calls:
        result = result_of(call.arguments)
        asked.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
    second = await client.responses.create(model=MODELS[lane], input=asked, tools=tools)
    assert second.output_text == "22 and 5 degrees."
    assert await paid() == 2 * COST_NUSD


@proves(CLIENT, RESPONSES, "tools, streamed", MODELS)
async def test_responses_with_tools_streamed(client: AsyncOpenAI, lane: str, paid: Paid) -> None:
    tools: list[Any] = [{"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}]
    asked: list[Any] = [{"role": "user", "content": WEATHER}]
    async with client.responses.stream(model=MODELS[lane], input=asked, tools=tools) as stream:
        first = await stream.get_final_response()
    asked += first.output
    for item in first.output:
        if item.type == "function_call":
            result = result_of(item.arguments)
            asked.append({"type": "function_call_output", "call_id": item.call_id, "output": result})
    assert len(asked) == 5
    async with client.responses.stream(model=MODELS[lane], input=asked, tools=tools) as stream:
        assert (await stream.get_final_response()).output_text == "22 and 5 degrees."
    assert await paid() == 2 * COST_NUSD


@proves(CLIENT, RESPONSES, "structured output", MODELS)
async def test_responses_parsed(client: AsyncOpenAI, lane: str) -> None:
    answer = await client.responses.parse(
        model=MODELS[lane], input="Where is the Pantheon, as JSON?", text_format=Place
    )
    assert answer.output_parsed == Place(city="Rome", country="Italy")


@proves(CLIENT, "/v1/embeddings", "embeddings", EMBEDDERS)
async def test_embeddings(client: AsyncOpenAI, lane: str) -> None:
    answer = await client.embeddings.create(model=EMBEDDERS[lane], input="the Pantheon")
    assert [len(vector.embedding) for vector in answer.data] == [DIMENSIONS]
    assert answer.model == EMBEDDERS[lane]


@proves(CLIENT, "/v1/models", "models")
async def test_models(client: AsyncOpenAI) -> None:
    listed = [model.id async for model in client.models.list()]
    assert listed == ["gpt", "openai-vectors", "claude", "flash", "gemini-vectors"]
    assert (await client.models.retrieve("claude")).owned_by == "anthropic"


@proves(CLIENT, CHAT, "errors")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("key", "model", "error", "status", "code"),
    [
        ("wrong", "gpt", openai.AuthenticationError, 401, "unauthenticated"),
        ("poor", "gpt", openai.APIStatusError, 402, "cap_reached"),
        ("good", "nothing-of-ours", openai.BadRequestError, 400, "unknown_model"),
        ("slow", "gpt", openai.RateLimitError, 429, "rate_limited"),
    ],
)
async def test_refusals_are_its_own_exceptions(
    url: str, keys: Keys, key: str, model: str, error: type[openai.APIStatusError], status: int, code: str, stream: bool
) -> None:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=keys._asdict()[key], max_retries=0) as client:
        if key == "slow":
            await client.chat.completions.create(model=model, messages=ITALY)
        with pytest.raises(error) as raised:
            await client.chat.completions.create(model=model, messages=ITALY, stream=stream)
    assert (raised.value.status_code, raised.value.code) == (status, code)
    assert raised.value.request_id


@proves(CLIENT, CHAT, "errors of the vendor", MODELS)
async def test_failures_of_the_vendor_are_its_own_exceptions(client: AsyncOpenAI, lane: str) -> None:
    for words, error, code in (
        ("reject", openai.BadRequestError, "upstream_rejected"),
        ("fail", openai.InternalServerError, "upstream_error"),
        ("come back in an hour", openai.RateLimitError, "upstream_busy"),
    ):
        with pytest.raises(error) as raised:
            await client.chat.completions.create(model=MODELS[lane], messages=[{"role": "user", "content": words}])
        assert raised.value.code == code
    said = []
    error_in_stream = None
    messages: list[Any] = [{"role": "user", "content": "Please break off."}]
    stream = await client.chat.completions.create(model=MODELS[lane], messages=messages, stream=True)
    try:
        async for chunk in stream:
            said.append(chunk.choices[0].delta.content or "")
    except openai.APIError as raised_in_stream:
        error_in_stream = raised_in_stream
    assert len("".join(said)) > 60
    assert error_in_stream is not None
    assert error_in_stream.code == "upstream_error"
