"""`admin-end-users` over HTTP."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tests.support.money import customer

from .conftest import Operator


async def test_a_cap_is_set_and_removed(operator: Operator, pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    body = {"customer_id": str(customer_id), "end_user": " ada ", "monthly_cap_cents": 250}
    reply = await operator.send("PATCH", "admin-end-users", body)
    assert (reply["end_user"]["end_user"], reply["end_user"]["monthly_cap_cents"]) == ("ada", 250)
    assert await pool.fetchval("select monthly_cap_nusd from kaixu.end_user_cap") == 2_500_000_000
    reply = await operator.send("PATCH", "admin-end-users", body | {"monthly_cap_cents": None})
    assert reply["end_user"]["monthly_cap_cents"] is None
    assert await pool.fetchval("select count(*) from kaixu.end_user_cap") == 0


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"customer_id": None}, 400, "customer_id"),
        ({"end_user": ""}, 400, "end_user"),
        ({"end_user": 7}, 422, "end_user"),
        ({"monthly_cap_cents": -1}, 422, "monthly_cap_cents"),
        ({"monthly_cap_cents": "much"}, 422, "monthly_cap_cents"),
        ({"cap": 1}, 400, "cap"),
        ({"customer_id": 99}, 404, None),
    ],
)
async def test_bad_input_is_named(
    operator: Operator, pool: asyncpg.Pool, change: dict[str, Any], status: int, field: str | None
) -> None:
    body = {"customer_id": await customer(pool), "end_user": "ada", "monthly_cap_cents": 1, **change}
    found, reply = await operator.ask("PATCH", "admin-end-users", body)
    assert (found, reply.get("field")) == (status, field)
    assert await pool.fetchval("select count(*) from kaixu.end_user_cap") == 0


async def test_a_missing_cap_is_no_removal(operator: Operator, pool: asyncpg.Pool) -> None:
    body = {"customer_id": await customer(pool), "end_user": "ada"}
    status, reply = await operator.ask("PATCH", "admin-end-users", body)
    assert (status, reply["field"]) == (400, "monthly_cap_cents")


async def test_only_operators_set_caps(stranger: Operator, pool: asyncpg.Pool) -> None:
    body = {"customer_id": await customer(pool), "end_user": "ada", "monthly_cap_cents": 1}
    assert (await stranger.ask("PATCH", "admin-end-users", body))[0] == 401
