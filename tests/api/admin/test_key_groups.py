"""`admin-key-groups` and the limits of customers and keys: replies and errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tests.support.money import customer, virtual_key

from .conftest import Operator


async def test_a_group_has_a_life(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    made = (
        await operator.send(
            "POST", "admin-key-groups", {"customer_id": customer_id, "name": " lab ", "monthly_cap_cents": 5}
        )
    )["group"]
    assert (made["name"], made["monthly_cap_cents"], made["day_cap_cents"], made["available_cents"]) == (
        "lab",
        5,
        None,
        5,
    )
    body = await operator.send(
        "PATCH", "admin-key-groups", {"group_id": made["id"], "day_cap_cents": 2, "rpm_limit": 7}
    )
    assert body["group"] == made | {"day_cap_cents": 2, "rpm_limit": 7}
    assert (await operator.get(f"admin-key-groups?customer_id={customer_id}"))["groups"] == [body["group"]]
    key_id, _ = await virtual_key(pool, customer_id)
    key = (await operator.send("PATCH", f"admin-keys?key_id={key_id}", {"group_id": made["id"]}))["key"]
    assert key["group_id"] == made["id"]
    status, refused = await operator.ask("DELETE", f"admin-key-groups?group_id={made['id']}")
    assert (status, refused["code"]) == (409, "GROUP_IN_USE")
    await operator.send("PATCH", f"admin-keys?key_id={key_id}", {"group_id": None})
    await operator.send("DELETE", f"admin-key-groups?group_id={made['id']}")
    status, refused = await operator.ask("DELETE", f"admin-key-groups?group_id={made['id']}")
    assert (status, refused["code"]) == (404, "UNKNOWN_GROUP")


async def test_limits_are_set_shown_and_cleared(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id)
    later = (datetime.now(UTC) + timedelta(days=3)).replace(microsecond=0)
    limits = {"up/m": {"rpm": 1, "tpm": 2, "day_cap_cents": 3}, "up/n": {"tpm": 0}}
    wanted = {"tpm_limit": 1000, "day_cap_cents": 20, "limits": limits, "expires_at": later.isoformat()}
    key = (await operator.send("PATCH", f"admin-keys?key_id={key_id}", wanted))["key"]
    assert {name: key[name] for name in ("tpm_limit", "day_cap_cents", "limits")} == {
        "tpm_limit": 1000, "day_cap_cents": 20, "limits": limits,
    }  # fmt: skip
    assert datetime.fromisoformat(key["expires_at"]) == later
    again = (await operator.send("PATCH", f"admin-keys?key_id={key_id}", {"label": "same"}))["key"]
    assert again == key | {"label": "same"}
    [listed] = (await operator.get(f"admin-keys?customer_id={customer_id}"))["keys"]
    assert {name: listed[name] for name in again} == again
    cleared = (await operator.send("PATCH", f"admin-keys?key_id={key_id}", dict.fromkeys(wanted)))["key"]
    assert [cleared[name] for name in wanted] == [None] * 4
    body = await operator.send(
        "PATCH", f"admin-customers?customer_id={customer_id}", {"tpm_limit": 5, "day_cap_cents": 6}
    )
    assert (body["customer"]["tpm_limit"], body["customer"]["day_cap_cents"]) == (5, 6)
    body = await operator.send(
        "PATCH", f"admin-customers?customer_id={customer_id}", {"tpm_limit": None, "day_cap_cents": ""}
    )
    assert (body["customer"]["tpm_limit"], body["customer"]["day_cap_cents"]) == (None, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tpm_limit", -1),
        ("tpm_limit", 10**10),
        ("tpm_limit", "many"),
        ("tpm_limit", {}),
        ("day_cap_cents", 10**12),
        ("day_cap_cents", True),
        ("limits", "{"),
        ("limits", [1]),
        ("limits", {"up/m": {"rpm": {}}}),
        ("limits", {"m": {"rpm": 1}}),
        ("expires_at", "tomorrow"),
        ("expires_at", 17),
        ("expires_at", "1999-01-01T00:00:00Z"),
        ("group_id", -4),
        ("group_id", "x"),
        ("group_id", 2**70),
    ],
)
async def test_a_bad_limit_is_named_and_changes_nothing(
    pool: asyncpg.Pool, operator: Operator, field: str, value: object
) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    status, body = await operator.ask("PATCH", f"admin-keys?key_id={key_id}", {field: value})
    assert (status, body["code"]) == (422, "INVALID_FIELD")
    assert body["field"].split(".")[0] == field
    assert await pool.fetchval("select count(*) from kaixu.audit_event") == 0


async def test_a_key_cannot_be_made_that_has_expired_already(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    past = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
    status, body = await operator.ask("POST", "admin-keys", {"customer_id": customer_id, "expires_at": past})
    assert (status, body["field"]) == (422, "expires_at")


async def test_an_expired_key_is_not_rotated(pool: asyncpg.Pool, operator: Operator) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool), expires_at=datetime.now(UTC) - timedelta(seconds=5))
    status, body = await operator.ask("PUT", f"admin-keys?rotate_key_id={key_id}")
    assert (status, body["code"]) == (409, "CONFLICT")
    assert "has expired" in body["error"]


async def test_a_group_of_another_customer_is_not_there(pool: asyncpg.Pool, operator: Operator) -> None:
    mine, theirs = await customer(pool), await customer(pool)
    group = (await operator.send("POST", "admin-key-groups", {"customer_id": theirs, "name": "x"}))["group"]
    status, body = await operator.ask("POST", "admin-keys", {"customer_id": mine, "group_id": group["id"]})
    assert (status, body["code"], body["field"]) == (404, "UNKNOWN_GROUP", "group_id")
