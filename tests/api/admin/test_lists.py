"""Lists of customers and keys: filters, sorting and pages in the database; usage by page, application and end user."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from kaixu.plugin.types import Usage
from tests.support.calls import billed
from tests.support.money import customer, virtual_key

from .conftest import Operator


async def pages(operator: Operator, path: str, name: str) -> list[Any]:
    """The rows of all pages."""
    rows: list[Any] = []
    cursor = ""
    while True:
        body = await operator.get(f"{path}{cursor}")
        rows += body[name]
        if body["next_cursor"] is None:
            return rows
        assert body[name]
        cursor = f"&cursor={quote(body['next_cursor'])}"


@pytest.mark.parametrize("sort", ["id", "email", "spent"])
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_customers_in_every_order_each_once(
    operator: Operator, pool: asyncpg.Pool, sort: str, order: str, limit: int
) -> None:
    for tokens in (0, 300, 100, 100, 0):
        customer_id = await customer(pool)
        if tokens:
            await billed(pool, (await virtual_key(pool, customer_id))[0], Usage(input_tokens=tokens))
    rows = await pages(operator, f"admin-customers?sort={sort}&order={order}&limit={limit}", "customers")
    field = {"id": "id", "email": "email", "spent": "spent_usd"}[sort]
    values = [float(row[field]) if sort == "spent" else row[field] for row in rows]
    assert len({row["id"] for row in rows}) == len(rows) == 5
    assert values == sorted(values, reverse=order == "desc")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=ADA", ["ada@example.com"]),
        ("q=a_b", ["a_b%c@example.com"]),
        ("q=%25", ["a_b%c@example.com"]),
        ("plan=pro", ["bob@example.com"]),
        ("active=false", ["bob@example.com"]),
        ("active=true&plan=starter", ["a_b%c@example.com", "ada@example.com"]),
        ("q=nobody", []),
    ],
)
async def test_customers_are_found(operator: Operator, query: str, found: list[str]) -> None:
    for email in ("ada@example.com", "bob@example.com", "a_b%c@example.com"):
        assert (await operator.ask("POST", "admin-customers", {"email": email}))[0] in (200, 201)
    bob = (await operator.get("admin-customers?q=bob"))["customers"][0]["id"]
    change = {"plan_name": "pro", "is_active": False}
    assert (await operator.ask("PATCH", f"admin-customers?customer_id={bob}", change))[0] == 200
    rows = (await operator.get(f"admin-customers?{query}"))["customers"]
    assert [row["email"] for row in rows] == found
    assert [row["id"] for row in (await operator.get(f"admin-customers?q={bob}"))["customers"]] == [bob]


@pytest.mark.parametrize(
    "query",
    [
        "sort=x",
        "order=up",
        "cursor=x",
        "cursor=email~a~1&sort=id",
        "cursor=spent~x~1&sort=spent",
        "limit=0",
        "active=maybe",
    ],
)
async def test_wrong_queries_are_refused(operator: Operator, query: str) -> None:
    status, body = await operator.ask("GET", f"admin-customers?{query}")
    assert (status, body["code"]) == (422, "INVALID_FIELD")


@pytest.mark.parametrize("sort", ["id", "spent", "last_seen"])
@pytest.mark.parametrize("limit", [1, 100])
async def test_keys_in_every_order_each_once(operator: Operator, pool: asyncpg.Pool, sort: str, limit: int) -> None:
    customer_id = await customer(pool)
    for at, tokens in enumerate((0, 300, 100, 100)):
        key_id, _ = await virtual_key(pool, customer_id, label=f"key {at}", role="viewer" if at else "owner")
        if tokens:
            await billed(pool, key_id, Usage(input_tokens=tokens))
    path = f"admin-keys?customer_id={customer_id}&sort={sort}&limit={limit}"
    rows = await pages(operator, path, "keys")
    values = [(row[{"id": "id", "spent": "spent_usd", "last_seen": "last_seen_at"}[sort]] or "") for row in rows]
    values = [float(value) for value in values] if sort == "spent" else values
    assert len({row["id"] for row in rows}) == len(rows) == 4
    assert values == sorted(values, reverse=True)
    assert [row["label"] for row in await pages(operator, f"{path}&q=KEY%202", "keys")] == ["key 2"]
    assert [row["label"] for row in await pages(operator, f"{path}&role=owner", "keys")] == ["key 0"]
    assert await pages(operator, f"{path}&revoked=true", "keys") == []


async def test_usage_by_page_application_and_end_user(operator: Operator, pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    first, _ = await virtual_key(pool, customer_id)
    second, _ = await virtual_key(pool, customer_id)
    for at in range(5):
        await billed(pool, first if at < 3 else second, Usage(input_tokens=100 + at))
    path = f"admin-usage?customer_id={customer_id}"
    whole = await operator.get(path)
    seen: list[int] = []
    before = ""
    while True:
        page = await operator.get(f"{path}&limit=2{before}")
        seen += [event["id"] for event in page["events"]]
        if page["next_before_id"] is None:
            break
        before = f"&before_id={page['next_before_id']}"
    assert seen == [event["id"] for event in whole["events"]]
    assert len(seen) == 5
    assert len((await operator.get(f"{path}&api_key_id={first}"))["events"]) == 3
    assert (await operator.get(f"{path}&model=other"))["events"] == []
    assert len((await operator.get(f"{path}&end=complete"))["events"]) == 5
    [unnamed] = whole["per_app"]
    assert (unnamed["app_id"], unnamed["spent_usd"]) == (None, whole["rollup"]["spent_usd"])
    assert whole["per_end_user"] == []
    assert whole["reporting_zone"] == "UTC"
    assert (await operator.ask("GET", f"{path}&api_key_id=999999"))[0] == 404
    assert (await operator.ask("GET", f"{path}&limit=1001"))[0] == 422
