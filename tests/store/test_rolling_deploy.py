"""Upgrades of the schema with data in it, while gateways of the last release still run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from kaixu.assets import asset
from kaixu.plugin.types import Usage
from kaixu.store import migrate as migrating
from kaixu.store.migrate import migrate, release, steps_of
from kaixu.store.partitions import ensure_partitions
from kaixu.store.pool import open_pool
from tests.conftest import with_database
from tests.support.calls import admit, settle
from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.release import digests, last_release, signatures
from tests.support.rollups import assert_folded_rollups_agree, fill_in

LAST = last_release()


@pytest.fixture
async def older_dsn(server_dsn: str) -> AsyncIterator[str]:
    """A database for the last release."""
    name = f"kaixu_older_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(server_dsn)
    try:
        await connection.execute(f"create database {name}")
        yield with_database(server_dsn, name)
        await connection.execute(f"drop database {name} with (force)")
    finally:
        await connection.close()


async def test_what_gateways_of_the_last_release_call_is_there_and_answers_in_the_same_columns(
    pool: asyncpg.Pool,
) -> None:
    async with pool.acquire() as connection:
        now = await signatures(connection)
    assert {name: now.get(name) for name in LAST.signatures} == LAST.signatures


def test_a_release_that_changes_a_function_has_a_higher_number() -> None:
    now = digests()
    changed = {name for name in now | LAST.digests if now.get(name) != LAST.digests.get(name)}
    assert not changed or release() > LAST.release, sorted(changed)


async def test_a_database_of_the_last_release_is_brought_up_to_date_with_what_is_in_it(
    older_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = steps_of(asset("schema"))
    with monkeypatch.context() as older:
        older.setattr(migrating, "steps_of", lambda folder: [step for step in everything if step.name in LAST.steps])
        older.setattr(migrating, "release", lambda: LAST.release)
        connection = await asyncpg.connect(older_dsn)
        await migrate(connection)
        await ensure_partitions(connection)
        # Rows as the last release wrote them: its functions are not in this checkout.
        customer_id = await customer(connection)
        key_id, _ = await virtual_key(connection, customer_id)
        await connection.execute(
            """
            insert into kaixu.file (id, customer_id, filename, purpose, content, bytes)
            values (gen_random_uuid(), $1, 'a.jsonl', 'batch', 'x', 1)
            """,
            customer_id,
        )
        await connection.execute(
            """
            insert into kaixu.usage_event (ticket, month, customer_id, key_id, chain_id, book, operation, provider, model,
                   price_id, cost_nusd, vendor_cost_nusd, input_tokens, output_tokens, cached_input_tokens,
                   cache_write_tokens, reasoning_tokens, usage_source, end_reason, request_id, admitted_at, duration_ms)
            select gen_random_uuid(), date_trunc('month', now() at time zone 'utc')::date, $1, $2, $2, 'ai', 'chat', 'up', 'm',
                   1, 7, 5, 3, 2, 0, 0, 0, 'provider', 'complete', 'r', now(), 1
            """,
            customer_id,
            key_id,
        )
        for table, column in (("customer_month", "customer_id"), ("key_month", "chain_id")):
            more = "" if column == "customer_id" else "customer_id, "
            await connection.execute(
                f"""
                insert into kaixu.{table} ({more}{column}, month, book, spent_nusd, vendor_cost_nusd, calls, input_tokens,
                       output_tokens)
                select {"" if not more else "$2, "}$1, date_trunc('month', now() at time zone 'utc')::date, 'ai', 7, 5, 1, 3, 2
                """,
                *([customer_id] if not more else [key_id, customer_id]),
            )
        await connection.close()

    connection = await asyncpg.connect(older_dsn)
    needed = await migrate(connection, dry_run=True)
    assert {step.name for step in everything if step.name not in LAST.steps} <= set(needed)
    assert await migrate(connection) == needed
    assert await migrate(connection) == []
    await ensure_partitions(connection)
    await connection.close()
    pool = await open_pool(older_dsn)
    try:
        assert await spent_and_held(pool, customer_id) == (7, 0)
        ask, verdict = await admit(pool, key_id)
        assert verdict.refused is None
        await assert_books_balance(pool, reservations=1)
        await settle(pool, ask, verdict, Usage(10, 5), cost=11, end_reason="undelivered")
        assert await spent_and_held(pool, customer_id) == (18, 0)
        await assert_books_balance(pool)
        await fill_in(pool)
        await assert_folded_rollups_agree(pool)
        assert await pool.fetchval("select count(*) from kaixu.file where customer_id = $1", customer_id) == 1
    finally:
        await pool.close()
