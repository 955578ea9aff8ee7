"""`admin-devices`: list, revoke, unrevoke."""

from __future__ import annotations

import asyncpg

from tests.support.calls import admit
from tests.support.money import customer, virtual_key

from .conftest import Operator

FIELDS = {
    "api_key_id", "key_last4", "key_label", "install_id", "device_label", "first_seen_at", "last_seen_at", "revoked_at",
    "revoked_by", "last_seen_ua",
}  # fmt: skip


async def test_a_device_is_listed_revoked_and_allowed_again(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    key_id, _ = await virtual_key(pool, customer_id, max_devices=1)
    await admit(pool, key_id, install_id="one")
    [row] = (await operator.get(f"admin-devices?customer_id={customer_id}&api_key_id={key_id}"))["devices"]
    assert set(row) == FIELDS
    assert (row["api_key_id"], row["install_id"], row["last_seen_ua"]) == (key_id, "one", "agent")
    change = {"api_key_id": row["api_key_id"], "install_id": "one"}
    assert await operator.send("PATCH", "admin-devices", change | {"revoked": True}) == {"ok": True}
    assert (await admit(pool, key_id, install_id="one"))[1].refused == "DEVICE_REVOKED"
    await admit(pool, key_id, install_id="two")
    status, body = await operator.ask("PATCH", "admin-devices", change | {"revoked": False})
    assert (status, body["code"]) == (403, "SEATS_FULL")
    rows = (await operator.get(f"admin-devices?customer_id={customer_id}"))["devices"]
    assert [(row["install_id"], row["revoked_by"]) for row in rows] == [("two", None), ("one", "admin")]


async def test_a_wrong_request_has_its_status(pool: asyncpg.Pool, operator: Operator) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    for method, path, body, status in (
        ("GET", "admin-devices", None, 400),
        ("GET", "admin-devices?customer_id=1&limit=501", None, 422),
        ("PATCH", "admin-devices", {"api_key_id": key_id, "install_id": "one"}, 400),
        ("PATCH", "admin-devices", {"api_key_id": key_id, "revoked": True}, 400),
        ("PATCH", "admin-devices", {"api_key_id": key_id, "install_id": "one", "revoked": 1}, 422),
        ("PATCH", "admin-devices", {"api_key_id": key_id, "install_id": "one", "revoked": True}, 404),
    ):
        assert (await operator.ask(method, path, body))[0] == status
