"""A few bytes of a request that become many on their way out are bounded by what they become."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kaixu.catalog.catalog import Deployment
from kaixu.metering.cache import fields_of
from kaixu.metering.counting import most_input_tokens
from kaixu.metering.native_fields import with_known_fields
from kaixu.metering.native_tokens import NativeTokens
from kaixu.metering.preamble import with_preamble
from kaixu.plugin.errors import Invalid, KaixuError
from kaixu.plugin.testing import FakeWire, json_answer
from kaixu.plugin.types import Native

from .test_bounds import DOORS, LANES, deployment, outcome, sent

#: What vendors' templates put around a call of a tool or its result, and between two parts, at the least.
FRAME = 8
NAME = "Zq" * 90
TOOL = {"type": "function", "function": {"name": NAME, "description": "d", "parameters": {"type": "object"}}}


def call(at: int, arguments: str = "{}", name: str = NAME) -> dict[str, Any]:
    """A call of a tool, in OpenAI's words."""
    return {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": arguments}}


def chat_turns(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """A body for Chat Completions."""
    return {"model": "lane/m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}, *turns]}


def many_calls(count: int) -> dict[str, Any]:
    """Calls of a tool without arguments."""
    calls = [call(at, "", "f") for at in range(count)]
    results = [{"role": "tool", "tool_call_id": f"c{at}", "content": ""} for at in range(count)]
    return chat_turns([{"role": "assistant", "content": None, "tool_calls": calls}, *results])


def many_results(count: int) -> dict[str, Any]:
    """Results in one turn, all of one call of a tool with a long name, in Anthropic's words."""
    use = {"type": "tool_use", "id": "a", "name": NAME, "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": ""}
    turns = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result] * count},
    ]
    return {"model": "lane/m", "max_tokens": 5, "messages": turns}


def many_parts(count: int) -> dict[str, Any]:
    """Parts with hardly a text."""
    return chat_turns([{"role": "user", "content": [{"type": "text", "text": "x"}] * count}])


CASES: dict[str, tuple[str, Callable[[int], dict[str, Any]], int]] = {
    "calls": ("chat", many_calls, 2 * FRAME),
    "results": ("messages", many_results, FRAME),
    "parts": ("chat", many_parts, 2),
}


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("case", CASES)
async def test_what_a_vendor_frames_is_counted_one_by_one(case: str, lane: str) -> None:
    door, body, least = CASES[case]
    few, many = [await outcome(DOORS[door][1], body(count), deployment(LANES[lane])) for count in (10, 90)]
    assert few is not None
    assert many is not None
    assert many[0] - few[0] >= 80 * least
    # What a lane says once more with each of them.
    assert many[0] - few[0] >= 2 * (many[1].count("Zq") - few[1].count("Zq"))


@pytest.mark.parametrize("number", ["1e15", "1E15", "-1e15", "9.99e15", "1e300", "0.10"])
@pytest.mark.parametrize("place", ["arguments", "result"])
@pytest.mark.parametrize("lane", LANES)
async def test_numbers_go_out_as_they_were_counted(lane: str, place: str, number: str) -> None:
    numbers = '{"a":[' + ",".join([number] * 500) + "]}"
    arguments, result = (numbers, "ok") if place == "arguments" else ("{}", numbers)
    turns: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": [call(1, arguments)]},
        {"role": "tool", "tool_call_id": "c1", "content": result},
    ]
    one = deployment(LANES[lane])
    request = with_known_fields(DOORS["chat"][1](chat_turns(turns), one), one)
    wire = FakeWire(json_answer({}, 500))
    with pytest.raises(KaixuError):
        async for _ in LANES[lane].chat(request, wire):
            pass
    content = wire.requests[0].content.decode()
    assert len(content) <= most_input_tokens(request, one) + 1000
    assert content.count(number) == 500


NO_IMAGES = ("data:image/png,plain text", "data:image/svg+xml;utf8,<svg/>", "data:text/plain;base64,AAAA", "data:application/pdf;base64,AAAA", "http://x.test/a.png", "file:///etc/passwd")  # fmt: skip


