"""An import changes what it says, once: repeated, interrupted, several at a time, or only tried."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from datetime import date
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import pytest

from kaixu.accounts.imports import run as imports
from kaixu.accounts.imports.litellm import KEYS
from kaixu.ops.change_origin import CHANGE_ORIGIN, ChangeOrigin
from kaixu.plugin.errors import Unprocessable
from kaixu.reports.reconcile import reconcile
from kaixu.store import invoices
from kaixu.store.rollups import fold_usage
from tests.support.money import customer, virtual_key
from tests.support.other_gateways import LITELLM, litellm_hash, litellm_sql, one_api_db
from tests.support.size import size

from .conftest import Import, everything, outcomes


async def test_a_repeated_import_changes_nothing(take_over: Import, pool: asyncpg.Pool, tmp_path: Path) -> None:
    path = litellm_sql(tmp_path)
    first = await take_over("litellm", path)
    before = await everything(pool)
    again = await take_over("litellm", path)
    assert (again.customers.new, again.customers.already) == (0, first.customers.new)
    assert (again.keys.new, again.keys.already, again.spent_nusd) == (0, first.keys.new, 0)
    assert await everything(pool) == before
    # What was spent there since is not booked again either: calls are counted here by now.
    path.write_text(path.read_text().replace("\t2.5\t", "\t9.5\t"))
    await take_over("litellm", path)
    assert await everything(pool) == before


async def test_a_dry_run_says_the_same_and_changes_nothing(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    path = litellm_sql(tmp_path)
    before = await everything(pool)
    tried = await take_over("litellm", path, dry_run=True)
    assert await everything(pool) == before
    done = await take_over("litellm", path)
    assert (tried.customers, tried.keys, tried.spent_nusd, tried.fields, tried.lanes) == (
        done.customers,
        done.keys,
        done.spent_nusd,
        done.fields,
        done.lanes,
    )


async def test_an_interrupted_import_leaves_whole_batches_and_is_continued(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = litellm_sql(tmp_path)
    monkeypatch.setattr(imports, "BATCH", 4)
    plain = imports.Run.book

    async def failing(self: imports.Run, spent: Any) -> None:
        await plain(self, spent)
        if len(self.ids) and self.key_counts.new >= 4:
            raise asyncio.CancelledError

    monkeypatch.setattr(imports.Run, "book", failing)
    with pytest.raises(asyncio.CancelledError):
        await take_over("litellm", path)
    keys = await pool.fetchval("select count(*) from kaixu.virtual_key")
    assert keys % 4 == 0
    assert 0 < keys < 15
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []
    monkeypatch.setattr(imports.Run, "book", plain)
    result = await take_over("litellm", path)
    assert (result.keys.new, result.keys.already) == (15 - keys, keys)
    assert await pool.fetchval("select sum(spent_nusd) from kaixu.customer_month") == 30_500_000_000


async def test_imports_at_the_same_time_make_each_row_once(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    path = litellm_sql(tmp_path)
    results = await asyncio.gather(*(take_over("litellm", path) for _ in range(4)))
    assert sum(one.customers.new for one in results) == 9
    assert sum(one.keys.new for one in results) == 15
    assert sum(one.spent_nusd for one in results) == 30_500_000_000
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []


async def test_new_keys_of_a_later_dump_are_added_to_their_customers(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    path = litellm_sql(tmp_path)
    whole = path.read_text()
    later = litellm_hash(LITELLM["no budget"])
    path.write_text("".join(line for line in whole.splitlines(keepends=True) if not line.startswith(later)))
    await take_over("litellm", path)
    path.write_text(whole)
    # On the first of a month, and the day after, limits of customers that are here already know a sum of that day.
    await pool.execute(
        "insert into kaixu.limit_use (customer_id, subject, day, day_spent_nusd)"
        " select m.customer_id, 'customer', m.month, m.spent_nusd from kaixu.customer_month m where m.book = 'import'"
    )
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []
    result = await take_over("litellm", path)
    assert (result.customers.new, result.keys.new, result.spent_nusd) == (0, 1, 1_750_000_000)
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []


async def test_a_customer_that_was_deleted_here_does_not_come_back(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    path = litellm_sql(tmp_path)
    whole = path.read_text()
    later = litellm_hash(LITELLM["no budget"])
    path.write_text("".join(line for line in whole.splitlines(keepends=True) if not line.startswith(later)))
    await take_over("litellm", path)
    await pool.execute("update kaixu.customer set deleted_at = now() where email = 'ada@example.com'")
    path.write_text(whole)
    result = await take_over("litellm", path)
    assert (result.customers.new, result.keys.new, result.keys.refused, result.spent_nusd) == (0, 0, 1, 0)


async def test_rows_that_are_here_already_stay_as_they_are(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    mine = await customer(pool)
    await pool.execute("update kaixu.customer set email = 'grace@example.com' where id = $1", mine)
    key_id, _ = await virtual_key(pool, mine)
    taken = litellm_hash(LITELLM["monthly"])
    await pool.execute("update kaixu.virtual_key set key_hash = $2 where id = $1", key_id, bytes.fromhex(taken))
    result = await take_over("litellm", litellm_sql(tmp_path))
    assert result.keys.refused == 1
    assert outcomes(result, KEYS, "key") == {
        ("dropped", "a key with this hash is here already, or its customer was deleted here"): 1
    }
    owner = await pool.fetchval("select customer_id from kaixu.virtual_key where key_hash = $1", bytes.fromhex(taken))
    assert owner == mine
    emails = [row["email"] for row in await pool.fetch("select email from kaixu.customer where email like '%grace%'")]
    assert sorted(emails) == [
        "grace@example.com",
        *(one for one in emails if one.startswith("user-grace-example.com-")),
    ]


async def test_two_sources_of_one_kind_are_told_apart_by_their_names(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    first, second = one_api_db(tmp_path / "one.db"), one_api_db(tmp_path / "two.db")
    with sqlite3.connect(second) as db:
        db.execute("update tokens set key = 'B' || substr(key, 2)")
    await take_over("one-api", first, name="berlin")
    result = await take_over("one-api", second, name="paris")
    assert (result.customers.new, result.keys.new) == (4, 10)
    for name in ("", "Upper", "a b", "x" * 41, "a@b", "-a"):
        with pytest.raises(Unprocessable):
            await take_over("one-api", first, name=name)


async def test_what_was_spent_elsewhere_is_on_no_invoice(take_over: Import, pool: asyncpg.Pool, tmp_path: Path) -> None:
    await take_over("litellm", litellm_sql(tmp_path))
    while await fold_usage(pool, most=1000):
        pass
    month: date = await pool.fetchval("select date_trunc('month', now() at time zone 'UTC')::date")
    ids = [row["id"] for row in await pool.fetch("select id from kaixu.customer")]
    assert await pool.fetchval("select count(*) from kaixu.customer_month where spent_nusd > 0") == 4
    for customer_id in ids:
        assert [one for one in await invoices.FIGURES.all(pool, customer_id, month) if one.amount_nusd] == []
    later = date(month.year + 1, month.month, 1)
    assert await invoices.DUE.all(pool, later, 0, date(2000, 1, 1), 100) == []
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []


async def test_every_customer_and_key_is_in_the_audit_log_without_its_hash(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    token = CHANGE_ORIGIN.set(ChangeOrigin(actor="cli"))  # as for every command
    try:
        await take_over("litellm", litellm_sql(tmp_path))
    finally:
        CHANGE_ORIGIN.reset(token)
    rows = await pool.fetch("select actor, action, after::text as after, meta from kaixu.audit_event order by id")
    assert [row["action"] for row in rows] == ["CUSTOMER_CREATE"] * 9 + ["KEY_CREATE"] * 15
    assert {(row["actor"], str(row["meta"])) for row in rows} == {("cli", "{'import': 'litellm'}")}
    shown = "".join(row["after"] for row in rows)
    assert not any(litellm_hash(key) in shown for key in LITELLM.values())


def large_litellm(path: Path, keys: int) -> None:
    """A LiteLLM database as SQLite with many users and keys."""
    with sqlite3.connect(path) as db:
        db.execute('create table "LiteLLM_UserTable" (user_id, user_email, max_budget, spend)')
        db.execute('create table "LiteLLM_VerificationToken" (token, user_id, max_budget, spend, budget_duration)')
        users = max(1, keys // 5)
        db.executemany(
            'insert into "LiteLLM_UserTable" values (?, ?, 1000, 3)',
            ((f"user-{at}", f"user{at}@example.com") for at in range(users)),
        )
        db.executemany(
            "insert into \"LiteLLM_VerificationToken\" values (?, ?, 10, 0.5, '30d')",
            ((hashlib.sha256(f"sk-{at}".encode()).hexdigest(), f"user-{at % users}") for at in range(keys)),
        )


async def test_many_keys_are_imported_in_a_reasonable_time(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    keys = size(2_000, 100_000)
    large_litellm(tmp_path / "large.db", keys)
    began = monotonic()
    result = await take_over("litellm", tmp_path / "large.db")
    print(f"{keys} keys in {monotonic() - began:.1f} s")
    users = keys // 5
    # Each user's budget has counted 3.00, its five keys 2.50: the rest is on a revoked key of its own.
    assert (result.customers.new, result.keys.new, result.revoked_keys) == (users, keys + users, users)
    assert result.spent_nusd == users * 3 * 10**9
    again = await take_over("litellm", tmp_path / "large.db")
    assert (again.customers.new, again.keys.new, again.keys.already) == (0, 0, keys + users)
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []
