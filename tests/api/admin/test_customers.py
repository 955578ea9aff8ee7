"""`admin-customers`: its replies and errors."""

from __future__ import annotations

import json

import asyncpg

from kaixu.config.price import nusd_of_cents
from kaixu.plugin.types import Usage
from tests.support.calls import admit, billed
from tests.support.money import virtual_key

from .conftest import Operator

FIELDS = {
    "id", "email", "plan_name", "monthly_cap_cents", "is_active", "max_devices_per_key", "require_install_id",
    "allowed_providers", "allowed_models", "stripe_customer_id", "stripe_subscription_id", "stripe_current_period_end",
    "auto_topup_enabled", "auto_topup_threshold_cents", "auto_topup_amount_cents", "max_vectors", "end_user_cap_cents", "alert_thresholds", "alert_mail", "created_at",
    "active_keys",
    "has_netlify_token",
}  # fmt: skip


async def made(operator: Operator, **given: object) -> int:
    """A customer's id."""
    body = await operator.send("POST", "admin-customers", {"email": "a@example.com", **given})
    number: int = body["customer"]["id"]
    return number


async def test_a_customer_is_made_with_the_default_cap(operator: Operator) -> None:
    for blank in ({}, {"monthly_cap_cents": ""}, {"monthly_cap_cents": None}):
        email = f"{len(str(blank))}@example.com"
        body = await operator.send("POST", "admin-customers", {"email": email, **blank})
        assert (body["customer"]["monthly_cap_cents"], body["customer"]["plan_name"]) == (2000, "starter")


async def test_a_cap_of_zero_is_a_cap(operator: Operator) -> None:
    for nothing in (0, "0", 0.0):
        body = await operator.send(
            "POST", "admin-customers", {"email": f"{type(nothing).__name__}@example.com", "monthly_cap_cents": nothing}
        )
        assert body["customer"]["monthly_cap_cents"] == 0


async def test_the_list_shows_every_field_and_this_months_figures(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await made(operator, monthly_cap_cents=500)
    key_id, _ = await virtual_key(pool, customer_id)
    await billed(pool, key_id, Usage(), cost=nusd_of_cents(120) + 1)
    await admit(pool, key_id, most=nusd_of_cents(80))
    [row] = (await operator.get("admin-customers"))["customers"]
    assert set(row) >= FIELDS
    assert (row["id"], row["active_keys"], row["has_netlify_token"]) == (customer_id, 1, False)
    assert (row["spent_cents"], row["held_cents"], row["available_cents"]) == (120, 80, 299)
    assert (row["spent_usd"], row["available_usd"]) == ("1.200000001", "2.999999999")
    assert row["created_at"].endswith("Z")
    assert len(row["created_at"]) == len("2026-01-01T00:00:00.000Z")


async def test_the_list_is_newest_first_and_goes_on(operator: Operator) -> None:
    ids = [await made(operator, email=f"{number}@example.com") for number in range(5)]
    first = (await operator.get("admin-customers?limit=3"))["customers"]
    rest = (await operator.get(f"admin-customers?before_id={first[-1]['id']}"))["customers"]
    assert [row["id"] for row in first + rest] == ids[::-1]
    for wrong in ("limit=0", "limit=1001", "limit=x", "before_id=-1"):
        assert (await operator.ask("GET", f"admin-customers?{wrong}"))[0] == 422


async def test_null_leaves_plan_and_cap_and_clears_the_rest(operator: Operator) -> None:
    customer_id = await made(
        operator,
        plan_name="pro",
        monthly_cap_cents=700,
        max_devices_per_key=2,
        allowed_providers="A, b",
        max_vectors="5000",
    )
    body = await operator.send(
        "PATCH",
        f"admin-customers?customer_id={customer_id}",
        {
            "plan_name": None,
            "monthly_cap_cents": None,
            "is_active": True,
            "max_devices_per_key": None,
            "require_install_id": True,
            "allowed_providers": None,
            "max_vectors": None,
            "allowed_models": '{"kAIxu": "kaixu-chat, other"}',
        },
    )
    assert body["ok"] is True
    assert (body["customer"]["plan_name"], body["customer"]["monthly_cap_cents"]) == ("pro", 700)
    assert (body["customer"]["max_devices_per_key"], body["customer"]["allowed_providers"]) == (None, None)
    assert body["customer"]["allowed_models"] == {"kaixu": ["kaixu-chat", "other"]}
    assert body["customer"]["max_vectors"] is None
    body = await operator.send("PATCH", f"admin-customers?customer_id={customer_id}", {"max_vectors": 7})
    assert body["customer"]["max_vectors"] == 7
    assert (await operator.get("admin-customers"))["customers"][0]["max_vectors"] == 7


async def test_the_wrong_field_is_named(operator: Operator) -> None:
    customer_id = await made(operator)
    path = f"admin-customers?customer_id={customer_id}"
    for body, status, says in (
        ({"email": "nobody"}, 422, "email"),
        ({"monthly_cap_cents": "NaN"}, 422, "monthly_cap_cents"),
        ({"is_active": "yes"}, 422, "is_active"),
        ({"allowed_models": "{"}, 422, "allowed_models"),
        ({"plan_name": "p" * 41}, 422, "plan_name"),
        ({"max_vectors": -1}, 422, "max_vectors"),
        ({}, 400, "nothing to change"),
        ({"monthly_cap_cent": 1}, 400, "there is no field `monthly_cap_cent`; did you mean `monthly_cap_cents`?"),
        ({"is_active": True, "zzz": 1}, 400, "there is no field `zzz`"),
        ([], 400, "JSON object"),
    ):
        assert (reply := await operator.ask("PATCH", path, body))[0] == status
        assert says in reply[1]["error"]
        if status == 422:
            assert reply[1]["field"] == says
    assert (await operator.ask("PATCH", "admin-customers", {"is_active": False}))[0] == 400
    assert (await operator.ask("PATCH", "admin-customers?customer_id=x", {"is_active": False}))[0] == 422
    assert (await operator.ask("PATCH", "admin-customers?customer_id=99", {"is_active": False}))[0] == 404
    status, reply = await operator.ask("POST", "admin-customers", {"email": "A@example.com"})
    assert (status, reply["code"]) == (409, "CONFLICT")


async def test_a_body_that_was_encoded_twice_is_read(operator: Operator) -> None:
    twice = json.dumps(json.dumps({"email": "a@example.com"})).encode()
    status, body = await operator.ask("POST", "admin-customers", raw=twice)
    assert (status, body["customer"]["email"]) == (200, "a@example.com")


async def test_a_disabled_customer_is_refused_from_the_next_call(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await made(operator)
    key_id, _ = await virtual_key(pool, customer_id)
    assert (await admit(pool, key_id))[1].refused is None
    await operator.send("PATCH", f"admin-customers?customer_id={customer_id}", {"is_active": False})
    assert (await admit(pool, key_id))[1].refused == "CUSTOMER_DISABLED"
