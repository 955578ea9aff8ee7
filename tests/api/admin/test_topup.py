"""admin-topup: a credit for one month, once for each idempotency key."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
from quart import Quart

from tests.support.money import customer

from .conftest import Operator


async def test_a_topup_replies_what_it_did(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    body = await operator.send("POST", "admin-topup", {"customer_id": str(customer_id), "amount_cents": "250"})
    month = datetime.now(UTC).strftime("%Y-%m")
    assert body == {
        "ok": True,
        "customer_id": customer_id,
        "month": month,
        "amount_cents": 250,
        "applied": True,
        "extra_cents": 250,
        "extra_usd": "2.50",
    }


async def test_an_idempotency_key_may_be_a_field_or_a_header(
    pool: asyncpg.Pool, app: Quart, operator: Operator
) -> None:
    body = {"customer_id": await customer(pool), "amount_cents": 250}
    with_header = Operator(app, **operator.headers, **{"idempotency-key": "once"})
    assert (await with_header.send("POST", "admin-topup", body))["applied"] is True
    again = await operator.send("POST", "admin-topup", body | {"idempotency_key": "once"})
    assert (again["applied"], again["extra_cents"]) == (False, 250)
    status, reply = await operator.ask("POST", "admin-topup", body | {"idempotency_key": "once", "amount_cents": 1})
    assert (status, reply["code"]) == (409, "IDEMPOTENCY_KEY_USED")


async def test_a_wrong_request_has_its_status(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    for body, status in (
        ({}, 400),
        ({"customer_id": customer_id}, 422),
        ({"customer_id": customer_id, "amount_cents": 0}, 422),
        ({"customer_id": customer_id, "amount_cents": 1, "month": "May"}, 422),
        ({"customer_id": 99, "amount_cents": 1}, 404),
    ):
        assert (await operator.ask("POST", "admin-topup", body))[0] == status
