"""LangChain's `langchain-openai`: ChatOpenAI and OpenAIEmbeddings, as its users set them up for another address."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from tests.vendors.stage import CAPITAL, COST_NUSD, DIMENSIONS, INPUT_TOKENS, MODELS, OUTPUT_TOKENS

from .conftest import Keys
from .matrix import proves

CLIENT = "langchain-openai"
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
ITALY = "What is the capital of Italy?"
WEATHER = "How is the weather in Rome and Oslo?"
Paid = Callable[[], Awaitable[int]]
Make = Callable[..., ChatOpenAI]


class Place(BaseModel):
    """Where something is."""

    city: str
    country: str


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return {"Rome": "22 degrees", "Oslo": "5 degrees"}[city]


@pytest.fixture(autouse=True)
def nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """LangSmith gets no traces, whatever the environment says."""
    for name in [name for name in os.environ if name.startswith(("LANGSMITH_", "LANGCHAIN_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LANGSMITH_TRACING", "false")


@pytest.fixture
async def connections() -> AsyncIterator[dict[str, Any]]:
    """Clients that are closed at the end: LangChain's own are kept for ever."""
    with httpx2.Client() as plain:
        async with httpx2.AsyncClient() as waiting:
            yield {"http_client": plain, "http_async_client": waiting, "max_retries": 0}


@pytest.fixture
def make(url: str, keys: Keys, connections: dict[str, Any]) -> Make:
    """Make a model's client."""

    def make(model: str, key: str = keys.good, **fields: Any) -> ChatOpenAI:
        return ChatOpenAI(model=model, base_url=f"{url}/v1", api_key=SecretStr(key), **connections, **fields)

    return make


@proves(CLIENT, CHAT, "plain", MODELS)
async def test_chat(make: Make, lane: str, paid: Paid) -> None:
    answer = await make(f"{lane}/{MODELS[lane]}").ainvoke(ITALY)
    assert answer.text == CAPITAL
    assert answer.response_metadata["finish_reason"] == "stop"
    assert isinstance(answer, AIMessage)
    assert answer.usage_metadata is not None
    assert (answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]) == (
        INPUT_TOKENS,
        OUTPUT_TOKENS,
    )
    assert await paid() == COST_NUSD


@proves(CLIENT, CHAT, "streamed", MODELS)
async def test_chat_streamed(make: Make, lane: str, paid: Paid) -> None:
    pieces = [piece async for piece in make(MODELS[lane], stream_usage=True).astream(ITALY)]
    assert "".join(piece.text for piece in pieces) == CAPITAL
    used = [piece.usage_metadata for piece in pieces if isinstance(piece, AIMessageChunk) and piece.usage_metadata]
    assert [(one["input_tokens"], one["output_tokens"]) for one in used] == [(INPUT_TOKENS, OUTPUT_TOKENS)]
    assert await paid() == COST_NUSD


@proves(CLIENT, CHAT, "tools", MODELS)
async def test_chat_with_tools(make: Make, lane: str, paid: Paid) -> None:
    model = make(MODELS[lane]).bind_tools([weather])
    messages: list[BaseMessage] = [HumanMessage(WEATHER)]
    first = await model.ainvoke(messages)
    messages.append(first)
    messages += [await weather.ainvoke(call) for call in first.tool_calls]
    assert len(messages) == 4
    assert (await model.ainvoke(messages)).text == "22 and 5 degrees."
    assert await paid() == 2 * COST_NUSD


@proves(CLIENT, CHAT, "tools, streamed", MODELS)
async def test_chat_with_tools_streamed(make: Make, lane: str, paid: Paid) -> None:
    model = make(MODELS[lane]).bind_tools([weather])
    messages: list[BaseMessage] = [HumanMessage(WEATHER)]
    first = AIMessageChunk(content="")
    async for piece in model.astream(messages):
        assert isinstance(piece, AIMessageChunk)
        first += piece
    messages.append(first)
    messages += [await weather.ainvoke(call) for call in first.tool_calls]
    assert len(messages) == 4
    assert "".join([piece.text async for piece in model.astream(messages)]) == "22 and 5 degrees."
    assert await paid() == 2 * COST_NUSD


@proves(CLIENT, CHAT, "structured output", MODELS)
async def test_chat_with_structured_output(make: Make, lane: str) -> None:
    model = make(MODELS[lane]).with_structured_output(Place, method="json_schema")
    assert await model.ainvoke("Where is the Pantheon, as JSON?") == Place(city="Rome", country="Italy")


@proves(CLIENT, RESPONSES, "plain", MODELS)
async def test_responses(make: Make, lane: str, paid: Paid) -> None:
    assert (await make(MODELS[lane], use_responses_api=True).ainvoke(ITALY)).text == CAPITAL
    assert await paid() == COST_NUSD


@proves(CLIENT, RESPONSES, "tools", MODELS)
async def test_responses_with_tools(make: Make, lane: str, paid: Paid) -> None:
    model = make(MODELS[lane], use_responses_api=True).bind_tools([weather])
    messages: list[BaseMessage] = [HumanMessage(WEATHER)]
    first = await model.ainvoke(messages)
    messages += [first, *[await weather.ainvoke(call) for call in first.tool_calls]]
    assert len(messages) == 4
    assert (await model.ainvoke(messages)).text == "22 and 5 degrees."
    assert await paid() == 2 * COST_NUSD


@proves(CLIENT, "/v1/embeddings", "embeddings", ["openai"])
async def test_embeddings(url: str, keys: Keys, connections: dict[str, Any], lane: str) -> None:
    # With the check it would cut texts into tokens first, for which tiktoken asks the network.
    model = OpenAIEmbeddings(
        model=f"{lane}/openai-vectors",
        base_url=f"{url}/v1",
        api_key=SecretStr(keys.good),
        check_embedding_ctx_length=False,
        **connections,
    )
    assert [len(vector) for vector in await model.aembed_documents(["one", "two"])] == [DIMENSIONS] * 2
    assert len(await model.aembed_query("one")) == DIMENSIONS


@proves(CLIENT, CHAT, "errors")
@pytest.mark.parametrize(
    ("key", "model", "error", "code"),
    [
        ("wrong", "gpt", openai.AuthenticationError, "unauthenticated"),
        ("poor", "gpt", openai.APIStatusError, "cap_reached"),
        ("good", "nothing-of-ours", openai.BadRequestError, "unknown_model"),
    ],
)
async def test_refusals_are_openai_s_exceptions(
    make: Make, keys: Keys, key: str, model: str, error: type[openai.APIStatusError], code: str
) -> None:
    with pytest.raises(error) as raised:
        await make(model, keys._asdict()[key]).ainvoke(ITALY)
    assert raised.value.code == code
