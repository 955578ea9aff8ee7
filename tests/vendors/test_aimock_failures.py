"""Every lane behind every door, before a vendor on its bad days: each call ends in an answer or a clear error, billed right."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.support.aimock import Aimock

from .conftest import Ask, Payer
from .doors import DOORS, Question, Said, frames
from .stage import CAPITAL, COST_NUSD, LONG, MODELS, PIECE, PIECES, Stage

lanes = pytest.mark.parametrize("lane", MODELS)
doors = pytest.mark.parametrize("door", DOORS)
ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


async def everywhere(ask: Ask, lane: str, words: str) -> list[tuple[str, Said]]:
    """The same question at every door, plain and streamed, all at once; and which door said what."""
    asked = [(door, stream) for door in DOORS for stream in (False, True)]
    said = await asyncio.gather(*(ask(door, lane, words, stream=stream) for door, stream in asked))
    return [(door, one) for (door, _), one in zip(asked, said, strict=True)]


def statuses(aimock: Aimock) -> list[int]:
    """What the vendor answered, in order."""
    return [entry["response"]["status"] for entry in aimock.journal()]


@lanes
async def test_a_vendor_over_its_limit_is_asked_again_when_it_said_and_then_the_client_is_told(
    ask: Ask, aimock: Aimock, payer: Payer, lane: str
) -> None:
    for _, said in await everywhere(ask, lane, "Please come back in a second."):
        assert (said.status, said.code, said.retry_after, said.begun) == (429, "upstream_busy", "1", False)
    assert statuses(aimock) == [429] * 2 * 2 * len(DOORS)
    times = [entry["timestamp"] for entry in aimock.journal()]
    assert max(times) - min(times) >= 1000
    assert (await payer.paid_nusd(), await payer.events()) == (0, [])


@lanes
async def test_a_vendor_that_wants_to_be_left_alone_for_long_is_not_asked_again(
    ask: Ask, aimock: Aimock, payer: Payer, lane: str
) -> None:
    for _, said in await everywhere(ask, lane, "Please come back in an hour."):
        assert (said.status, said.code, said.retry_after) == (429, "upstream_busy", "3600")
    assert statuses(aimock) == [429] * 2 * len(DOORS)
    assert await payer.paid_nusd() == 0


@lanes
async def test_a_vendor_that_was_over_its_limit_once_answers_then(
    ask: Ask, aimock: Aimock, payer: Payer, lane: str
) -> None:
    aimock.fail_once(429)
    assert (await ask("openai", lane, "What is the capital of Italy?")).text == CAPITAL
    assert statuses(aimock) == [429, 200]
    assert await payer.paid_nusd() == COST_NUSD


@lanes
@doors
@ways
async def test_a_vendor_that_failed_once_answers_the_second_time(
    ask: Ask, aimock: Aimock, payer: Payer, lane: str, door: str, stream: bool
) -> None:
    aimock.fail_once(500)
    assert (await ask(door, lane, "What is the capital of Italy?", stream=stream)).text == CAPITAL
    assert statuses(aimock) == [500, 200]
    assert await payer.paid_nusd() == COST_NUSD


@lanes
@pytest.mark.parametrize(
    ("words", "status", "code", "tries"),
    [
        ("reject", 422, "upstream_rejected", 1),
        ("credential", 502, "upstream_error", 1),
        ("fail", 502, "upstream_error", 2),
    ],
)
async def test_errors_are_clear_cost_nothing_and_are_tried_again_only_where_that_may_help(
    ask: Ask, aimock: Aimock, payer: Payer, lane: str, words: str, status: int, code: str, tries: int
) -> None:
    for door, said in await everywhere(ask, lane, words):
        expected = 400 if status == 422 and door != "native" else status
        assert (door, said.status, said.code, said.begun) == (door, expected, code, False)
    assert len(aimock.journal()) == tries * 2 * len(DOORS)
    assert (await payer.paid_nusd(), await payer.events()) == (0, [])


@lanes
@pytest.mark.parametrize(
    ("chaos", "status", "code", "tries"),
    [
        ("dropRate", 502, "upstream_error", 2),
        ("malformedRate", 502, "upstream_error", 2),
        ("disconnectRate", 502, "upstream_error", 2),
    ],
)
async def test_chaos_ends_in_a_clear_error_that_costs_nothing(
    ask: Ask, aimock: Aimock, payer: Payer, lane: str, chaos: str, status: int, code: str, tries: int
) -> None:
    aimock.chaos(**{chaos: 1})
    for _, said in await everywhere(ask, lane, "What is the capital of Italy?"):
        assert (said.status, said.code, said.begun) == (status, code, False)
    assert len(aimock.journal()) == tries * 2 * len(DOORS)
    assert await payer.paid_nusd() == 0
    # A vendor that has begun to answer has worked; that is told, and costs the customer nothing.
    events = await payer.events()
    assert {(event["end_reason"], event["cost_nusd"]) for event in events} <= {("undelivered", 0)}
    assert (events == []) == (chaos == "dropRate")


@lanes
async def test_half_chaos_ends_in_answers_and_errors_and_the_books_balance(
    ask: Ask, aimock: Aimock, payer: Payer, lane: str
) -> None:
    aimock.chaos(dropRate=0.3, malformedRate=0.3, disconnectRate=0.3)
    asked = [ask(door, lane, "What is the capital of Italy?", stream=bool(at % 2)) for door in DOORS for at in range(8)]
    said = await asyncio.gather(*asked)
    answered = [one for one in said if one.status == 200]
    assert all(one.text == CAPITAL for one in answered)
    assert {one.code for one in said if one.status != 200} <= {"upstream_error"}
    assert await payer.paid_nusd() == len(answered) * COST_NUSD


@lanes
@doors
async def test_a_plain_answer_that_breaks_off_is_none_and_costs_nothing(
    ask: Ask, payer: Payer, lane: str, door: str
) -> None:
    # So long an answer is a stream that the gateway joins.
    said = await ask(door, lane, "Please break off.", fields=(("max_tokens", 4000),))
    assert (said.status, said.code, said.text) == (502, "upstream_error", "")
    assert await payer.paid_nusd() == 0


@lanes
@doors
async def test_a_stream_that_breaks_off_ends_with_an_error_and_costs_what_was_delivered(
    ask: Ask, payer: Payer, lane: str, door: str
) -> None:
    said = await ask(door, lane, "Please break off.", stream=True)
    assert (said.status, said.code, said.finish) == (502, "upstream_error", None)
    assert LONG.startswith(said.text)
    assert (PIECES - 3) * PIECE <= len(said.text) <= PIECES * PIECE
    [event] = await payer.events()
    assert (event["end_reason"], event["usage_source"]) == ("upstream_error", "counted")
    assert event["output_tokens"] == len(said.text) // 4
    assert 8 <= event["input_tokens"] <= 20
    assert event["cost_nusd"] == event["input_tokens"] * 1000 + event["output_tokens"] * 2000
    assert await payer.paid_nusd() == event["cost_nusd"]


@lanes
@doors
async def test_a_client_that_leaves_pays_for_what_it_got(
    staged: Stage, http: aiohttp.ClientSession, payer: Payer, lane: str, door: str
) -> None:
    question = Question(lane, "Please tell me slowly.", stream=True)
    headers = {"authorization": f"Bearer {payer.key}"}
    url = staged.gateway.url + DOORS[door].path_of(question)
    said, text = Said(), ""
    async with http.post(url, json=DOORS[door].body(question), headers=headers) as response:
        async for piece in response.content.iter_any():
            text += piece.decode()
            said = Said()
            for name, event in frames(text[: text.rfind("\n\n") + 2]):
                DOORS[door].event(said, name, event)
            if len(said.text) >= 3 * PIECE:
                response.close()
                break
    left = await payer.left()
    if lane == "gemini":  # its model reasons, so its answer is read to its end
        assert (left["end_reason"], left["usage_source"]) == ("complete", "provider")
    else:
        assert (left["end_reason"], left["usage_source"]) == ("client_gone", "estimated")
        assert len(said.text) <= left["output_tokens"]
    assert await payer.paid_nusd() == left["input_tokens"] * 1000 + left["output_tokens"] * 2000