@pytest.mark.parametrize("url", NO_IMAGES)
@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("door", ["chat", "native-openai", "responses"])
async def test_urls_that_are_not_images_are_refused(door: str, lane: str, url: str) -> None:
    """Images are not counted by their bytes, so nothing else may pass for one."""
    body, read = DOORS[door]
    text = json.dumps(body)
    assert "data:image/png;base64,AAAA" in text
    assert (
        await outcome(read, json.loads(text.replace("data:image/png;base64,AAAA", url)), deployment(LANES[lane]))
        is None
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://www.youtube.com/watch?v=x",
        "https://youtu.be/x",
        "https://M.YouTube.com:443/watch?v=x",
        "https://u@youtube.com./x",
        "https://generativelanguage.googleapis.com/v1beta/files/x",
    ],
)
async def test_a_url_that_the_vendor_reads_as_a_video_is_refused(url: str) -> None:
    body = chat_turns([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    assert await outcome(DOORS["chat"][1], body, deployment(LANES["gemini"])) is None
    body = json.loads(json.dumps(body).replace(url, "https://x.test/youtube.com/a.png"))
    assert await outcome(DOORS["chat"][1], body, deployment(LANES["gemini"])) is not None


def test_only_the_image_in_a_part_is_free_of_its_bytes() -> None:
    for part in (
        {"type": "image_url", "image_url": {"url": "https://x.test"}, "source": {"data": "x" * 5000}},
        {"type": "image_url", "image_url": {"url": "https://x.test"}, "source": "x" * 5000},
        {"type": "image", "source": {"type": "base64", "data": "AAAA"}, "image_url": {"url": "x" * 5000}},
        {"type": "image", "source": {"type": "base64", "data": "AAAA", "more": "x" * 5000}},
    ):
        assert NativeTokens(len, 100).content([part]) >= 5000


@pytest.mark.parametrize("name", ["chat_template", "messages", "tools", "documents", "tokenize", "conversation"])
@pytest.mark.parametrize("unknown_fields", ["drop", "pass"])
async def test_a_template_of_the_clients_is_refused(name: str, unknown_fields: str) -> None:
    """It makes any number of tokens out of a few bytes."""
    one = deployment(LANES["openai"], unknown_fields)
    body = chat_turns([]) | {"chat_template_kwargs": {name: "{% for i in range(99999) %}x{% endfor %}"}}
    with pytest.raises(KaixuError) as refused:
        with_known_fields(DOORS["chat"][1](copy.deepcopy(body), one), one)
    assert refused.value.field == f"chat_template_kwargs.{name}"
    body["chat_template_kwargs"] = {"enable_thinking": False}
    assert await outcome(DOORS["chat"][1], body, one) is not None


async def test_a_preamble_leaves_the_betas_as_they_are() -> None:
    """Without its beta a field means something else to the vendor, or nothing."""
    one: Deployment = deployment(LANES["anthropic"])
    body, read = DOORS["messages"]
    request = read(copy.deepcopy(body), one)
    assert request.native is not None
    request = msgspec.structs.replace(request, native=msgspec.structs.replace(request.native, betas=("a-beta",)))
    with_one = with_preamble(request, "be brief")
    assert with_one.native is not None
    assert with_one.native.betas == ("a-beta",)
    assert "be brief" in await sent(LANES["anthropic"], with_one)


def test_a_cached_answer_is_only_for_the_same_betas() -> None:
    one = deployment(LANES["anthropic"])
    body, read = DOORS["messages"]
    request = read(copy.deepcopy(body), one)
    native = Native("anthropic.messages", request.native.body if request.native else {}, ("a-beta",))
    assert fields_of(request) != fields_of(msgspec.structs.replace(request, native=native))


@pytest.mark.parametrize("lane", LANES)
async def test_a_name_that_is_too_long_is_refused_before_it_can_be_repeated(lane: str) -> None:
    body = json.loads(json.dumps(many_results(2)).replace(NAME, "x" * 10_000))
    try:
        after = await outcome(DOORS["messages"][1], body, deployment(LANES[lane]))
    except Invalid:
        after = None
    assert after is None
