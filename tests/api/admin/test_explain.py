"""A charge is explained to operators whole, and to customers without what the vendor takes."""

from __future__ import annotations

import asyncpg
import pytest
from quart import Quart

from kaixu.plugin.types import Usage
from tests.support.calls import billed
from tests.support.money import customer, virtual_key

from .conftest import Operator

USAGE = Usage(input_tokens=1003, output_tokens=77, cached_input_tokens=400, reasoning_tokens=10)
VENDOR = {"vendor_cost_nusd", "vendor_cost_usd", "vendor_rates_nusd", "margin_nusd", "margin_usd", "call"}


async def test_lines_add_up_to_the_bill(operator: Operator, pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    ask = await billed(pool, key_id, USAGE, request_id="request-7")
    event_id = await pool.fetchval("select id from kaixu.usage_event")
    [charge] = (await operator.get(f"admin-explain?event={event_id}"))["charges"]
    for named in (ask.ticket, "request-7"):
        assert (await operator.get(f"admin-explain?event={named}"))["charges"] == [charge]
    assert charge["adds_up"]
    assert [line["kind"] for line in charge["lines"]] == ["input", "cached_input", "cache_write", "output", "reasoning"]
    exact = sum(float(line["exact_nusd"]) for line in charge["lines"])
    assert abs(exact - charge["billed_nusd"]) <= 0.5
    assert charge["priced_nusd"] == charge["billed_nusd"] > 0
    assert charge["margin_nusd"] == charge["billed_nusd"] - charge["vendor_cost_nusd"]
    assert charge["usage_from"] == "the vendor reported them"
    assert charge["invoice"]["number"] is None


@pytest.mark.parametrize(
    "query",
    ["", "?event=", f"?event={'x' * 201}", "?event=nothing", "?event=99999999999999999999", f"?event={'f' * 32}"],
)
async def test_wrong_requests_have_their_status(operator: Operator, query: str) -> None:
    status, body = await operator.ask("GET", f"admin-explain{query}")
    assert status in (400, 404, 422), body


async def test_a_key_explains_what_its_role_may_see(app: Quart, pool: asyncpg.Pool) -> None:
    ours, theirs = await customer(pool), await customer(pool)
    deployer_id, deployer = await virtual_key(pool, ours, role="deployer")
    owner_id, owner = await virtual_key(pool, ours, role="owner")
    stranger_id, stranger = await virtual_key(pool, theirs, role="owner")
    for at, key_id in enumerate((deployer_id, owner_id, stranger_id)):
        await billed(pool, key_id, USAGE, request_id=f"request-{at}")

    async def seen(key: str, at: int) -> int:
        status, body = await Operator(app, authorization=f"Bearer {key}").ask("GET", f"user-explain?event=request-{at}")
        if status == 200:
            [charge] = body["charges"]
            assert not VENDOR & charge.keys()
            assert charge["adds_up"]
        return status

    assert [await seen(deployer, at) for at in range(3)] == [200, 404, 404]
    assert [await seen(owner, at) for at in range(3)] == [200, 200, 404]
    assert [await seen(stranger, at) for at in range(3)] == [404, 404, 200]


async def test_a_call_is_traced_by_each_of_its_names(operator: Operator, pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    ask = await billed(pool, key_id, USAGE, request_id="request-8")
    await billed(pool, key_id, USAGE, request_id="request-9")
    event_id = await pool.fetchval("select id from kaixu.usage_event where request_id = 'request-8'")
    traced = await operator.get(f"admin-trace?event={event_id}")
    assert traced["request_id"] == "request-8"
    assert [step["what"] for step in traced["steps"]] == ["admitted", "settled"]
    for named in (ask.ticket, "request-8"):
        assert await operator.get(f"admin-trace?event={named}") == traced


@pytest.mark.parametrize(
    "query", ["", "?event=nothing", "?event=1&months=0", "?event=1&months=x", f"?event={'f' * 32}"]
)
async def test_a_wrong_trace_has_its_status(operator: Operator, query: str) -> None:
    status, body = await operator.ask("GET", f"admin-trace{query}")
    assert status in (400, 404, 422), body
