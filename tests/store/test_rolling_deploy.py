"""Upgrades of the schema with data in it, while gateways of the last release still run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from kaixu.assets import asset
from kaixu.config.database_errors import MigrationError
from kaixu.plugin.types import Usage
from kaixu.store import migrate as migrating
from kaixu.store.admission import Ask, Settled, Verdict
from kaixu.store.migrate import migrate, release, steps_of
from kaixu.store.partitions import ensure_partitions
from kaixu.store.pool import open_pool
from kaixu.store.query import ARGUMENT, Connection
from tests.conftest import with_database
from tests.support.calls import OWNER, admit, asking, settle, settling
from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.release import (
    digests,
    last_release,
    last_release_sql,
    signatures,
    statement_of,
    steps_of_last_release,
)
from tests.support.rollups import assert_folded_rollups_agree, fill_in

LAST, LAST_SQL = last_release(), last_release_sql()


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


@asynccontextmanager
async def migrated_by_last_release(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with the schema of the last release, and its own functions."""
    with monkeypatch.context() as older:
        older.setattr(migrating, "steps_of", lambda folder: steps_of_last_release())
        older.setattr(migrating, "release", lambda: LAST.release)
        connection = await asyncpg.connect(dsn)
        await migrate(connection)
    await ensure_partitions(connection)
    yield connection
    await connection.close()


async def call_as_before(db: Connection, row: str, function: str, values: dict[str, Any]) -> Any:
    """Send the last release's statement that calls a function for a group; the group has one member."""
    [sql] = [one.sql for one in LAST_SQL.statements if one.row == row and f"kaixu.{function}(" in one.sql]
    names = {int(number): name for name, number in ARGUMENT.findall(sql)}
    return await db.fetchrow(sql, *[values[names[number]] for number in sorted(names)])


async def admit_as_before(db: Connection, key_id: int) -> tuple[Ask, Verdict]:
    """Admit a call as a gateway of the last release does."""
    ask = asking(key_id)
    values: dict[str, Any] = {name: [value] for name, value in msgspec.structs.asdict(ask).items()}
    values |= {"asked": [ask.requested_provider], "owner": OWNER, "lifetime_s": 60, "default_rpm": 10**6}
    return ask, Verdict(**dict(await call_as_before(db, "Verdict", "admit_v2", values)))


async def settle_as_before(db: Connection, ask: Ask, verdict: Verdict) -> Settled:
    """Settle a call for 11 nano-dollars as a gateway of the last release does."""
    settlement = settling(ask, verdict, Usage(10, 5), cost=11)
    values = {name: [value] for name, value in msgspec.structs.asdict(settlement).items()}
    return Settled(**dict(await call_as_before(db, "Settled", "settle_v2", values)))


async def test_what_gateways_of_the_last_release_send_is_answered_in_the_same_columns(
    server_dsn: str, template: str
) -> None:
    connection = await asyncpg.connect(with_database(server_dsn, template))
    changed = []
    try:
        for one in LAST_SQL.statements:
            try:
                now = await statement_of(connection, one.row, one.sql)
            except asyncpg.PostgresError as error:
                changed.append(f"{one.row}: {error}")
            else:
                if now != one:
                    changed.append(f"{one.row}: {now.columns} {now.parameters}")
    finally:
        await connection.close()
    assert len(LAST_SQL.statements) > 100
    assert changed == []


async def test_gateways_of_both_releases_admit_and_settle_side_by_side(
    older_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with migrated_by_last_release(older_dsn, monkeypatch) as connection:
        customer_id = await customer(connection)
        key_id, _ = await virtual_key(connection, customer_id)
    pool = await open_pool(older_dsn)
    try:
        before_it, before_it_verdict = await admit_as_before(pool, key_id)
        await settle_as_before(pool, *await admit_as_before(pool, key_id))
        async with pool.acquire() as upgrading:
            await migrate(upgrading)
            await ensure_partitions(upgrading)
        # A gateway of the last release goes on: with a call from before, with a new one, with one of the new gateway's.
        await settle_as_before(pool, before_it, before_it_verdict)
        await settle_as_before(pool, *await admit_as_before(pool, key_id))
        await settle_as_before(pool, *await admit(pool, key_id))
        ask, verdict = await admit_as_before(pool, key_id)
        assert verdict.refused is None
        await assert_books_balance(pool, reservations=1)
        settled = await settle(pool, ask, verdict, Usage(10, 5), cost=11)
        assert settled.first_time
        assert not (await settle_as_before(pool, ask, verdict)).first_time
        assert await spent_and_held(pool, customer_id) == (5 * 11, 0)
        await assert_books_balance(pool)
        await fill_in(pool)
        await assert_folded_rollups_agree(pool)
    finally:
        await pool.close()


async def test_a_gateway_of_the_last_release_that_starts_again_leaves_the_new_schema_alone(
    older_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await asyncpg.connect(older_dsn)
    try:
        await migrate(connection)
        has_new_tables = any(step.name not in LAST.steps for step in steps_of(asset("schema")) if not step.repeatable)
        refusal = pytest.raises(MigrationError, match="the database is newer than this code")
        with refusal if has_new_tables else nullcontext():
            async with migrated_by_last_release(older_dsn, monkeypatch):
                pass
        now = await connection.fetch("select name, sha256 from kaixu.migration where name like 'functions/%'")
        assert {row["name"]: row["sha256"] for row in now} == digests()
    finally:
        await connection.close()


async def test_a_database_of_the_last_release_is_brought_up_to_date_with_what_is_in_it(
    older_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with migrated_by_last_release(older_dsn, monkeypatch) as connection:
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

    connection = await asyncpg.connect(older_dsn)
    needed = await migrate(connection, dry_run=True)
    assert {step.name for step in steps_of(asset("schema")) if step.name not in LAST.steps} <= set(needed)
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
