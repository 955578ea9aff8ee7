"""Runs imports into the test's own database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kaixu.accounts.imports.run import ImportOptions, ImportResult, System, import_accounts

PEPPER = "key-pepper-for-tests-0123456789"

Import = Callable[..., Awaitable[ImportResult]]


@pytest.fixture
def take_over(pool: asyncpg.Pool) -> Import:
    """`kaixu import SYSTEM WHERE` in the test's database."""

    async def run(system: System, where: Path | str, **options: Any) -> ImportResult:
        chosen = ImportOptions(system, str(where), options.pop("name", system), **options)
        return await import_accounts(pool, chosen, pepper=PEPPER, actor="admin", request_id="request-1")

    return run


def outcomes(result: ImportResult, table: str, field: str) -> dict[tuple[str, str | None], int]:
    """The rows of a field's outcomes, by outcome and reason."""
    return {(one.outcome, one.reason): one.rows for one in result.fields if (one.table, one.field) == (table, field)}


async def everything(pool: asyncpg.Pool) -> dict[str, list[tuple[Any, ...]]]:
    """What an import can change, for comparing."""
    tables = {
        "customer": "id, email, monthly_cap_nusd, is_active, allowed_models",
        "virtual_key": "id, customer_id, key_hash, label, monthly_cap_nusd, rpm_limit, revoked_at",
        "usage_event": "ticket, customer_id, key_id, cost_nusd, book",
        "customer_month": "customer_id, month, book, spent_nusd",
        "key_month": "chain_id, month, book, spent_nusd",
        "imported": "source, kind, source_hash, customer_id, key_id",
        "audit_event": "action, target",
        "price": "provider, model",
    }
    return {
        table: [tuple(row) for row in await pool.fetch(f"select {columns} from kaixu.{table} order by 1, 2")]
        for table, columns in tables.items()
    } | {"usage_change": [(await pool.fetchval("select count(*) from kaixu.usage_change"),)]}
