"""`user-events` at the database."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from kaixu.plugin.types import Usage
from kaixu.reports.own_events import own_events
from kaixu.reports.own_key import Credential
from kaixu.store.pool import open_pool
from tests.support.calls import billed
from tests.support.money import customer, virtual_key


@pytest.mark.parametrize("asked", [{}, {"app": "shop"}, {"from": "now-24h"}], ids=["month", "app", "time"])
async def test_a_page_is_planned_for_its_filters(pool: asyncpg.Pool, dsn: str, asked: dict[str, Any]) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    await billed(pool, key_id, Usage(input_tokens=3))
    one_connection = await open_pool(dsn, most=1, least=1)
    for _ in range(8):
        await own_events(one_connection, Credential(None, None, key_id), asked)
    plans = "select sum(generic_plans) from pg_prepared_statements where statement like $1"
    assert await one_connection.fetchval(plans, "%kaixu.usage_event e%") == 0
    one_connection.terminate()
