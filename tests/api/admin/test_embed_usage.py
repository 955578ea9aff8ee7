"""`admin-embed-usage`: a month of embeddings and searches."""

from __future__ import annotations

import asyncpg

from kaixu.plugin.types import Usage
from tests.support.calls import admit, billed
from tests.support.money import customer, virtual_key

from .conftest import Operator


async def test_a_month_of_embeddings_adds_up_and_leaves_out_what_is_none(
    pool: asyncpg.Pool, operator: Operator
) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    other_key, _ = await virtual_key(pool, await customer(pool))
    stored = {"vectors": 3, "stored": 3}
    await billed(pool, key_id, Usage(input_tokens=100_000), request_id="a", operation="embed", units=stored)
    await billed(pool, key_id, Usage(input_tokens=60), request_id="b", operation="embed", units={"vectors": 1})
    await billed(pool, key_id, Usage(input_tokens=8), request_id="c", operation="search", units={"searches": 1})
    await billed(pool, key_id, Usage(), request_id="d", operation="import", units={"stored": 4})
    failed = Usage(input_tokens=10)
    await billed(pool, key_id, failed, request_id="e", operation="embed", end_reason="upstream_error")
    await billed(pool, key_id, Usage(input_tokens=1000), request_id="a chat")
    await billed(pool, other_key, Usage(input_tokens=1000), operation="embed", units=stored)
    await admit(pool, key_id, operation="embed")
    body = await operator.get(f"admin-embed-usage?customer_id={customer_id}")
    assert body["totals"] == {
        "embed_calls": 4,
        "search_calls": 1,
        "vectors": 4,
        "vectors_stored": 7,
        "tokens": 100_078,
        "cost_cents": 2,
        "cost_usd": "0.019665327",
    }
    rows = [
        (one["request_id"], one["operation"], one["vectors"], one["vectors_stored"], one["tokens"], one["end"])
        for one in body["events"]
    ]
    assert rows == [
        ("e", "embed", 0, 0, 10, "upstream_error"),
        ("d", "import", 0, 4, 0, "complete"),
        ("c", "search", 0, 0, 8, "complete"),
        ("b", "embed", 1, 0, 60, "complete"),
        ("a", "embed", 3, 3, 100_000, "complete"),
    ]
    first = body["events"][-1]
    assert (first["provider"], first["model"], first["cost_cents"], first["cost_usd"]) == ("up", "m", 2, "0.01965")
    assert first["created_at"].endswith("Z")


async def test_the_newest_two_hundred_are_listed_and_all_are_counted(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    for number in range(203):
        units = {"searches": 1}
        await billed(pool, key_id, Usage(), request_id=f"r{number}", operation="search", units=units, cost=1)
    body = await operator.get(f"admin-embed-usage?customer_id={customer_id}")
    assert (body["totals"]["search_calls"], body["totals"]["cost_usd"]) == (203, "0.000000203")
    assert [one["request_id"] for one in body["events"]] == [f"r{number}" for number in range(202, 2, -1)]


async def test_another_month_is_empty(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    body = await operator.get(f"admin-embed-usage?customer_id={customer_id}&month=2026-01")
    totals = {"embed_calls": 0, "search_calls": 0, "vectors": 0, "vectors_stored": 0, "tokens": 0, "cost_cents": 0}
    assert body == {
        "customer_id": customer_id,
        "month": "2026-01",
        "totals": totals | {"cost_usd": "0.00"},
        "events": [],
    }


async def test_a_wrong_request_has_its_status(pool: asyncpg.Pool, operator: Operator, stranger: Operator) -> None:
    customer_id = await customer(pool)
    for query, status in (
        ("", 400),
        ("?customer_id=99", 404),
        ("?customer_id=one", 422),
        (f"?customer_id={customer_id}&month=2026-13", 422),
    ):
        assert (await operator.ask("GET", f"admin-embed-usage{query}"))[0] == status
    assert (await operator.ask("POST", "admin-embed-usage"))[0] == 405
    assert (await stranger.ask("GET", f"admin-embed-usage?customer_id={customer_id}"))[0] == 401
