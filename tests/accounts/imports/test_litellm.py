"""A LiteLLM database, as its published migrations make it: each row becomes what it was, or the report says why not."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg

from kaixu.accounts.imports.litellm import DAILY, KEYS, TEAMS, USERS
from kaixu.config.load import load
from kaixu.reports.reconcile import reconcile
from tests.support.other_gateways import LITELLM, litellm_hash, litellm_sql

from .conftest import Import, outcomes

DOLLAR = 10**9
MOST = 10**16


async def test_users_and_teams_become_customers_with_their_budgets(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    result = await take_over("litellm", litellm_sql(tmp_path))
    assert (result.customers.new, result.customers.already) == (9, 0)
    rows = await pool.fetch("select email, monthly_cap_nusd, is_active, allowed_models from kaixu.customer")
    assert {row["email"]: tuple(row)[1:] for row in rows} == {
        "ada@example.com": (25_500_000_000, True, None),
        "user-u-twin@litellm.invalid": (MOST, True, {"*": ["gpt-4o-mini"]}),  # the address is taken
        "user-default_user_id@litellm.invalid": (MOST, True, {}),
        "grace@example.com": (5 * DOLLAR, True, {"openai": ["*"], "*": ["claude-sonnet"]}),
        "user-u-reset@litellm.invalid": (10 * DOLLAR, True, None),
        "team-team-red@litellm.invalid": (100 * DOLLAR, True, {"*": ["gpt-4o-mini", "claude-sonnet"]}),
        "team-team-blocked@litellm.invalid": (MOST, False, None),
        "user-gone-user@litellm.invalid": (MOST, True, None),
        "nobody@litellm.invalid": (MOST, True, None),
    }
    assert outcomes(result, USERS, "user_email") == {
        ("taken", None): 2,
        ("changed", "another customer has this address: the customer gets a made-up one"): 1,
        ("changed", "it is not an address; the customer gets an address at litellm.invalid"): 1,
        ("changed", "there is none; the customer gets an address at litellm.invalid"): 1,
    }
    assert outcomes(result, TEAMS, "soft_budget") == {("dropped", "alerts have thresholds of their own"): 1}


async def test_a_key_whose_expiry_cannot_be_read_is_revoked(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    path = litellm_sql(tmp_path)
    path.write_text(re.sub(r"\t2999-[0-9: .-]+", "\t1794000000000", path.read_text()))
    result = await take_over("litellm", path)
    row = await pool.fetchrow(
        "select revoked_at is not null, expires_at from kaixu.virtual_key where key_hash = decode($1, 'hex')",
        litellm_hash(LITELLM["expires later"]),
    )
    assert row is not None
    assert tuple(row) == (True, None)
    assert outcomes(result, KEYS, "expires")["changed", "it cannot be read: the key is revoked"] == 1


async def test_keys_keep_their_hash_owner_limits_and_state(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    result = await take_over("litellm", litellm_sql(tmp_path))
    rows = await pool.fetch(
        """
        select k.key_hash, c.email, k.key_last4, k.label, k.role, k.monthly_cap_nusd, k.rpm_limit, k.allowed_models,
               k.revoked_at is not null as is_revoked, k.tpm_limit, k.day_cap_nusd, extract(year from k.expires_at)::int
          from kaixu.virtual_key k
          join kaixu.customer c on c.id = k.customer_id
        """
    )
    found = {row["key_hash"].hex(): tuple(row)[1:] for row in rows}
    ada, nobody = "ada@example.com", "nobody@litellm.invalid"
    twin, role = "user-u-twin@litellm.invalid", "deployer"
    none = (None, None, None)  # no limit of tokens, no day's cap, no expiry
    assert {name: found[litellm_hash(key)] for name, key in LITELLM.items()} == {
        "monthly": (ada, "0001", "laptop", role, 10 * DOLLAR, 12, {"*": ["gpt-4o-mini"]}, False, 4000, None, None),
        "no budget": (ada, "0002", "laptop", role, None, None, None, False, *none),
        "daily": (ada, "0003", "imported", role, None, None, None, False, None, DOLLAR, None),
        "team": ("team-team-red@litellm.invalid", "0004", "imported", role, None, 20, None, False, *none),
        "blocked": (ada, "0005", "imported", role, None, None, None, True, *none),
        "expired": (ada, "0006", "imported", role, None, None, None, False, None, None, 2020),
        "expires later": (ada, "0007", "imported", role, None, None, None, False, None, None, 2999),
        "nobody": (nobody, "0008", "imported", role, 3 * DOLLAR, None, {"openai": ["*"]}, False, *none),
        "lost user": ("user-gone-user@litellm.invalid", "0009", "imported", role, None, None, None, False, *none),
        "shared budget": (twin, "0010", "imported", role, 40 * DOLLAR, 50, None, False, 9000, None, None),
        "blocked team": ("team-team-blocked@litellm.invalid", "0011", "imported", role, None, None, None, False, *none),
        "over budget": ("grace@example.com", "0012", "imported", role, 2 * DOLLAR, 7, None, False, *none),
        "no models": (twin, "0013", "imported", role, None, None, {}, False, *none),
    }
    assert outcomes(result, KEYS, "token") == {("taken", None): 13, ("dropped", "it is not the SHA-256 of a key"): 1}


async def test_what_was_spent_counts_against_this_months_caps_and_is_in_all_books(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    result = await take_over("litellm", litellm_sql(tmp_path))
    keys = await pool.fetch(
        "select k.key_hash, m.spent_nusd from kaixu.key_month m join kaixu.virtual_key k on k.id = m.chain_id"
    )
    by_hash = {row["key_hash"].hex(): row["spent_nusd"] / DOLLAR for row in keys}
    named = {name: by_hash[hash] for name, key in LITELLM.items() if (hash := litellm_hash(key)) in by_hash}
    assert named == {"monthly": 2.5, "no budget": 1.75, "daily": 0.75, "shared budget": 6.0, "over budget": 2.0}
    customers = await pool.fetch(
        "select c.email, sum(m.spent_nusd) as spent from kaixu.customer_month m join kaixu.customer c on c.id = m.customer_id "
        "group by 1"
    )
    # Ada's keys have spent 5.00, more than the 4.25 that her budget has counted; Grace's budget has 5.00 of no key; the
    # budget of u-reset began anew long ago.
    assert {row["email"]: row["spent"] / DOLLAR for row in customers} == {
        "ada@example.com": 5.0,
        "grace@example.com": 7.0,
        "team-team-red@litellm.invalid": 12.5,
        "user-u-twin@litellm.invalid": 6.0,
    }
    assert result.spent_nusd == 30_500_000_000
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []


async def test_the_report_names_every_field_of_the_published_schema(take_over: Import, tmp_path: Path) -> None:
    path = litellm_sql(tmp_path)
    result = await take_over("litellm", path)
    named = {(one.table, one.field) for one in result.fields}
    skipped = {one.table for one in result.tables}
    for table, columns in re.findall(r'^COPY public\."(\w+)" \((.*)\) FROM stdin;$', path.read_text(), re.MULTILINE):
        if table in skipped:
            continue
        missing = {column.strip('" ') for column in columns.split(",")} - {field for of, field in named if of == table}
        assert missing == set(), table
    assert {"LiteLLM_SpendLogs", "LiteLLM_CredentialsTable", "LiteLLM_TeamMembership"} <= skipped
    assert all(one.reason for one in result.fields if one.outcome in ("changed", "dropped"))
    assert not [one for one in result.fields if one.reason and "does not know" in one.reason and one.rows]
    assert (DAILY, "spend") in named


async def test_models_become_a_part_of_kaixu_yaml_without_any_secret(take_over: Import, tmp_path: Path) -> None:
    result = await take_over("litellm", litellm_sql(tmp_path))
    assert result.lanes is not None
    assert "vendor" not in result.lanes.replace("vendor's", "")
    (tmp_path / "kaixu.yaml").write_text(result.lanes)
    lanes = load(tmp_path / "kaixu.yaml", {}).lanes
    assert {name: (lane.plugin, lane.off, list(lane.models)) for name, lane in lanes.items()} == {
        "anthropic": ("anthropic", "ANTHROPIC_API_KEY is not set", ["claude-sonnet"]),
        "hosted-vllm": ("openai", "HOSTED_VLLM_API_KEY is not set", ["house-llama"]),
        "openai": ("openai", "OPENAI_API_KEY is not set", ["embed", "gpt-4o-mini"]),
    }
    sonnet = lanes["anthropic"].models["claude-sonnet"]
    assert sonnet.upstream == "claude-sonnet-4-5"
    assert sonnet.price is not None
    assert sonnet.price.price().cached_input == 300_000_000
    assert "# LiteLLM encrypts the vendor's model name in its database: check `upstream`" in result.lanes
    assert "# Left out: bedrock-claude (bedrock)" in result.lanes
