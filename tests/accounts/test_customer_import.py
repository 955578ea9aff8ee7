"""An import creates and changes by addresses, may be repeated, and says of each line what became of it."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from kaixu.accounts.customer_csv import csv_lines, read_lines
from kaixu.accounts.customer_import import Imported, Importer
from kaixu.accounts.customer_list import customer_page
from kaixu.accounts.key_material import key_hash
from kaixu.accounts.plans import apply_plans
from kaixu.config.plans_section import PlanSection

from .conftest import By

FILE = b"""email,plan_name,monthly_cap_cents,is_active,allowed_providers
ada@example.com,pro,500,,
Bob@Example.com,,,false,"up, down"
,pro,,,
not an address,,,,
carol@example.com,,many,,
ada@EXAMPLE.com,basic,,,
"""


async def imported(pool: asyncpg.Pool, by: By, content: bytes, **fields: Any) -> list[Imported]:
    """The outcomes of a file."""
    importer = Importer(pool, **{"default_cap_nusd": 10**9, "pepper": "p", "dry_run": False, **by, **fields})
    return [one async for one in importer.run(read_lines(content))]


async def test_each_line_is_created_or_refused_with_a_reason(pool: asyncpg.Pool, by: By) -> None:
    done = await imported(pool, by, FILE)
    assert [(one.line, one.outcome) for one in done] == [
        (2, "created"),
        (3, "created"),
        (4, "refused"),
        (5, "refused"),
        (6, "refused"),
        (7, "refused"),
    ]
    assert [one.why for one in done if one.why] == [
        "`email` is missing",
        "`email` is not an email address",
        "`monthly_cap_cents` must be a whole number",
        "line 2 has the same address",
    ]
    rows = await pool.fetch(
        "select email, plan_name, monthly_cap_nusd, is_active, allowed_providers from kaixu.customer order by id"
    )
    assert [tuple(row) for row in rows] == [
        ("ada@example.com", "pro", 5 * 10**9, True, None),
        ("bob@example.com", "starter", 10**9, False, ["up", "down"]),
    ]


async def test_the_same_file_again_changes_nothing_and_another_one_what_differs(pool: asyncpg.Pool, by: By) -> None:
    await imported(pool, by, FILE)
    audited = await pool.fetchval("select count(*) from kaixu.audit_event")
    assert [one.outcome for one in await imported(pool, by, FILE)][:2] == ["unchanged", "unchanged"]
    assert await pool.fetchval("select count(*) from kaixu.audit_event") == audited
    done = await imported(pool, by, b"email,allowed_providers\nbob@example.com,none\nada@example.com,\n")
    assert [one.outcome for one in done] == ["changed", "unchanged"]
    assert await pool.fetchval("select count(*) from kaixu.customer where allowed_providers is null") == 2


async def test_fields_of_payments_are_settings_of_their_integration(pool: asyncpg.Pool, by: By) -> None:
    file = b"email,stripe_customer_id,auto_topup_enabled,auto_topup_amount_cents\nada@example.com,cus_1,true,500\n"
    assert [one.outcome for one in await imported(pool, by, file)] == ["created"]
    assert [one.outcome for one in await imported(pool, by, file)] == ["unchanged"]
    stored = await pool.fetchrow("select integration, settings from kaixu.integration_setting")
    assert tuple(stored or ()) == (
        "stripe",
        {"stripe_customer_id": "cus_1", "auto_topup_enabled": True, "auto_topup_amount_cents": 500},
    )
    more = b"email,stripe_customer_id,auto_topup_enabled,auto_topup_amount_cents\nada@example.com,,,none\nbob@example.com,cus_1,,\n"
    done = await imported(pool, by, more)
    assert [(one.outcome, one.why) for one in done] == [
        ("changed", None),
        ("refused", "another customer has this `stripe_customer_id`"),
    ]
    assert await pool.fetchval("select settings ? 'auto_topup_amount_cents' from kaixu.integration_setting") is False
    assert await pool.fetchval("select count(*) from kaixu.customer") == 1


async def test_a_dry_run_says_the_same_and_does_nothing(pool: asyncpg.Pool, by: By) -> None:
    keys: list[Any] = []
    dry = await imported(pool, by, FILE, dry_run=True, keep_key=lambda *one: keys.append(one))
    assert (keys, await pool.fetchval("select count(*) from kaixu.customer")) == ([], 0)
    assert await pool.fetchval("select count(*) from kaixu.audit_event") == 0
    real = await imported(pool, by, FILE)
    assert [(one.line, one.outcome, one.why) for one in dry] == [(one.line, one.outcome, one.why) for one in real]


async def test_an_export_read_into_another_database_is_the_same_there(pool: asyncpg.Pool, by: By) -> None:
    plans = {"pro": PlanSection(devices=3, cap=7), "starter": PlanSection(rpm=5)}  # type: ignore[arg-type]
    await apply_plans(pool, plans)
    await imported(pool, by, b"email,plan_name\nplanned@example.com,pro\n")
    await imported(pool, by, FILE)
    before = (await customer_page(pool, {"sort": "id", "order": "asc"})).customers
    text = csv_lines(before)
    assert {one.outcome for one in await imported(pool, by, text.encode())} == {"unchanged"}
    await pool.execute("delete from kaixu.customer")
    assert {one.outcome for one in await imported(pool, by, text.encode())} == {"created"}
    after = (await customer_page(pool, {"sort": "id", "order": "asc"})).customers
    assert csv_lines(after) == text
    assert [row.from_plan for row in after] == [row.from_plan for row in before]


async def test_a_key_is_written_before_it_exists_and_issued_once(pool: asyncpg.Pool, by: By) -> None:
    kept: list[tuple[str, int, str]] = []

    def keep(email: str, customer_id: int, key: str) -> None:
        kept.append((email, customer_id, key))

    done = await imported(pool, by, FILE, keep_key=keep)
    assert [one.has_key for one in done] == [True, True, False, False, False, False]
    assert not any(one.has_key for one in await imported(pool, by, FILE, keep_key=keep))
    rows = await pool.fetch("select customer_id, key_hash, role from kaixu.virtual_key order by id")
    assert [tuple(row) for row in rows] == [(customer, key_hash("p", key), "owner") for _, customer, key in kept]


async def test_a_disk_that_is_full_issues_no_key(pool: asyncpg.Pool, by: By) -> None:
    def full(email: str, customer_id: int, key: str) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        await imported(pool, by, FILE, keep_key=full)
    assert await pool.fetchval("select count(*) from kaixu.virtual_key") == 0
    kept: list[Any] = []
    await imported(pool, by, FILE, keep_key=lambda *one: kept.append(one))
    assert len(kept) == 2, "the next import issues what was not"
