"""Nothing that another database may hold makes an error, a terminal obey, or a cap higher than it was."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.accounts.imports import values
from kaixu.accounts.imports.budgets import cap_of
from kaixu.accounts.imports.model_lists import litellm_list, litellm_models, plain_models
from kaixu.config.load import load
from tests.support.other_gateways import one_api_db

from .conftest import Import, outcomes

ODD: list[Any] = [
    None, "", " ", "\0", "\x1b[31mred", "x" * 5_000, "NaN", "Infinity", "-1", "1e400", "99999999999999999999", -5, 2**62, 1.5,
    b"\xff\xfe", "{", '["a", 1, null, "\\ud800"]', "{a,NULL,\"b\\\"c\"}", "not a date", "9999-12-31T23:59:59.999999+00:00", "0",
    "true", '{"key": {"deep": [1]}}', "*", "a/b/c", "'; drop table x; --", "🦉", "30d", "0d", "1000000mo",
]  # fmt: skip


@pytest.mark.parametrize(
    "read",
    [values.text, values.number, values.whole, values.flag, values.moment, values.seconds, values.text_list, values.json,
     values.mapping, values.email, lambda value: values.shown(value, 40)],
)  # fmt: skip
@given(st.one_of(st.sampled_from(ODD), st.text(max_size=40), st.floats(), st.integers(), st.binary(max_size=9)))
def test_every_value_is_read_or_is_none(read: Any, value: Any) -> None:
    read(value)


@given(
    st.lists(
        st.one_of(
            st.text(max_size=12),
            st.sampled_from(["*", "all-team-models", "no-default-models", "a/*", "a/b", "/", "a/b*"]),
        )
    )
)
def test_a_list_of_models_allows_all_only_where_it_says_so(names: list[str]) -> None:
    allowed = litellm_models(names, {}).allowed
    if allowed is None:
        assert not names or {"*", "all-team-models", "all-proxy-models"} & {name.strip() for name in names}
    plain = plain_models(names).allowed
    assert plain is not None or not any(values.printable(name).strip() for name in names)


@pytest.mark.parametrize("value", ["{a", "a,b", "[1]", "{", "[", '{"a', "5", "\x01"])
def test_a_list_of_models_that_cannot_be_read_allows_none(value: str) -> None:
    assert litellm_list(value, {}) == ({}, "it cannot be read, so no model is allowed")


@pytest.mark.parametrize("value", [None, "", " ", "{}", "[]", "null", "[ ]"])
def test_a_list_of_models_without_any_allows_all(value: str | None) -> None:
    assert litellm_list(value, {}) == (None, None)


@pytest.mark.parametrize("names", [["x" * 500], ["\x01"], ["\x01", "y" * 201]])
def test_names_that_no_model_can_have_do_not_allow_all(names: list[str]) -> None:
    assert plain_models(names).allowed == {}
    assert plain_models([*names, "a"]).allowed == {"*": ["a"]}


NOW = datetime(2026, 11, 15, tzinfo=UTC)


@given(
    st.decimals("0", "100000", places=4),
    st.one_of(st.none(), st.sampled_from(["1d", "7d", "30d", "1mo", "90d", "1h", "10s", "nonsense", "0d"])),
    st.one_of(st.none(), st.decimals("0", "100000", places=4)),
)
def test_as_much_is_left_as_was_left(budget: Decimal, duration: str | None, spent: Decimal | None) -> None:
    cap = cap_of(budget, duration=duration, spent=spent, reset_at=None, this_month=None, now=NOW)
    left = values.nusd(budget) - values.nusd(spent)
    if duration == "1d":
        assert (cap.cap_nusd, cap.day_cap_nusd, cap.spent_nusd) == (None, values.nusd(budget), values.nusd(spent))
        return
    assert cap.cap_nusd is not None
    if duration in ("7d", "1h", "10s"):
        assert cap.cap_nusd >= values.nusd(budget)
        assert cap.spent_nusd == values.nusd(spent)
    else:
        assert cap.cap_nusd - cap.spent_nusd == left
    assert (cap.reason is None) == (duration == "1mo")


def test_a_budget_whose_time_is_over_has_nothing_spent() -> None:
    fields: dict[str, Any] = {"duration": "30d", "spent": Decimal(7), "this_month": Decimal(1), "now": NOW}
    assert cap_of(Decimal(10), reset_at=NOW, **fields).spent_nusd == 0
    assert cap_of(Decimal(10), reset_at=datetime(2026, 11, 16, tzinfo=UTC), **fields).spent_nusd == 7 * 10**9


def odd_litellm(path: Path) -> None:
    """A LiteLLM database in which each field of each row is one of the odd values."""
    tables = {
        "LiteLLM_UserTable": "user_id, user_email, max_budget, spend, models, rpm_limit, tpm_limit, budget_duration, budget_reset_at, more",
        "LiteLLM_TeamTable": "team_id, team_alias, blocked, max_budget, spend, models, rpm_limit, budget_duration, budget_reset_at",
        "LiteLLM_BudgetTable": "budget_id, max_budget, rpm_limit, tpm_limit, budget_duration, budget_reset_at",
        "LiteLLM_ProxyModelTable": "model_name, litellm_params, model_info",
        "LiteLLM_DailyUserSpend": "api_key, date, spend",
        "LiteLLM_VerificationToken": "user_id, team_id, key_name, key_alias, spend, expires, models, blocked, rpm_limit, tpm_limit, "
        "max_budget, budget_duration, budget_reset_at, budget_id, token",
        "odd \x1b[31m table": "a",
    }  # fmt: skip
    with sqlite3.connect(path) as db:
        for table, columns in tables.items():
            names = columns.split(", ")
            db.execute(f'create table "{table}" ({columns})')
            for at in range(len(ODD)):
                row = [ODD[(at * 7 + 3 * place) % len(ODD)] for place in range(len(names))]
                if names[-1] == "token":
                    row[-1] = f"{at:064x}"
                db.execute(f'insert into "{table}" values ({", ".join("?" * len(row))})', row)
        for params in (
            '{"model": "openai/x", "input_cost_per_token": -1}',
            '{"model": 5, "output_cost_per_token": "1e-6"}',
            "[]",
        ):
            db.execute(
                'insert into "LiteLLM_ProxyModelTable" values (?, ?, ?)', ("odd\x1b: name\n- x", params, '{"mode": 7}')
            )
        db.execute(
            'insert into "LiteLLM_VerificationToken" (token, team_id) values (?, ?)', ("f" * 64, "litellm-dashboard")
        )


async def test_odd_values_are_imported_or_reported_and_no_terminal_obeys(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    odd_litellm(tmp_path / "odd.db")
    result = await take_over("litellm", tmp_path / "odd.db")
    assert result.keys.new >= len(ODD)
    assert outcomes(result, "LiteLLM_VerificationToken", "token")["dropped", "a session of LiteLLM's pages"] == 1
    assert "\x1b" not in str(result).encode().decode("unicode_escape", "ignore")
    assert result.lanes is not None
    (tmp_path / "kaixu.yaml").write_text(result.lanes)
    load(tmp_path / "kaixu.yaml", {})
    again = await take_over("litellm", tmp_path / "odd.db")
    assert (again.customers.new, again.keys.new, again.spent_nusd) == (0, 0, 0)


async def test_odd_values_of_one_api_are_imported_or_reported(
    take_over: Import, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    path = one_api_db(tmp_path / "odd.db")
    with sqlite3.connect(path) as db:
        for at, value in enumerate(ODD):
            db.execute(
                'insert into users (id, email, quota, status, "group", username) values (?, ?, ?, ?, ?, ?)',
                (1000 + at, value, value, value, value, value),
            )
            db.execute(
                "insert into tokens (user_id, key, status, name, expired_time, remain_quota, unlimited_quota, models) "
                "values (?, ?, ?, ?, ?, ?, ?, ?)",
                (1000 + at, f"{at:048d}" if at % 3 else value, value, value, value, value, value, value),
            )
            db.execute(
                "insert into channels (type, status, base_url, models, model_mapping) values (?, 1, ?, ?, ?)",
                (value,) * 4,
            )
            db.execute("insert or ignore into options values (?, ?)", (value, value))
            db.execute(
                "insert into logs (user_id, type, quota, created_at, token_name) values (2, 2, ?, ?, ?)", (value,) * 3
            )
    result = await take_over("one-api", path)
    assert result.keys.new >= 20
    assert result.lanes is not None
    (tmp_path / "kaixu.yaml").write_text(result.lanes)
    load(tmp_path / "kaixu.yaml", {})
