"""Devices are shut out and let in again, and it is written down who did it."""

from __future__ import annotations

import asyncpg
import pytest

from kaixu.accounts.devices import change_device
from kaixu.plugin.errors import NotFound, SeatsFull
from tests.support.calls import admit
from tests.support.money import customer, virtual_key

from .conftest import By


async def test_a_device_is_revoked_and_restored(pool: asyncpg.Pool, by: By) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool), max_devices=1)
    await admit(pool, key_id, install_id="one")
    revoked = await change_device(pool, key_id, "one", revoked=True, **by)
    assert revoked.revoked_by == "admin"
    await admit(pool, key_id, install_id="two")
    with pytest.raises(SeatsFull):
        await change_device(pool, key_id, "one", revoked=False, **by)
    await change_device(pool, key_id, "two", revoked=True, **by)
    assert (await change_device(pool, key_id, "one", revoked=False, **by)).revoked_at is None
    await change_device(pool, key_id, "one", revoked=False, **by)
    rows = await pool.fetch("select action, target, meta from kaixu.audit_event order by id")
    assert [tuple(row) for row in rows] == [
        ("DEVICE_REVOKE", f"key:{key_id}", {"install_id": "one"}),
        ("DEVICE_REVOKE", f"key:{key_id}", {"install_id": "two"}),
        ("DEVICE_UNREVOKE", f"key:{key_id}", {"install_id": "one"}),
    ]


async def test_the_seat_that_calls_without_an_id_share_can_be_revoked(pool: asyncpg.Pool, by: By) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool), max_devices=1)
    await admit(pool, key_id)
    await change_device(pool, key_id, "", revoked=True, **by)
    assert (await admit(pool, key_id))[1].refused == "DEVICE_REVOKED"


async def test_a_device_that_was_never_seen_is_not_found(pool: asyncpg.Pool, by: By) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    with pytest.raises(NotFound):
        await change_device(pool, key_id, "one", revoked=True, **by)
    with pytest.raises(NotFound):
        await change_device(pool, key_id + 1, "one", revoked=True, **by)
