"""`admin-devices`: list, revoke, unrevoke."""

from __future__ import annotations

from urllib.parse import quote

import asyncpg
import pytest

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


async def test_devices_come_in_pages_each_once(pool: asyncpg.Pool, operator: Operator) -> None:
    customer_id = await customer(pool)
    keys = [(await virtual_key(pool, customer_id))[0] for _ in range(2)]
    ids = ["one", "two~2", "  three", "zero\u200bwidth", "\U0001f4f1" * 80, ""]
    for key_id in keys:
        chain_id = await pool.fetchval("select chain_id from kaixu.virtual_key where id = $1", key_id)
        for install_id in ids:
            await pool.execute(
                "insert into kaixu.device (chain_id, install_id, customer_id, last_seen_at) "
                "values ($1, $2, $3, '2026-11-01 12:00:00.000001+00')",
                chain_id,
                install_id,
                customer_id,
            )
    for limit in (1, 5, 12):
        found, cursor = [], ""
        for _ in range(20):
            body = await operator.get(f"admin-devices?customer_id={customer_id}&limit={limit}{cursor}")
            found += [(row["api_key_id"], row["install_id"]) for row in body["devices"]]
            if body["next_cursor"] is None:
                break
            cursor = f"&cursor={quote(body['next_cursor'])}"
        assert sorted(found) == sorted((key_id, install_id) for key_id in keys for install_id in ids)


@pytest.mark.parametrize(
    "cursor",
    ["x", "last_seen~1", "last_seen~1~%FF~1", "last_seen~1~AA==~1", "last_seen~x~~1", "last_seen~-1~~1", "id~1~~1",
     "last_seen~99999999999999999~~1", "last_seen~1~gICA~1", "last_seen~1~~99999999999999999999", "last_seen~1~a~1"],
)  # fmt: skip
async def test_a_forged_cursor_is_refused(operator: Operator, cursor: str) -> None:
    status, body = await operator.ask("GET", f"admin-devices?customer_id=1&cursor={cursor}")
    assert (status, body["field"]) == (422, "cursor")
