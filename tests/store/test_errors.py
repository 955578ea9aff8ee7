"""Broken constraints become the errors of the table, and nothing else does."""

from __future__ import annotations

import asyncpg
import pytest

from kaixu.plugin.errors import Conflict, NotFound
from kaixu.store.errors import OF_CONSTRAINT, constraints


@pytest.mark.parametrize("name", OF_CONSTRAINT)
async def test_every_constraint_of_the_table_exists(pool: asyncpg.Pool, name: str) -> None:
    found = await pool.fetchval(
        """
        select exists (select from pg_constraint where conname = $1)
            or exists (select from pg_class where relname = $1 and relkind = 'i')
        """,
        name,
    )
    assert found


async def test_a_known_constraint_is_an_error_without_postgres_text(pool: asyncpg.Pool) -> None:
    insert = "insert into kaixu.customer (email, monthly_cap_nusd) values ('a@example.com', 1)"
    await pool.execute(insert)
    with pytest.raises(Conflict) as caught, constraints():
        await pool.execute(insert)
    assert "constraint" not in caught.value.message
    with pytest.raises(NotFound), constraints():
        await pool.execute(
            "insert into kaixu.virtual_key (chain_id, customer_id, key_hash, key_last4) values (1, 99, '', '')"
        )


async def test_an_unknown_constraint_is_a_bug_and_passes(pool: asyncpg.Pool) -> None:
    with pytest.raises(asyncpg.CheckViolationError), constraints():
        await pool.execute("insert into kaixu.customer (email, monthly_cap_nusd) values ('a@example.com', -1)")
