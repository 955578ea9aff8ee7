"""user-devices: a key's seats; what an operator revoked stays revoked."""

from __future__ import annotations

import asyncio

import pytest

from tests.api.admin.conftest import Operator
from tests.support.calls import admit

from .conftest import Account

FIELDS = {
    "api_key_id", "install_id", "device_label", "first_seen_at", "last_seen_at", "revoked_at", "revoked_by",
    "last_seen_ua",
}  # fmt: skip


def change(name: str, revoked: bool, **more: object) -> dict[str, object]:
    """The body that revokes or restores a device."""
    return {"install_id": f"phone-{name}", "revoked": revoked, **more}


async def test_a_key_lists_revokes_and_restores_its_own_devices(account: Account) -> None:
    for client in (account.client("deployer"), account.session("deployer")):
        body = await client.get("user-devices")
        assert body["api_key_id"] == account.ids["deployer"]
        assert [row["install_id"] for row in body["devices"]] == ["phone-deployer"]
        assert set(body["devices"][0]) >= FIELDS
        revoked = await client.send("PATCH", "user-devices", change("deployer", True))
        assert revoked["ok"] is True
        assert revoked["devices"][0]["revoked_by"] == "user"
        _, verdict = await admit(account.pool, account.ids["deployer"], install_id="phone-deployer")
        assert verdict.refused == "DEVICE_REVOKED"
        restored = await client.send("PATCH", "user-devices", change("deployer", False))
        assert restored["devices"][0]["revoked_at"] is None
    actors = await account.pool.fetch("select actor, action from kaixu.audit_event order by id")
    last4 = account.keys["deployer"][-4:]
    assert [tuple(row) for row in actors] == [
        (f"key:{last4}", "DEVICE_REVOKE"),
        (f"key:{last4}", "DEVICE_UNREVOKE"),
    ] * 2


@pytest.mark.parametrize("first", ["operator", "user"])
async def test_what_an_operator_revoked_only_operators_restore(
    account: Account, operator: Operator, first: str
) -> None:
    by_operator = change("owner", True, api_key_id=account.ids["owner"])
    if first == "user":
        await account.client("owner").send("PATCH", "user-devices", change("owner", True))
    await operator.send("PATCH", "admin-devices", by_operator)
    # Revoking it once more does not make it the customer's own revocation.
    await account.client("owner").send("PATCH", "user-devices", change("owner", True))
    for client in (account.client("owner"), account.session("owner")):
        status, body = await client.ask("PATCH", "user-devices", change("owner", False))
        assert (status, body["code"]) == (403, "DEVICE_REVOKED")
    [row] = (await account.client("owner").get("user-devices"))["devices"]
    assert row["revoked_by"] == "admin"
    await operator.send("PATCH", "admin-devices", by_operator | {"revoked": False})
    [row] = (await account.client("owner").get("user-devices"))["devices"]
    assert row["revoked_at"] is None


async def test_an_owner_changes_the_devices_of_the_accounts_other_keys(account: Account) -> None:
    of_viewer = change("viewer", True, api_key_id=account.ids["viewer"])
    reply = await account.client("owner").send("PATCH", "user-devices", of_viewer)
    assert {row["install_id"] for row in reply["devices"]} > {"phone-viewer", "phone-owner"}
    status, body = await account.client("viewer").ask("PATCH", "user-devices", change("viewer", False))
    assert (status, body["code"]) == (403, "DEVICE_REVOKED")
    await account.client("admin").send("PATCH", "user-devices", of_viewer | {"revoked": False})
    assert (await account.client("viewer").get("user-devices"))["devices"][0]["revoked_at"] is None


async def test_no_key_reaches_further_than_its_role(account: Account) -> None:
    before = await account.pool.fetch("select * from kaixu.device order by chain_id, install_id")
    for name, key, status in (
        ("viewer", "owner", 403),
        ("deployer", "viewer", 403),
        ("owner", "stranger", 404),
        ("stranger", "viewer", 404),
        ("viewer", "stranger", 404),
    ):
        body = change(key, True, api_key_id=account.ids[key])
        assert (await account.client(name).ask("PATCH", "user-devices", body))[0] == status
        # Without the other key's id, the device is one of the own key, which has none of that name.
        assert (await account.client(name).ask("PATCH", "user-devices", change(key, True)))[0] == 404
    status, missing = await account.client("owner").ask(
        "PATCH", "user-devices", change("stranger", True, api_key_id=10**9)
    )
    _, foreign = await account.client("owner").ask(
        "PATCH", "user-devices", change("stranger", True, api_key_id=account.ids["stranger"])
    )
    assert (status, missing["code"]) == (404, foreign["code"])
    assert await account.pool.fetch("select * from kaixu.device order by chain_id, install_id") == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"install_id": "phone-owner"}, 400),
        ({"revoked": True}, 400),
        ({"install_id": "phone-owner", "revoked": "yes"}, 422),
        ({"install_id": 5, "revoked": True}, 422),
        ({"install_id": "x" * 81, "revoked": True}, 422),
        ({"install_id": "phone-owner", "revoked": True, "api_key_id": "x"}, 422),
        ({"install_id": "phone-owner", "revoked": True, "customer_id": 1}, 400),
        ({"install_id": "nothing", "revoked": True}, 404),
    ],
)
async def test_a_wrong_change_has_its_error(account: Account, body: object, status: int) -> None:
    assert (await account.client("owner").ask("PATCH", "user-devices", body))[0] == status


async def test_a_seat_that_was_taken_meanwhile_is_not_given_back_twice(account: Account) -> None:
    pool, key_id = account.pool, account.ids["owner"]
    await pool.execute("update kaixu.virtual_key set max_devices = 1 where id = $1", key_id)
    await account.client("owner").send("PATCH", "user-devices", change("owner", True))
    (status, body), (_, verdict) = await asyncio.gather(
        account.client("owner").ask("PATCH", "user-devices", change("owner", False)),
        admit(pool, key_id, install_id="another"),
    )
    assert (status == 200) == (verdict.refused is not None), (body, verdict.refused)
    taken = await pool.fetchval("select count(*) from kaixu.device where chain_id = $1 and revoked_at is null", key_id)
    assert taken == 1
