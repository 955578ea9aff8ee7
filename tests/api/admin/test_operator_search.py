"""`admin-search`: customers, keys, requests and collections by a few characters, and never a secret."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from kaixu.plugin.types import Usage
from tests.support.calls import billed
from tests.support.money import customer, virtual_key
from tests.support.operators import operator_with_role

from .conftest import Operator


async def search(operator: Operator, text: str) -> list[dict[str, Any]]:
    """The results."""
    body = await operator.get(f"admin-search?q={quote(text)}")
    assert body["q"] == text.strip()
    results: list[dict[str, Any]] = body["results"]
    return results


async def named(pool: asyncpg.Pool, email: str, **fields: Any) -> int:
    """A customer with this address."""
    customer_id = await customer(pool, **fields)
    await pool.execute("update kaixu.customer set email = $2 where id = $1", customer_id, email)
    return customer_id


async def test_customers_are_found_by_id_and_by_any_part_of_their_address(
    pool: asyncpg.Pool, operator: Operator
) -> None:
    ada = await named(pool, "ada@example.com")
    canada = await named(pool, "post@canada.example", is_active=False)
    deleted = await named(pool, "ada@gone.example")
    await pool.execute("update kaixu.customer set deleted_at = now() where id = $1", deleted)
    results = await search(operator, "ADA")
    assert [(one["group"], one["title"], one["customer_id"]) for one in results] == [
        ("Customers", "ada@example.com", ada),
        ("Customers", "post@canada.example", canada),
    ]
    assert results[0] | {"detail": ""} == {
        "group": "Customers", "title": "ada@example.com", "detail": "", "customer_id": ada, "key_id": None,
        "request_id": None, "collection": None,
    }  # fmt: skip
    assert (results[0]["detail"], results[1]["detail"]) == (
        f"customer {ada} · starter", f"customer {canada} · starter · not active",
    )  # fmt: skip
    assert [one["customer_id"] for one in await search(operator, str(ada)) if one["group"] == "Customers"] == [ada]
    assert await search(operator, "%") == []
    assert await search(operator, "a_a@") == []


async def test_keys_are_found_by_their_end_and_label_without_more_of_them(
    pool: asyncpg.Pool, operator: Operator
) -> None:
    customer_id = await customer(pool)
    key_id, key = await virtual_key(pool, customer_id, label="Laptop of Ada", role="viewer")
    expected = {
        "group": "Keys", "title": f"Laptop of Ada …{key[-4:]}", "detail": "customer0@example.com · viewer",
        "customer_id": customer_id, "key_id": key_id, "request_id": None, "collection": None,
    }  # fmt: skip
    for text in (key[-4:], f"…{key[-4:]}", key[-4:].lower(), "laptop", "of ada"):
        assert expected in await search(operator, text), text
    assert [one for one in await search(operator, key[-3:]) if one["group"] == "Keys"] == []
    await pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", key_id)
    [one] = await search(operator, "laptop")
    assert one["detail"].endswith("revoked")
    body = str(await search(operator, "laptop"))
    assert key not in body
    assert key[8:-4] not in body


async def test_requests_are_found_with_their_calls_or_by_the_monitor(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    await billed(pool, key_id, Usage(input_tokens=1_000_000, output_tokens=0), request_id="req-1")
    await pool.execute(
        "insert into kaixu.gateway_event (kind, request_id, function_name, error_code, http_status) values"
        " ('chat', 'req-1', 'gateway-chat', null, 200), ('blocked', 'req-2', 'gateway-chat', null, 429),"
        " ('error', 'req-2', 'gateway-chat', 'UPSTREAM_ERROR', 502)"
    )
    [call] = await search(operator, "req-1")
    assert (call["group"], call["title"], call["request_id"], call["customer_id"]) == (
        "Requests", "req-1", "req-1", customer_id,
    )  # fmt: skip
    assert call["detail"].startswith("up/m · $0.20 · customer0@example.com · 20")
    [event] = await search(operator, "req-2")
    assert (event["request_id"], event["customer_id"]) == ("req-2", None)
    assert event["detail"].startswith("error · gateway-chat · UPSTREAM_ERROR · 20")
    assert await search(operator, "req-") == []


async def test_collections_are_found_by_name(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    await pool.execute(
        """
        insert into kaixu.collection (customer_id, name, provider, model, dimensions, language, deleted_at)
        select $1, n, 'up', 'e', 3, 'english', d
          from (values ('Support docs', null), ('docs', null), ('old docs', now())) x (n, d)
        """,
        customer_id,
    )
    results = await search(operator, "docs")
    assert [(one["group"], one["title"], one["collection"], one["customer_id"]) for one in results] == [
        ("Collections", "docs", "docs", customer_id),
        ("Collections", "Support docs", "Support docs", customer_id),
    ]


async def test_there_are_at_most_eight_of_a_group(pool: asyncpg.Pool, operator: Operator) -> None:
    for _ in range(10):
        await virtual_key(pool, await customer(pool), label="customer's")
    results = await search(operator, "customer")
    assert [one["group"] for one in results] == ["Customers"] * 8 + ["Keys"] * 8


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("", 400, "BAD_REQUEST"),
        ("   ", 400, "BAD_REQUEST"),
        ("x" * 201, 422, "INVALID_FIELD"),
        ("a\x00b", 400, "BAD_REQUEST"),
        ("a\nb", 422, "INVALID_FIELD"),
        ("a\u200db", 422, "INVALID_FIELD"),
        ("kx_live_" + "s" * 48, 422, "INVALID_FIELD"),
        ("sk-proj-" + "s" * 48, 422, "INVALID_FIELD"),
    ],
    ids=["nothing", "blank", "long", "null", "lines", "invisible", "a key", "another gateway's key"],
)
async def test_what_cannot_be_searched_is_refused_without_repeating_it(
    operator: Operator, text: str, status: int, code: str
) -> None:
    answer, body = await operator.ask("GET", f"admin-search?q={quote(text)}")
    assert (answer, body["code"]) == (status, code), body
    assert len(text.strip()) < 5 or text not in str(body)


@pytest.mark.parametrize("text", ["'", "\\", "9223372036854775808", "9" * 30, "²", "ß", "👩"])
async def test_odd_texts_find_nothing_and_break_nothing(operator: Operator, text: str) -> None:
    assert await search(operator, text) == []


async def test_a_viewer_may_search(pool: asyncpg.Pool, operator: Operator) -> None:
    await customer(pool)
    _, headers = await operator_with_role(pool, "viewer")
    assert len(await search(Operator(operator.client.app, **headers), "customer0")) == 1
