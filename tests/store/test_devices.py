"""Seats: given back only where one is free, whoever else is asking."""

from __future__ import annotations

import asyncio

import asyncpg

from kaixu.store.devices import device, devices, revoke_device, unrevoke_device
from tests.support.calls import admit
from tests.support.money import customer, virtual_key


async def seated(pool: asyncpg.Pool, *install_ids: str, max_devices: int) -> int:
    """A key whose seats are taken by `install_ids`."""
    key_id, _ = await virtual_key(pool, await customer(pool), max_devices=max_devices)
    for install_id in install_ids:
        _, verdict = await admit(pool, key_id, install_id=install_id)
        assert verdict.refused is None
    return key_id


async def test_a_revoked_device_is_refused_and_its_seat_is_free(pool: asyncpg.Pool) -> None:
    key_id = await seated(pool, "one", max_devices=1)
    revoked = await revoke_device(pool, key_id, "one", by="admin")
    assert revoked is not None
    assert revoked.revoked_by == "admin"
    assert (await admit(pool, key_id, install_id="one"))[1].refused == "DEVICE_REVOKED"
    assert (await admit(pool, key_id, install_id="two"))[1].refused is None


async def test_a_second_revocation_changes_nothing(pool: asyncpg.Pool) -> None:
    key_id = await seated(pool, "one", max_devices=1)
    first = await revoke_device(pool, key_id, "one", by="admin")
    assert await revoke_device(pool, key_id, "one", by="cli") == first
    assert await revoke_device(pool, key_id, "nobody", by="cli") is None


async def test_a_seat_is_given_back_only_if_one_is_free(pool: asyncpg.Pool) -> None:
    key_id = await seated(pool, "one", max_devices=1)
    await revoke_device(pool, key_id, "one", by="admin")
    await admit(pool, key_id, install_id="two")
    assert await unrevoke_device(pool, key_id, "one") == "full"
    await revoke_device(pool, key_id, "two", by="admin")
    assert await unrevoke_device(pool, key_id, "one") == "unrevoked"
    assert await unrevoke_device(pool, key_id, "one") == "unrevoked"
    assert await unrevoke_device(pool, key_id, "nobody") == "unknown"
    back = await device(pool, key_id, "one")
    assert back is not None
    assert (back.revoked_at, back.revoked_by) == (None, None)


async def test_the_last_seat_is_given_once(pool: asyncpg.Pool) -> None:
    key_id = await seated(pool, "old", max_devices=3)
    await revoke_device(pool, key_id, "old", by="admin")
    await asyncio.gather(
        unrevoke_device(pool, key_id, "old"),
        *(admit(pool, key_id, install_id=f"new{number}") for number in range(20)),
        unrevoke_device(pool, key_id, "old"),
    )
    seats = await pool.fetchval("select count(*) from kaixu.device where revoked_at is null")
    assert seats == 3


async def test_devices_are_shown_under_the_newest_key_of_their_chain(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    old, _ = await virtual_key(pool, customer_id)
    await admit(pool, old, install_id="one")
    new, _ = await virtual_key(pool, customer_id)
    await pool.execute("update kaixu.virtual_key set chain_id = $1 where id = $2", old, new)
    await admit(pool, (await virtual_key(pool, customer_id))[0], install_id="two")
    of_old = await devices(pool, customer_id, key_id=old, limit=10)
    assert [(row.install_id, row.key_id) for row in of_old] == [("one", new)]
    assert of_old == await devices(pool, customer_id, key_id=new, limit=10)
    assert len(await devices(pool, customer_id, key_id=None, limit=10)) == 2
    assert len(await devices(pool, customer_id, key_id=None, limit=1)) == 1
