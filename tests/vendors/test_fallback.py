"""A model whose first deployment is dead: one clean answer of another, or one clear error; one line on the bill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.aimock import Aimock
from tests.support.dead import MODES, DeadVendor
from tests.support.process import Process

from .conftest import Payer
from .doors import DOORS, Question, Said
from .stage import CAPITAL, COST_NUSD, Stage

PLUGINS = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}
UPSTREAMS = {"openai": "gpt-4.1-mini", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}
#: Whose turn it is where a vendor of another kind stands in.
NEXT = {"openai": "anthropic", "anthropic": "gemini", "gemini": "openai"}
#: A busy machine may take long to answer all at once.
PATIENT = "timeouts: {connect_s: 30, first_byte_s: 60, between_bytes_s: 60}, retries: 0"
LIMITS = "timeouts: {connect_s: 2, first_byte_s: 4, between_bytes_s: 4}, retries: 1"
PRICE = "price: {input: 1, output: 2}"


def config_of(aimock: str, dead: DeadVendor) -> str:
    """A lane for each way to be dead and each protocol, a healthy one for each protocol; and the models before them."""
    lanes = []
    for kind, path in PLUGINS.items():
        lanes.append(
            f"  good-{kind}: {{plugin: {kind}, base_url: '{aimock}{path}', api_key: k, {PATIENT}, "
            f"models: {{unused: {{type: chat, {PRICE}}}}}}}"
        )
        for mode in MODES:
            lanes.append(
                f"  {mode}-{kind}: {{plugin: {kind}, base_url: '{dead.url(mode, kind)}', api_key: k, {LIMITS}, "
                f"breaker: {{failures: 1000}}, models: {{unused: {{type: chat, {PRICE}}}}}}}"
            )
    models = []
    for mode, kind in product(MODES, PLUGINS):
        for name, good in ((f"{mode}-{kind}", kind), (f"{mode}-{kind}-other", NEXT[kind])):
            models.append(
                f"      {name}: {{type: chat, {PRICE}, deployments: [{{lane: {mode}-{kind}, upstream: x}}, "
                f"{{lane: good-{good}, upstream: {UPSTREAMS[good]}, priority: 1}}]}}"
            )
        models.append(
            f"      {mode}-{kind}-alone: {{type: chat, {PRICE}, deployments: [{{lane: {mode}-{kind}, upstream: x}}]}}"
        )
    return "\n".join(["lanes:", *lanes, "  front:", "    plugin: echo", "    models:", *models])


class House:
    """A gateway before dead vendors and one that is well."""

    def __init__(self, gateway: Process, dead: DeadVendor, aimock: Aimock) -> None:
        self.gateway = gateway
        self.dead = dead
        self.aimock = aimock


@pytest.fixture
async def house(staged: Stage, aimock: Aimock, tmp_path: Path) -> AsyncIterator[House]:
    """It shares the stage's database."""
    async with DeadVendor() as dead:
        gateway = Process(tmp_path / "fallback", staged.dsn, config_of(aimock.url, dead))
        await gateway.start()
        yield House(gateway, dead, aimock)
        assert await gateway.stop() == 0


async def said_by(house: House, http: aiohttp.ClientSession, payer: Payer, door: str, model: str, stream: bool) -> Said:
    """Ask a model of the front lane."""
    names: tuple[tuple[str, Any], ...] = (("provider", "front"), ("model", model))
    if door != "native":
        names = (("model", f"front/{model}"),)
    question = Question("openai", "What is the capital of Italy?", stream=stream, fields=names)
    return await DOORS[door].ask(http, house.gateway.url, payer.key, question)


async def courses(payer: Payer) -> list[dict[str, Any]]:
    """What the usage events say of how the calls went, oldest first."""
    rows = await payer.pool.fetch(
        "select provider, model, cost_nusd, units -> 'call' as course from kaixu.usage_event where customer_id = $1 order by id",
        payer.id,
    )
    return [dict(row) for row in rows]


async def test_whatever_the_first_one_died_of_the_client_sees_one_clean_answer_and_one_line(
    house: House, http: aiohttp.ClientSession, payer: Payer
) -> None:
    asked = list(product(MODES, PLUGINS, ("", "-other"), DOORS, (False, True)))
    said = await asyncio.gather(
        *(
            said_by(house, http, payer, door, f"{mode}-{kind}{other}", stream)
            for mode, kind, other, door, stream in asked
        )
    )
    for one, how in zip(said, asked, strict=True):
        assert (one.status, one.text, one.finish, one.cost_usd) == (200, CAPITAL, "stop", "0.000028"), how
    events = await courses(payer)
    assert len(events) == len(asked)
    assert await payer.paid_nusd() == len(asked) * COST_NUSD
    for event in events:
        mode_and_kind = event["model"].removesuffix("-other")
        assert event["provider"] == "front"
        assert event["course"]["tries"] == 2
        assert event["course"]["tried"][0]["deployment"] == mode_and_kind
        assert event["course"]["tried"][0]["error"] in ("UPSTREAM_ERROR", "UPSTREAM_TIMEOUT")
        assert event["course"]["deployment"].startswith("good-")


async def test_where_nobody_else_can_answer_there_is_one_clear_error_and_no_bill(
    house: House, http: aiohttp.ClientSession, payer: Payer
) -> None:
    asked = list(product(MODES, PLUGINS, DOORS, (False, True)))
    said = await asyncio.gather(
        *(said_by(house, http, payer, door, f"{mode}-{kind}-alone", stream) for mode, kind, door, stream in asked)
    )
    for one, how in zip(said, asked, strict=True):
        expected = (504, "upstream_timeout") if how[0] in ("unreachable", "hanging") else (502, "upstream_error")
        assert (one.status, one.code, one.text) == (*expected, ""), how
    assert await payer.paid_nusd() == 0
    assert {event["cost_nusd"] for event in await courses(payer)} <= {0}  # what a vendor may have done is told
    # Each was tried twice, as `retries: 1` says; nobody knows of those that could not be reached.
    for mode, kind in product(MODES[2:], PLUGINS):
        assert house.dead.requests[f"{mode}-{kind}"] == 2 * len(DOORS) * 2
