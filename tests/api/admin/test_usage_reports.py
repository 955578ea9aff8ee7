"""Charts, margins and the top: exact to the nano-dollar, before and after roll-ups are folded."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from quart import Quart

from kaixu.plugin.types import Usage
from kaixu.store.rollups import fold_usage
from tests.support.calls import billed
from tests.support.money import customer, virtual_key

from .conftest import Operator

USAGE = Usage(input_tokens=10_000, output_tokens=1_000, cached_input_tokens=100)
OTHER_USAGE = Usage(input_tokens=3, output_tokens=1)


async def calls(pool: asyncpg.Pool) -> tuple[int, int]:
    """Two customers with calls of several models; their ids."""
    first, second = await customer(pool), await customer(pool)
    for customer_id, times in ((first, 3), (second, 1)):
        key_id, _ = await virtual_key(pool, customer_id)
        for _ in range(times):
            await billed(pool, key_id, USAGE)
        await billed(pool, key_id, OTHER_USAGE, end_reason="client_gone")
    return first, second


async def chart(operator: Operator, query: str = "") -> Any:
    """A chart."""
    return await operator.get(f"admin-usage-chart?{query}")


def total(body: Any, name: str) -> Any:
    """The sum of a column."""
    return sum(row[name] for row in body["rows"])


async def test_a_chart_says_the_same_before_and_after_it_is_folded(pool: asyncpg.Pool, operator: Operator) -> None:
    first, _ = await calls(pool)
    queries = ["by=model", "by=customer", f"by=key&customer_id={first}", "from=now-30d", "from=now-7d&by=provider", "by=customer&series=1", "by=book", "by=deployment"]  # fmt: skip
    before = [(await chart(operator, query))["rows"] for query in queries]
    assert await fold_usage(pool, most=3) == 3
    half = [(await chart(operator, query))["rows"] for query in queries]
    while await fold_usage(pool, most=100):
        pass
    after = [(await chart(operator, query))["rows"] for query in queries]
    assert before == half == after
    assert [sum(row["calls"] for row in rows) for rows in after] == [6, 6, 4, 6, 6, 6, 6, 6]


async def test_a_chart_adds_up(pool: asyncpg.Pool, operator: Operator) -> None:
    first, second = await calls(pool)
    spent = await pool.fetchval("select sum(cost_nusd) from kaixu.usage_event")
    body = await chart(operator)
    assert (body["reporting_zone"], body["interval"], body["by"]) == ("UTC", "quarter", "total")
    assert sum(round(float(row["spent_usd"]) * 10**9) for row in body["rows"]) == spent
    assert (total(body, "calls"), total(body, "errors"), total(body, "refusals")) == (6, 2, 0)
    assert (total(body, "input_tokens"), total(body, "cached_input_tokens")) == (40_006, 400)
    assert {row["p95_ms"] for row in body["rows"]} == {14}
    assert total(await chart(operator, f"customer_id={second}"), "calls") == 2
    assert total(await chart(operator, "provider=up&model=m"), "calls") == 6
    assert (await chart(operator, "provider=none"))["rows"] == []
    key_id = await pool.fetchval("select id from kaixu.virtual_key where customer_id = $1", first)
    assert total(await chart(operator, f"customer_id={first}&api_key_id={key_id}"), "calls") == 4


async def test_smaller_series_are_the_rest(pool: asyncpg.Pool, operator: Operator) -> None:
    first, _ = await calls(pool)
    email = await pool.fetchval("select email from kaixu.customer where id = $1", first)
    body = await chart(operator, "by=customer&series=1")
    assert body["series"] == [f"{first} {email}", "Other"]
    sums: dict[str, int] = {}
    for row in body["rows"]:
        sums[row["series"]] = sums.get(row["series"], 0) + row["calls"]
    assert list(sums.values()) == [4, 2]


async def test_refused_calls_are_in_the_chart(pool: asyncpg.Pool, operator: Operator) -> None:
    first, _ = await calls(pool)
    await pool.execute(
        "insert into kaixu.refusal_quarter (bucket, customer_id, key_id, provider, model, code, calls) "
        "values (date_bin('15 minutes', now(), 'epoch'), $1, 1, 'up', 'm', 'CAP_REACHED', 3), "
        "(date_bin('15 minutes', now(), 'epoch'), 0, 0, '', '', 'UNAUTHENTICATED', 4)",
        first,
    )
    for query, refused in (("", 7), ("by=provider", 7), ("by=customer", 7), (f"customer_id={first}", 3), ("from=now-20d", 7), ("model=m", 3)):  # fmt: skip
        assert total(await chart(operator, query), "refusals") == refused, query
    assert {row["refusals"] for row in (await chart(operator, "by=book"))["rows"]} == {None}


async def test_days_are_of_the_reporting_zone(pool: asyncpg.Pool, operator: Operator) -> None:
    await calls(pool)
    await pool.execute("select kaixu.set_reporting_zone(p_zone => 'Asia/Kolkata')")
    while await fold_usage(pool, most=100):
        pass
    body = await chart(operator, "from=now-20d")
    assert (body["reporting_zone"], body["interval"], total(body, "calls")) == ("Asia/Kolkata", "day", 6)
    assert {row["start"][11:] for row in body["rows"]} == {"18:30:00.000Z"}
    month = await pool.fetchval("select to_char(now() at time zone 'UTC', 'YYYY-MM')")
    assert total(await chart(operator, f"month={month}"), "calls") == 6


@pytest.mark.parametrize("by", ["customer", "key", "model", "provider", "lane", "deployment"])
async def test_margins_are_the_events(pool: asyncpg.Pool, operator: Operator, by: str) -> None:
    first, _ = await calls(pool)
    sums = await pool.fetchrow("select sum(cost_nusd)::bigint, sum(vendor_cost_nusd)::bigint from kaixu.usage_event")
    assert sums is not None
    spent, cost = sums
    long = "&from=now-7d" if by in ("customer", "key") else "&from=now-30d"
    for query in ("", "&from=now-24h", long):
        for _ in range(2):
            body = await operator.get(f"admin-usage-margin?by={by}{query}")
            money = [
                sum(round(float(row[name]) * 10**9) for row in body["rows"])
                for name in ("spent_usd", "vendor_cost_usd", "margin_usd")
            ]
            assert (total(body, "calls"), money) == (6, [spent, cost, spent - cost]), query
            assert all(row["margin_percent"] == 23.66 for row in body["rows"] if row["calls"] > 1)
            await fold_usage(pool, most=100)
    body = await operator.get(f"admin-usage-margin?by={by}&customer_id={first}")
    assert total(body, "calls") == 4


async def test_the_top_is_the_largest(pool: asyncpg.Pool, operator: Operator) -> None:
    first, second = await calls(pool)
    body = await operator.get("admin-usage-top?by=customers&from=now-24h")
    assert [row["id"] for row in body["rows"]] == [str(first), str(second)]
    body = await operator.get("admin-usage-top?by=keys&limit=1&order=calls")
    assert [row["calls"] for row in body["rows"]] == [4]
    assert [row["id"] for row in (await operator.get("admin-usage-top?by=model"))["rows"]] == ["up/m"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("admin-usage-chart?by=colour", "by"),
        ("admin-usage-chart?by=key", "by"),
        ("admin-usage-chart?series=51", "series"),
        ("admin-usage-chart?customer_id=x", "customer_id"),
        ("admin-usage-chart?format=xml", "format"),
        ("admin-usage-chart?by=customer&from=now-300d", "from"),
        ("admin-usage-chart?api_key_id=1", "api_key_id"),
        ("admin-usage-chart?provider=%01", "provider"),
        ("admin-usage-margin?by=book", "by"),
        ("admin-usage-margin?order=name", "order"),
        ("admin-usage-margin?by=key&from=now-9d", "from"),
        ("admin-usage-top?from=now-30d", "from"),
        ("admin-usage-margin?by=customer&month=2026-10&model=m", "from"),
        ("admin-usage-top?limit=1000", "limit"),
    ],
)
async def test_a_wrong_question_names_its_field(operator: Operator, query: str, field: str) -> None:
    status, body = await operator.ask("GET", query)
    assert (status, body["field"]) == (422, field), body


async def test_reports_come_as_csv_and_html(pool: asyncpg.Pool, operator: Operator) -> None:
    await calls(pool)
    for form, kind in (("csv", "text/csv"), ("html", "text/html")):
        for name in ("admin-usage-chart", "admin-usage-margin", "admin-usage-top"):
            reply = await operator.client.get(f"/api/{name}?format={form}", headers=operator.headers)
            assert (reply.status_code, reply.headers["content-type"].split(";")[0]) == (200, kind)
            assert "spent_usd" in (text := await reply.get_data(as_text=True))
            assert text.count("\n") > 1


async def test_a_key_sees_its_own_chart_and_an_owner_the_customers(pool: asyncpg.Pool, app: Quart) -> None:
    customer_id, other = await customer(pool), await customer(pool)
    small_id, small = await virtual_key(pool, customer_id)
    owner_id, owner = await virtual_key(pool, customer_id, role="owner")
    foreign_id, _ = await virtual_key(pool, other)
    for key_id, times in ((small_id, 1), (owner_id, 2), (foreign_id, 4)):
        for _ in range(times):
            await billed(pool, key_id, USAGE)

    async def seen(key: str, query: str = "") -> Any:
        status, body = await Operator(app, authorization=f"Bearer {key}").ask("GET", f"user-usage-chart?{query}")
        return total(body, "calls") if status == 200 else status

    assert [await seen(small), await seen(owner), await seen(owner, "scope=customer")] == [1, 2, 3]
    assert [await seen(small, query) for query in ("scope=customer", f"api_key_id={owner_id}", f"api_key_id={small_id}")] == [403, 403, 1]  # fmt: skip
    assert [await seen(owner, f"api_key_id={key_id}") for key_id in (small_id, foreign_id, 10**6)] == [1, 404, 404]
    assert [await seen(owner, f"by={by}") for by in ("deployment", "customer", "model", "key")] == [422, 422, 2, 2]
    body = await Operator(app, authorization=f"Bearer {owner}").get("user-usage-chart?scope=customer")
    assert not any("vendor" in name or "uncosted" in name for row in body["rows"] for name in row)
