"""Migration 0059: what customers had in columns of payments is in their settings of `stripe` afterwards."""

from __future__ import annotations

import asyncpg

from kaixu.assets import asset
from tests.support.money import customer

MIGRATION = "migrations/0059_payment_fields_are_settings.sql"


async def test_the_columns_are_moved_once_and_newer_values_win(pool: asyncpg.Pool) -> None:
    everything, one, none = [await customer(pool) for _ in range(3)]
    await pool.execute(
        """
        update kaixu.customer
           set stripe_customer_id = 'cus_1', stripe_subscription_id = 'sub_1',
               stripe_current_period_end = '2026-11-30 12:00:00.5+02', auto_topup_enabled = true,
               auto_topup_threshold_nusd = 2500000000, auto_topup_amount_nusd = 10000000000
         where id = $1
        """,
        everything,
    )
    await pool.execute("update kaixu.customer set auto_topup_amount_nusd = 10000000 where id = $1", one)
    await pool.execute(
        "insert into kaixu.integration_setting (customer_id, integration, settings) values ($1, 'stripe', $2)",
        one,
        {"auto_topup_amount_cents": 7, "stripe_customer_id": "cus_2"},
    )
    for _ in range(2):
        await pool.execute((asset("schema") / MIGRATION).read_text())
        rows = await pool.fetch("select customer_id, integration, settings from kaixu.integration_setting order by 1")
        assert [tuple(row) for row in rows] == [
            (
                everything,
                "stripe",
                {
                    "stripe_customer_id": "cus_1",
                    "stripe_subscription_id": "sub_1",
                    "stripe_current_period_end": "2026-11-30T10:00:00.500Z",
                    "auto_topup_enabled": True,
                    "auto_topup_threshold_cents": 250,
                    "auto_topup_amount_cents": 1000,
                },
            ),
            (one, "stripe", {"auto_topup_amount_cents": 1, "stripe_customer_id": "cus_2"}),
        ]
    assert none not in {row["customer_id"] for row in rows}
    left = "select count(*) from kaixu.customer where stripe_customer_id is not null or auto_topup_enabled"
    assert await pool.fetchval(left) == 0
