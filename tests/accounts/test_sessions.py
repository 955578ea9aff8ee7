"""A session belongs to an active key."""

from __future__ import annotations

import asyncpg
import pytest

from kaixu.accounts.key_material import legacy_hash, new_key
from kaixu.accounts.sessions import session_owner
from kaixu.plugin.errors import CustomerDisabled, Unauthenticated
from tests.support.money import customer, virtual_key
from tests.support.process import SECRETS

PEPPER = SECRETS["KEY_PEPPER"]


async def test_the_owner_of_a_key_is_found_by_either_hash(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    key_id, key = await virtual_key(pool, customer_id)
    owner = await session_owner(pool, key, peppers=[PEPPER])
    assert (owner.key_id, owner.customer_id, owner.key_last4) == (key_id, customer_id, key[-4:])
    await pool.execute("update kaixu.virtual_key set key_hash = $1", legacy_hash(key))
    assert await session_owner(pool, key, peppers=[PEPPER]) == owner


async def test_a_revoked_key_has_no_session_owner(pool: asyncpg.Pool) -> None:
    _, key = await virtual_key(pool, await customer(pool))
    await pool.execute("update kaixu.virtual_key set revoked_at = now()")
    for dead in (key, new_key()):
        with pytest.raises(Unauthenticated):
            await session_owner(pool, dead, peppers=[PEPPER])


async def test_a_disabled_customer_gets_no_session(pool: asyncpg.Pool) -> None:
    _, key = await virtual_key(pool, await customer(pool, is_active=False))
    with pytest.raises(CustomerDisabled):
        await session_owner(pool, key, peppers=[PEPPER])
