"""Databases of one-api and new-api: users with a balance become customers with a cap, tokens become keys."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from kaixu.accounts.imports.one_api import TOKENS, USERS
from kaixu.accounts.imports.run import System
from kaixu.accounts.key_material import key_hash
from kaixu.config.load import load
from kaixu.reports.reconcile import reconcile
from tests.support.other_gateways import ONE_API, one_api_db

from .conftest import PEPPER, Import, outcomes

CENT = 10**7


async def keys_of(pool: asyncpg.Pool) -> dict[str, tuple[object, ...]]:
    """The keys, by their names in the test's data."""
    rows = await pool.fetch(
        """
        select k.key_hash, k.label, k.monthly_cap_nusd, k.allowed_models, k.revoked_at is not null as is_revoked,
               coalesce(m.spent_nusd, 0) as spent
          from kaixu.virtual_key k
          left join kaixu.key_month m on m.chain_id = k.chain_id
        """
    )
    names = {key_hash(PEPPER, f"sk-{key}"): name for name, key in ONE_API.items()}
    return {names.get(row["key_hash"], row["label"]): tuple(row)[2:] for row in rows}


@pytest.mark.parametrize("system", ["one-api", "new-api"])
async def test_balances_become_caps_and_keys_keep_their_hash(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path, system: System
) -> None:
    is_new = system == "new-api"
    result = await take_over(system, one_api_db(tmp_path / "one-api.db", is_new_api=is_new))
    customers = await pool.fetch(
        "select c.email, c.plan_name, c.monthly_cap_nusd, c.is_active, s.settings ->> 'stripe_customer_id'"
        "  from kaixu.customer c"
        "  left join kaixu.integration_setting s on s.customer_id = c.id and s.integration = 'stripe'"
    )
    assert {row["email"]: tuple(row)[1:] for row in customers} == {
        f"user-1@{system}.invalid": ("default", 10**16, True, None),
        # $2.00 are left, $0.35 were spent this month.
        "ada@example.com": ("vip", 235 * CENT, True, "cus_7" if is_new else None),
        "grace@example.com": ("default", 0, False, None),
        f"user-99@{system}.invalid": (system, 0, False, None),
    }
    some = {"*": ["gpt-4o-mini", "ok"]}
    half = 50 * CENT
    expected = {
        "limited": (75 * CENT, None, False, 25 * CENT),
        "unlimited": (None, None, False, 0),
        "models": (half, some, False, 0),
        "disabled": (half, None, True, 0),
        "expired": (half, None, False, 0),
        "exhausted": (half, None, True, 0),
        "used up": (0, None, False, 0),
        "of nobody": (half, None, False, 0),
        "deleted": (half, None, False, 0),
        "earlier spend": (None, {}, True, 10 * CENT),  # of a token that is gone
    }
    if is_new:
        del expected["deleted"]
    assert await keys_of(pool) == expected
    assert result.spent_nusd == 35 * CENT
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []
    expiring = await pool.fetch(
        "select extract(year from expires_at)::int from kaixu.virtual_key where expires_at is not null"
    )
    assert sorted(row[0] for row in expiring) == [2017, 2096]
    assert outcomes(result, TOKENS, "expired_time") == {("taken", None): 2}
    assert ("changed", "it is disabled or deleted: the customer is inactive") in outcomes(result, USERS, "status")


@pytest.mark.parametrize("system", ["one-api", "new-api"])
async def test_the_report_names_every_field_and_shows_no_secret(
    take_over: Import, tmp_path: Path, system: System
) -> None:
    result = await take_over(system, one_api_db(tmp_path / "one-api.db", is_new_api=system == "new-api"))
    named = {(one.table, one.field) for one in result.fields}
    assert {
        ("users", "quota"),
        ("tokens", "key"),
        ("channels", "key"),
        ("options", "SMTPToken"),
        ("logs", "content"),
    } <= named
    assert not [one for one in result.fields if one.reason and "does not know" in one.reason and one.rows]
    assert [one.table for one in result.tables] == ["abilities"]
    shown = str(result)
    assert not any(secret in shown for secret in ("sk-", "smtp-secret", *ONE_API.values()) if secret != "sk-")
    assert "sk-vendor" not in shown


async def test_channels_become_lanes_and_ratios_prices(take_over: Import, tmp_path: Path) -> None:
    result = await take_over("one-api", one_api_db(tmp_path / "one-api.db"))
    assert result.lanes is not None
    (tmp_path / "kaixu.yaml").write_text(result.lanes)
    lanes = load(tmp_path / "kaixu.yaml", {}).lanes
    model = lanes["openai"].models["gpt-4o-mini"]
    assert model.price is not None
    assert (model.price.input, model.price.output) == (Decimal("0.15"), Decimal("0.6"))
    # Two channels serve it: clients go on sending its name alone, and both are used.
    assert [(one.lane, one.upstream) for one in model.deployments] == [
        ("openai", "gpt-4o-mini-2024-07-18"),
        ("openai-2", "gpt-4o-mini"),
    ]
    assert lanes["openai-2"].options["base_url"] == "https://ai.example.com/v1"
    assert lanes["openai"].models["text-embedding-3-small"].price is not None


async def test_a_quota_that_is_worth_something_else_is_converted(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    path = one_api_db(tmp_path / "one-api.db")
    with sqlite3.connect(path) as db:
        db.execute("insert into options values ('QuotaPerUnit', '1000000')")
    await take_over("one-api", path)
    assert (
        await pool.fetchval("select monthly_cap_nusd from kaixu.customer where email = 'ada@example.com'")
        == 1_175_000_000
    )
