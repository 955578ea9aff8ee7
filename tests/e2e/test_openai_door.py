"""`/v1/chat/completions` with OpenAI's own client, against a real gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import openai
import pytest
from openai import AsyncOpenAI

from tests.e2e.conftest import Start
from tests.support.money import customer, virtual_key
from tests.support.vendor import Vendor

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def client(start: Start, pool: asyncpg.Pool) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's client with a key of ours."""
    [gateway] = await start()
    _, key = await virtual_key(pool, await customer(pool))
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
        yield client


async def test_a_plain_answer(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="up/ok", messages=HELLO, max_tokens=4)
    assert answer.choices[0].message.content == "wd0 wd1 wd2 wd3 "
    assert (answer.choices[0].finish_reason, answer.model, answer.object) == ("stop", "up/ok", "chat.completion")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4
    assert answer.model_extra is not None
    assert answer.model_extra["kaixu"]["usage_source"] == "provider"


async def test_a_stream_with_its_usage(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="ok", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "wd0 wd1 wd2 wd3 "
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert {chunk.model for chunk in chunks} == {"ok"}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("status-500", openai.InternalServerError, "upstream_error"),
        ("status-429", openai.RateLimitError, "upstream_busy"),
        ("status-400", openai.BadRequestError, "upstream_rejected"),
        ("nonsense", openai.InternalServerError, "upstream_error"),
        ("nothing-of-ours", openai.BadRequestError, "unknown_model"),
    ],
)
async def test_errors_have_their_own_status_and_openai_s_shape(
    client: AsyncOpenAI, stream: bool, model: str, error: type[openai.APIStatusError], code: str
) -> None:
    with pytest.raises(error) as raised:
        await client.chat.completions.create(model=model, messages=HELLO, stream=stream)
    assert raised.value.code == code
    assert raised.value.request_id


async def test_an_error_in_the_middle_of_a_stream_is_raised_by_the_client(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="cut-3", messages=HELLO, stream=True)
    said = []
    error = None
    try:
        async for chunk in stream:
            said.append(chunk.choices[0].delta.content)
    except openai.APIError as raised:
        error = raised
    assert error is not None
    assert error.code == "upstream_error"
    assert said == ["wd0 ", "wd1 ", "wd2 "]


async def test_known_fields_go_through_unknown_ones_are_dropped_and_dearer_ones_refused(
    client: AsyncOpenAI, vendor: Vendor, pool: asyncpg.Pool
) -> None:
    await client.chat.completions.create(
        model="ok", messages=HELLO, logit_bias={"50256": -100}, n=2, extra_body={"brand_new": {"a": 1}}
    )
    assert {name: vendor.requests[-1][name] for name in ("logit_bias", "n", "model")} == {
        "logit_bias": {"50256": -100},
        "n": 2,
        "model": "ok",
    }
    assert "brand_new" not in vendor.requests[-1]
    with pytest.raises(openai.BadRequestError) as raised:
        await client.chat.completions.create(model="ok", messages=HELLO, web_search_options={})
    assert (raised.value.param, raised.value.code) == ("web_search_options", "unsupported_field")
    assert len(vendor.requests) == 1


async def test_the_responses_api_plain_and_streamed(client: AsyncOpenAI) -> None:
    answer = await client.responses.create(model="up/ok", input="hello", store=False)
    assert (answer.output_text, answer.status) == ("wd0 wd1 wd2 wd3 ", "completed")
    assert answer.usage is not None
    assert answer.usage.output_tokens == 4
    async with client.responses.stream(model="ok", input="hello") as stream:
        said = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        whole = await stream.get_final_response()
    assert ("".join(said), whole.output_text) == ("wd0 wd1 wd2 wd3 ", "wd0 wd1 wd2 wd3 ")


async def test_the_responses_api_keeps_nothing_and_says_so(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        await client.responses.create(model="ok", input="hello", previous_response_id="resp_1")
    assert (raised.value.param, raised.value.code) == ("previous_response_id", "unsupported_field")
