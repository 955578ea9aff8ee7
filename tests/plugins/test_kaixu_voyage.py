"""The voyage lane: its requests, parsed responses, and failures of the vendor."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from kaixu_voyage import Voyage, VoyageOptions

from kaixu.plugin import (
    Embeddings,
    EmbedRequest,
    Lane,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    Usage,
)
from kaixu.plugin.testing import Answer, FakeWire, json_answer

SECRET = "words of the vendor that no client may see"


def lane(**options: Any) -> Voyage:
    return Voyage(VoyageOptions.model_validate({"api_key": "pa-test", **options}))


def make_request(*texts: str, **fields: Any) -> EmbedRequest:
    return EmbedRequest("voyage-4", texts or ("Hello",), **fields)


def answer(*vectors: list[float], **fields: Any) -> dict[str, Any]:
    """The vendor's response, with usage unless `fields` override it."""
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return {"object": "list", "data": data, "model": "voyage-4", "usage": {"total_tokens": 10}} | fields


async def sent_body(request: EmbedRequest) -> dict[str, Any]:
    """The body sent for `request`."""
    wire = FakeWire(json_answer(answer(*([0.5] for _ in request.inputs))))
    await lane().embed(request, wire)
    body: dict[str, Any] = json.loads(wire.requests[0].content)
    return body


# What goes out


async def test_texts_alone_ask_for_nothing_else() -> None:
    assert await sent_body(make_request("a", "b")) == {"model": "voyage-4", "input": ["a", "b"], "input_type": None}


@pytest.mark.parametrize(
    ("fields", "goes_out"),
    [
        ({"purpose": "document"}, {"input_type": "document"}),
        ({"purpose": "query"}, {"input_type": "query"}),
        ({"truncate": True}, {"truncation": True}),
        ({"truncate": False}, {"truncation": False}),
        ({"dimensions": 256}, {"output_dimension": 256}),
        ({"user": "someone"}, {}),
    ],
    ids=["document", "query", "cut", "do not cut", "shorter", "whose user"],
)
async def test_every_field_goes_to_the_vendor_under_its_name(fields: dict[str, Any], goes_out: dict[str, Any]) -> None:
    assert await sent_body(make_request(**fields)) == await sent_body(make_request()) | goes_out


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "https://api.voyageai.com/v1/embeddings"),
        ({"base_url": "https://ai.mongodb.com/v1/"}, "https://ai.mongodb.com/v1/embeddings"),
    ],
    ids=["the vendor", "the operator's"],
)
async def test_it_asks_the_operators_vendor_with_the_operators_credential(options: dict[str, Any], url: str) -> None:
    wire = FakeWire(json_answer(answer([0.5])))
    await lane(**options).embed(make_request(), wire)
    request = wire.requests[0]
    assert (request.method, str(request.url)) == ("POST", url)
    headers = {name: value for name, value in request.headers.items() if name not in ("content-length", "host")}
    assert headers == {
        "authorization": "Bearer pa-test",
        "content-type": "application/json",
        "accept": "application/json",
        "user-agent": "kaixu",
    }


def test_what_it_can_do_is_declared() -> None:
    opened = lane()
    assert (opened.max_batch, opened.shortens, opened.embeds_tokens) == (1000, True, False)
    assert type(opened).chat is Lane.chat


@pytest.mark.parametrize(
    "options",
    [{}, {"api_key": "k", "api_kee": "k"}, {"api_key": "k", "base_url": "file:///etc"}],
    ids=["no key", "unknown field", "not http"],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        VoyageOptions.model_validate(options)


def test_secrets_do_not_show() -> None:
    assert "pa-secret" not in repr(VoyageOptions.model_validate({"api_key": "pa-secret"}))


# What comes back


async def test_vectors_come_in_the_order_of_their_texts_with_their_usage() -> None:
    reply = answer([1.0, 0.0], [0.0, 1.0], [0.5, 0.5])
    reply["data"].reverse()
    wire = FakeWire(json_answer(reply))
    vectors = await lane().embed(make_request("a", "b", "c"), wire)
    assert vectors == Embeddings(([1.0, 0.0], [0.0, 1.0], [0.5, 0.5]), Usage(input_tokens=10))
    assert wire.open == 0


@pytest.mark.parametrize(
    "usage", [None, {}, {"total_tokens": None}, SECRET], ids=["null", "empty", "no number", "no object"]
)
async def test_missing_usage_is_counted_and_marked(usage: object) -> None:
    wire = FakeWire(json_answer(answer([1.0], [1.0], [1.0], usage=usage)))
    vectors = await lane().embed(make_request("", "four", "fives"), wire)
    assert vectors.usage == Usage(input_tokens=1 + 1 + 2, estimated=True)


async def test_usage_that_is_left_out_is_counted_too() -> None:
    reply = answer([1.0])
    del reply["usage"]
    vectors = await lane().embed(make_request("x" * 400), FakeWire(json_answer(reply)))
    assert vectors.usage == Usage(input_tokens=100, estimated=True)


@pytest.mark.parametrize(
    "reply",
    [
        answer([1.0]),
        answer([1.0], [1.0], [1.0]),
        answer([1.0], [1.0]) | {"data": [{"index": 0, "embedding": [1.0]}] * 2},
    ],
    ids=["too few", "too many", "one twice"],
)
async def test_wrong_vectors_are_the_vendors_failure(reply: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError, match="one vector for each input"):
        await lane().embed(make_request("a", "b"), FakeWire(json_answer(reply)))


@pytest.mark.parametrize(
    "content",
    [
        f"<html>{SECRET}</html>".encode(),
        json.dumps({"detail": SECRET}).encode(),
        json.dumps({"data": [{"index": 0, "embedding": SECRET}]}).encode(),
        b'{"data": [{"index": 0, "embedding": [NaN]}]}',
        b"\xff\xfe",
        b"",
    ],
    ids=["html", "an error", "vector", "not a number", "not text", "nothing"],
)
async def test_an_unreadable_answer_is_an_error_without_the_vendors_text(content: bytes) -> None:
    wire = FakeWire(Answer(200, {"content-type": "application/json"}, [content]))
    with pytest.raises(UpstreamError, match="cannot be read") as caught:
        await lane().embed(make_request(), wire)
    assert SECRET not in caught.value.message
    assert wire.open == 0


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (json_answer({"detail": SECRET}, 400), UpstreamRejected),
        (json_answer({"detail": SECRET}, 429), UpstreamBusy),
        (json_answer({"detail": SECRET}, 500), UpstreamError),
        (httpx.ReadTimeout("late"), UpstreamTimeout),
    ],
    ids=["rejected", "busy", "failed", "silent"],
)
async def test_errors_of_the_wire_are_passed_on(reply: Any, error: type[UpstreamError]) -> None:
    with pytest.raises(error) as caught:
        await lane().embed(make_request(), FakeWire(reply))
    assert SECRET not in caught.value.message
