"""`admin-keys`: its replies and errors."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tests.support.calls import admit
from tests.support.money import customer

from .conftest import Operator

FIELDS = {
    "id", "key_last4", "label", "role", "monthly_cap_cents", "rpm_limit", "rpd_limit", "max_devices", "require_install_id",
    "allowed_providers", "allowed_models", "allowed_collections", "alert_thresholds", "created_at", "revoked_at",
}  # fmt: skip


async def made(operator: Operator, customer_id: object, **given: object) -> dict[str, Any]:
    """A new key as it is replied."""
    body = await operator.send("POST", "admin-keys", {"customer_id": customer_id, **given})
    key: dict[str, Any] = body["api_key"]
    return key


async def test_a_master_key_is_made_the_way_the_admin_page_asks(pool: asyncpg.Pool, operator: Operator) -> None:
    body = await operator.send(
        "POST", "admin-customers", {"email": "a@example.com", "plan_name": "", "monthly_cap_cents": ""}
    )
    customer_id = body["customer"]["id"]
    for form in (customer_id, str(customer_id)):
        key = await made(operator, form, label="master", role="owner", monthly_cap_cents=None)
        assert set(key) >= {"id", "key_last4", "label", "created_at", "key"}
        assert (len(key["key"]), key["key_last4"], key["label"]) == (56, key["key"][-4:], "master")
    status, reply = await operator.ask("POST", f"admin-keys?customer_id={customer_id}", {})
    assert (status, reply["api_key"]["label"]) == (200, "subkey")


async def test_the_list_shows_every_field_and_no_key(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key = await made(operator, customer_id, rpm_limit=5, max_devices="2", allowed_providers=["kAIxu"])
    [row] = (await operator.get(f"admin-keys?customer_id={customer_id}"))["keys"]
    assert set(row) >= FIELDS | {"can_reveal"}
    assert (row["id"], row["rpm_limit"], row["max_devices"], row["allowed_providers"]) == (key["id"], 5, 2, ["kaixu"])
    assert row["can_reveal"] is False
    assert key["key"] not in str(row)


async def test_a_key_is_limited_to_collections_by_their_stored_names(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key = await made(operator, customer_id, allowed_collections=["My docs", "wiki"])
    [row] = (await operator.get(f"admin-keys?customer_id={customer_id}"))["keys"]
    assert row["allowed_collections"] == ["My-docs", "wiki"]
    for given, kept in (("wiki", ["wiki"]), ([], []), (None, None)):
        body = await operator.send("PATCH", f"admin-keys?key_id={key['id']}", {"allowed_collections": given})
        assert body["key"]["allowed_collections"] == kept


async def test_a_key_is_never_shown_again(pool: asyncpg.Pool, operator: Operator) -> None:
    key = await made(operator, await customer(pool))
    status, body = await operator.ask("GET", f"admin-keys?reveal_key_id={key['id']}")
    assert (status, body["code"]) == (409, "NOT_REVEALABLE")
    assert (await operator.ask("GET", "admin-keys?reveal_key_id=99"))[0] == 404


async def test_a_key_is_revoked_and_lives_again(pool: asyncpg.Pool, operator: Operator) -> None:
    key = await made(operator, await customer(pool))
    path = f"admin-keys?key_id={key['id']}"
    body = await operator.send("PATCH", path, {"revoked": True})
    assert body["ok"] is True
    assert set(body["key"]) >= FIELDS
    assert body["key"]["revoked_at"] is not None
    assert (await admit(pool, key["id"]))[1].refused == "KEY_REVOKED"
    assert (await operator.send("PATCH", path, {"revoked": False}))["key"]["revoked_at"] is None
    assert await operator.send("DELETE", path) == {"ok": True}
    assert (await admit(pool, key["id"]))[1].refused == "KEY_REVOKED"
    assert await operator.send("DELETE", "admin-keys?key_id=99") == {"ok": True}


async def test_a_rotated_key_has_a_successor_and_is_over(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key = await made(operator, customer_id, label="mine")
    body = await operator.send("PUT", f"admin-keys?rotate_key_id={key['id']}")
    assert (body["rotated"], body["old_key_id"], body["new_key"]["label"]) == (True, key["id"], "mine")
    assert body["new_key"]["key"] != key["key"]
    assert (await operator.ask("PUT", f"admin-keys?rotate_key_id={key['id']}"))[0] == 409
    assert (await operator.ask("PUT", "admin-keys?rotate_key_id=99"))[0] == 404
    assert [row["id"] for row in (await operator.get(f"admin-keys?customer_id={customer_id}"))["keys"]] == [
        body["new_key"]["id"],
        key["id"],
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "admin-keys", None, 400),
        ("GET", "admin-keys?customer_id=one", None, 422),
        ("POST", "admin-keys", {}, 400),
        ("POST", "admin-keys", {"customer_id": 99}, 404),
        ("POST", "admin-keys", {"customer_id": [1]}, 422),
        ("POST", "admin-keys", {"customer_id": 1, "role": "root"}, 422),
        ("POST", "admin-keys", {"customer_id": 1, "rpm_limit": -1}, 422),
        ("POST", "admin-keys", {"customer_id": 1, "allowed_collections": {"docs": True}}, 422),
        ("PATCH", "admin-keys", {"revoked": True}, 400),
        ("PATCH", "admin-keys?key_id=99", {"revoked": True}, 404),
        ("PATCH", "admin-keys?key_id=99", {"revoked": "yes"}, 422),
        ("PATCH", "admin-keys?key_id=99", {}, 400),
        ("PUT", "admin-keys", None, 400),
        ("DELETE", "admin-keys", None, 400),
    ],
)
async def test_a_wrong_request_has_its_status(
    operator: Operator, method: str, path: str, body: object, status: int
) -> None:
    assert (await operator.ask(method, path, body))[0] == status
