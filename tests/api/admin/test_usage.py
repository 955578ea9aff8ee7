"""admin-usage: a month in cents and exact dollars."""

from __future__ import annotations

import asyncpg

from kaixu.plugin.types import Usage
from tests.support.calls import admit, billed
from tests.support.money import customer, virtual_key

from .conftest import Operator


async def test_a_month_adds_up_to_the_nano_dollar(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool, cap_nusd=10**10)
    key_id, key = await virtual_key(pool, customer_id)
    await billed(pool, key_id, Usage(input_tokens=10_000, output_tokens=1_000), request_id="a", install_id="device")
    await admit(pool, key_id, most=2 * 10**7)
    body = await operator.get(f"admin-usage?customer_id={customer_id}")
    assert body["customer"] == {
        "id": customer_id,
        "monthly_cap_cents": 1000,
        "email": body["customer"]["email"],
        "plan_name": "starter",
    }
    rollup = body["rollup"]
    assert (rollup["spent_usd"], rollup["vendor_cost_usd"], rollup["margin_usd"]) == ("0.002751", "0.0021", "0.000651")
    assert (rollup["spent_cents"], rollup["held_cents"], rollup["extra_cents"], rollup["available_cents"]) == (
        0,
        2,
        0,
        997,
    )
    assert (rollup["input_tokens"], rollup["output_tokens"], rollup["calls"]) == (10_000, 1_000, 1)
    [of_key] = body["per_key"]
    assert (of_key["id"], of_key["key_last4"], of_key["spent_usd"]) == (key_id, key[-4:], "0.002751")
    [event] = body["events"]
    assert (event["cost_cents"], event["cost_usd"], event["usage_source"], event["end"]) == (
        0,
        "0.002751",
        "provider",
        "complete",
    )
    assert (event["request_id"], event["install_id"], event["api_key_id"]) == ("a", "device", key_id)
    assert isinstance(event["price_id"], int)


async def test_a_call_shows_its_units(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await billed(pool, key_id, Usage(input_tokens=5))
    await billed(pool, key_id, Usage(input_tokens=5), operation="embed", units={"vectors": 2, "stored": 2})
    events = (await operator.get(f"admin-usage?customer_id={customer_id}"))["events"]
    assert [one["units"] for one in events] == [{"vectors": 2, "stored": 2}, None]


async def test_a_time_lists_its_calls_and_the_sums_stay_the_months(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    for name in ("a", "b", "c"):
        await billed(pool, key_id, Usage(input_tokens=5), request_id=name)
    await pool.execute("update kaixu.usage_event set admitted_at = now() - interval '3 hours' where request_id = 'a'")

    async def listed(query: str) -> list[str]:
        body = await operator.get(f"admin-usage?customer_id={customer_id}&{query}")
        assert body["rollup"]["calls"] == 3
        return [one["request_id"] for one in body["events"]]

    assert await listed("from=now-1h") == ["c", "b"]
    assert await listed("from=now-1d&to=now-2h") == ["a"]
    assert await listed("from=now-40d") == ["c", "b", "a"]
    first = await operator.get(f"admin-usage?customer_id={customer_id}&from=now-40d&limit=2")
    assert await listed(f"from=now-40d&before_id={first['next_before_id']}") == ["a"]


async def test_another_month_is_empty(pool: asyncpg.Pool, operator: Operator) -> None:
    body = await operator.get(f"admin-usage?customer_id={await customer(pool)}&month=2026-01")
    assert (body["month"], body["per_key"], body["events"]) == ("2026-01", [], [])
    assert (body["rollup"]["spent_usd"], body["rollup"]["updated_at"]) == ("0.00", None)


async def test_a_wrong_request_has_its_status(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    for query, status in (
        ("", 400),
        ("?customer_id=99", 404),
        (f"?customer_id={customer_id}&month=2026-13", 422),
        (f"?customer_id={customer_id}&month=2026-01-01", 422),
        (f"?customer_id={customer_id}&from=yesterday", 422),
        (f"?customer_id={customer_id}&to=now", 400),
        (f"?customer_id={customer_id}&from=now&to=now-1h", 422),
    ):
        assert (await operator.ask("GET", f"admin-usage{query}"))[0] == status
