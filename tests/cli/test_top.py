"""`kaixu top` compares customers, keys, models, lanes and deployments by what they spent."""

from __future__ import annotations

import json
from pathlib import Path

import asyncpg
import pytest

from kaixu.plugin.types import Usage
from tests.support.calls import billed
from tests.support.kaixu import run_kaixu
from tests.support.money import customer, virtual_key


@pytest.mark.parametrize("what", ["customers", "keys", "models", "lane", "deployment"])
@pytest.mark.parametrize("options", [(), ("--since", "24h"), ("--order", "calls", "--limit", "1")])
async def test_the_largest_are_first(
    pool: asyncpg.Pool, dsn: str, tmp_path: Path, what: str, options: tuple[str, ...]
) -> None:
    for tokens in (10, 1000):
        key_id, _ = await virtual_key(pool, await customer(pool))
        await billed(pool, key_id, Usage(input_tokens=tokens))
    environment = {"DATABASE_URL": dsn, "KAIXU_HOME": str(tmp_path)}
    result = run_kaixu("top", what, *options, "--json", environment=environment, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)["rows"]
    spent = [float(row["spent_usd"]) for row in rows]
    assert rows
    if "--order" not in options:
        assert spent == sorted(spent, reverse=True)
        total = await pool.fetchval("select sum(cost_nusd)::bigint from kaixu.usage_event")
        assert round(sum(spent) * 1e9) == total
    text = run_kaixu("top", what, *options, environment=environment, folder=tmp_path)
    assert text.returncode == 0
    assert "spent usd" in text.stdout
