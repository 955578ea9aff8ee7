"""The azure lane: its URLs and headers. The protocol is that of the openai lane and tested there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kaixu_azure import Azure, AzureOptions

from kaixu.plugin import (
    ChatDelta,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    Finish,
    Message,
    Native,
    NativeEvent,
    TextPart,
    Usage,
)
from kaixu.plugin.testing import FakeWire, check_lane, event_stream, json_answer

ENDPOINT = "https://acme.openai.azure.com"
DATED = "2024-10-21"
VECTORS = json_answer({"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 2, "total_tokens": 2}})
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "content_filter_results": {}}]}


def lane(**options: Any) -> Azure:
    return Azure(AzureOptions.model_validate({"endpoint": ENDPOINT, "api_key": "az-test", **options}))


def asking(model: str = "our-gpt", **fields: Any) -> ChatRequest:
    return ChatRequest(model, (Message("user", (TextPart("Hello"),)),), 10, **fields)


async def urls(model: str = "our-gpt", **options: Any) -> list[str]:
    """The URLs of a chat and of an embedding."""
    wire = FakeWire(event_stream(STOP), VECTORS)
    opened = lane(**options)
    await check_lane(opened, asking(model), wire)
    await opened.embed(EmbedRequest(model, ("Hello",)), wire)
    return [str(request.url) for request in wire.requests]


# Where


@pytest.mark.parametrize("options", [{}, {"api_version": "v1"}], ids=["none", "v1"])
async def test_without_a_date_the_deployment_is_named_in_the_body_alone(options: dict[str, Any]) -> None:
    assert await urls(**options) == [
        f"{ENDPOINT}/openai/v1/chat/completions",
        f"{ENDPOINT}/openai/v1/embeddings",
    ]


@pytest.mark.parametrize("version", [DATED, "2025-04-01-preview"])
async def test_a_dated_version_names_the_deployment_in_the_url(version: str) -> None:
    assert await urls(api_version=version) == [
        f"{ENDPOINT}/openai/deployments/our-gpt/chat/completions?api-version={version}",
        f"{ENDPOINT}/openai/deployments/our-gpt/embeddings?api-version={version}",
    ]


async def test_a_resource_behind_a_path_and_a_slash_at_its_end_are_fine() -> None:
    behind = "https://proxy.test/azure/"
    assert (await urls(endpoint=behind))[0] == "https://proxy.test/azure/openai/v1/chat/completions"
    assert (await urls(endpoint=behind, api_version=DATED))[1] == (
        f"https://proxy.test/azure/openai/deployments/our-gpt/embeddings?api-version={DATED}"
    )


@pytest.mark.parametrize(
    ("model", "quoted"),
    [
        ("gpt-4.1_mini", "gpt-4.1_mini"),
        ("a b", "a%20b"),
        ("../../admin", "..%2F..%2Fadmin"),
        ("x?api-version=1#y", "x%3Fapi-version%3D1%23y"),
        ("50%", "50%25"),
        ("größe", "gr%C3%B6%C3%9Fe"),
    ],
)
async def test_a_deployments_name_cannot_leave_its_place_in_the_url(model: str, quoted: str) -> None:
    chat, embed = await urls(model, api_version=DATED)
    assert chat == f"{ENDPOINT}/openai/deployments/{quoted}/chat/completions?api-version={DATED}"
    assert embed == f"{ENDPOINT}/openai/deployments/{quoted}/embeddings?api-version={DATED}"


@pytest.mark.parametrize("options", [{}, {"api_version": DATED}], ids=["v1", "dated"])
async def test_the_key_has_a_header_of_its_own_and_nothing_else_is_sent(options: dict[str, Any]) -> None:
    wire = FakeWire(event_stream(STOP), VECTORS)
    opened = lane(**options)
    await check_lane(opened, asking(), wire)
    await opened.embed(EmbedRequest("our-embedder", ("Hello",)), wire)
    for request in wire.requests:
        assert {name: value for name, value in request.headers.items() if name != "content-length"} == {
            "host": "acme.openai.azure.com",
            "api-key": "az-test",
            "content-type": "application/json",
            "accept": "text/event-stream, application/json",
            "user-agent": "kaixu",
        }


# What


async def test_the_request_is_that_of_the_openai_lane() -> None:
    wire = FakeWire(event_stream(STOP), VECTORS)
    opened = lane(api_version=DATED)
    await check_lane(opened, asking(temperature=0.5), wire)
    await opened.embed(EmbedRequest("our-embedder", ("Hello",), dimensions=256), wire)
    assert [json.loads(request.content) for request in wire.requests] == [
        {
            "model": "our-gpt",
            "messages": [{"role": "user", "content": "Hello"}],
            "temperature": 0.5,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_completion_tokens": 10,
        },
        {"model": "our-embedder", "input": ["Hello"], "encoding_format": "base64", "dimensions": 256},
    ]


async def test_older_models_get_the_older_field_name() -> None:
    wire = FakeWire(event_stream(STOP))
    await check_lane(lane(max_tokens_field="max_tokens"), asking(), wire)
    body = json.loads(wire.requests[0].content)
    assert body["max_tokens"] == 10
    assert "max_completion_tokens" not in body


async def test_a_native_request_goes_to_the_models_deployment_and_not_to_the_clients() -> None:
    wire = FakeWire(event_stream(STOP))
    native = Native("openai.chat", {"model": "another", "messages": [], "user_security_context": {}})
    events = await check_lane(lane(api_version=DATED), asking(native=native), wire)
    assert "/deployments/our-gpt/" in str(wire.requests[0].url)
    body = json.loads(wire.requests[0].content)
    assert (body["model"], body["user_security_context"]) == ("our-gpt", {})
    assert events == [NativeEvent(STOP), Finish("stop")]


async def test_azures_own_chunks_are_understood() -> None:
    filtered = {"choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}
    late = {"choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {"start_offset": 0}}]}
    hello = {"choices": [{"index": 0, "delta": {"content": "Hello"}, "content_filter_results": {}}], "usage": None}
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}}
    wire = FakeWire(event_stream(filtered, hello, late, STOP, usage))
    assert await check_lane(lane(), asking(), wire) == [ChatDelta("Hello"), Usage(9, 1), Finish("stop")]


async def test_models_that_refuse_base64_get_a_request_for_numbers() -> None:
    wire = FakeWire(VECTORS)
    await lane(vector_encoding="float").embed(EmbedRequest("our-embedder", ("Hello",)), wire)
    assert json.loads(wire.requests[0].content)["encoding_format"] == "float"


async def test_vectors_come_with_their_usage() -> None:
    embeddings = await lane().embed(EmbedRequest("our-embedder", ("Hello",)), FakeWire(VECTORS))
    assert embeddings == Embeddings(([1.0],), Usage(input_tokens=2))


# Options


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": "k"},
        {"endpoint": ENDPOINT},
        {"endpoint": "acme.openai.azure.com", "api_key": "k"},
        {"endpoint": f"{ENDPOINT}?api-version=1", "api_key": "k"},
        {"endpoint": ENDPOINT, "api_key": "k", "api_version": "v2"},
        {"endpoint": ENDPOINT, "api_key": "k", "api_version": "2024-10-21&x=1"},
        {"endpoint": ENDPOINT, "api_key": "k", "base_url": ENDPOINT},
    ],
    ids=["no endpoint", "no key", "no scheme", "a query", "unknown version", "more than a version", "unknown field"],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        AzureOptions.model_validate(options)


def test_secrets_do_not_show() -> None:
    options = AzureOptions.model_validate({"endpoint": ENDPOINT, "api_key": "az-secret"})
    assert "az-secret" not in repr(options)
