"""`/v1/embeddings` and `/v1/models` with OpenAI's own client, against a real gateway and a vendor that counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import asyncpg
import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI

from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Process

CONFIG = """
lanes:
  up:
    plugin: openai
    base_url: {url}
    api_key: sk-vendor
    retries: 0
    models:
      words: {{type: embed, dimensions: 3, price: {{input: 1}}}}
      fixed: {{type: embed, dimensions: 3, fixed_dimensions: true, price: {{input: 1}}}}
      unpriced: {{type: embed}}
      talk: {{type: chat, price: {{input: 1, output: 2}}}}
  off:
    plugin: openai
    api_key: ${{NOT_SET_AT_ALL}}
    models:
      talk: {{type: chat, price: {{input: 1, output: 2}}}}
  twin:
    plugin: echo
    aliases: [also]
    models:
      words-too: {{type: chat, price: {{input: 0, output: 0}}}}
      talk: {{type: chat, price: {{input: 0, output: 0}}}}
"""


class Embedder:
    """A vendor: a vector of the text's length, one token a letter; fails at the text "bad"."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        if "bad" in body["input"]:
            await self.hold.wait()
            return web.json_response({"error": {"message": "vendor secret"}}, status=500)
        data = [
            {"index": index, "embedding": [float(len(text)), 0.5, -1.0]} for index, text in enumerate(body["input"])
        ]
        tokens = sum(len(text) for text in body["input"])
        return web.json_response({"data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})


@pytest.fixture
async def embedder() -> AsyncIterator[tuple[Embedder, str]]:
    """The vendor and its address."""
    vendor = Embedder()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/embeddings", vendor.embed)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield vendor, f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


@pytest.fixture
async def gateway(tmp_path: Path, dsn: str, embedder: tuple[Embedder, str]) -> AsyncIterator[Process]:
    """A gateway in front of it."""
    process = Process(tmp_path / "gateway", dsn, CONFIG.format(url=embedder[1]))
    await process.start()
    yield process
    await process.stop()


@pytest.fixture
async def key(pool: asyncpg.Pool) -> tuple[int, str]:
    """A customer's id and key."""
    customer_id = await customer(pool)
    return customer_id, (await virtual_key(pool, customer_id))[1]


@pytest.fixture
async def client(gateway: Process, key: tuple[int, str]) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's client with a key of ours."""
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key[1], max_retries=0) as client:
        yield client


@pytest.mark.parametrize("form", ["float", "base64", None])
async def test_vectors_come_in_order_and_in_both_forms(client: AsyncOpenAI, form: Any) -> None:
    asked: dict[str, Any] = {} if form is None else {"encoding_format": form}
    answer = await client.embeddings.create(model="words", input=["one", "three"], **asked)
    vectors: list[Any] = [item.embedding for item in answer.data]
    if form == "base64":
        assert vectors == ["AABAQAAAAD8AAIC/", "AACgQAAAAD8AAIC/"]
    else:
        assert vectors == [[3.0, 0.5, -1.0], [5.0, 0.5, -1.0]]
    assert (answer.usage.prompt_tokens, answer.model) == (8, "words")


async def test_the_length_that_kaixu_yaml_gives_is_asked_for(
    client: AsyncOpenAI, embedder: tuple[Embedder, str]
) -> None:
    await client.embeddings.create(model="words", input="one")
    await client.embeddings.create(model="words", input="one", dimensions=2)
    await client.embeddings.create(model="fixed", input="one")
    assert [body.get("dimensions") for body in embedder[0].requests] == [3, 2, None]
    with pytest.raises(openai.BadRequestError) as raised:
        await client.embeddings.create(model="fixed", input="one", dimensions=2)
    assert raised.value.param == "dimensions"


@pytest.mark.parametrize("wrong", ["", [], ["a", ""], [1.5], {"a": 1}, [[]], ["a"] * 2049], ids=repr)
async def test_an_input_that_is_none_is_refused_by_name(client: AsyncOpenAI, wrong: Any) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        await client.embeddings.create(model="words", input=wrong)
    assert (raised.value.param or "").startswith("input")


async def test_tokens_go_to_a_vendor_that_takes_them(client: AsyncOpenAI, embedder: tuple[Embedder, str]) -> None:
    await client.embeddings.create(model="words", input=[[1, 2, 3], [4]])
    await client.embeddings.create(model="words", input=[1, 2, 3])
    assert [body["input"] for body in embedder[0].requests] == [[[1, 2, 3], [4]], [[1, 2, 3]]]


async def test_a_failed_call_costs_nothing_where_the_vendor_did_nothing(
    client: AsyncOpenAI, key: tuple[int, str], pool: asyncpg.Pool
) -> None:
    with pytest.raises(openai.InternalServerError):
        await client.embeddings.create(model="words", input=["good", "bad"])
    assert await spent_and_held(pool, key[0]) == (0, 0)
    await assert_books_balance(pool)


async def test_the_models_are_those_that_this_key_may_use(
    client: AsyncOpenAI, gateway: Process, pool: asyncpg.Pool, key: tuple[int, str]
) -> None:
    everything = [model.id async for model in client.models.list()]
    assert everything == ["words", "fixed", "up/talk", "words-too", "twin/talk"]
    _, narrow = await virtual_key(pool, key[0], allowed_providers=["also"])
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=narrow, max_retries=0) as narrowed:
        assert [model.id async for model in narrowed.models.list()] == ["words-too", "talk"]
        with pytest.raises(openai.NotFoundError) as raised:
            await narrowed.models.retrieve("words")
    assert raised.value.code == "not_found"
    one = await client.models.retrieve("up/talk")
    assert one.model_extra is not None
    assert one.model_extra["kaixu"]["price_usd_per_million_tokens"]["output"] == "2.00"
    async with anthropic.AsyncAnthropic(base_url=gateway.url, auth_token=key[1], max_retries=0) as other:
        assert [model.id async for model in other.models.list()] == everything


async def test_a_stranger_sees_no_models(gateway: Process) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/v1/models") as response:
        assert (response.status, (await response.json())["error"]["type"]) == (401, "authentication_error")
