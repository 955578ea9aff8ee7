"""Alerts that were told: each once a month, whichever replica sees it first."""

from __future__ import annotations

from datetime import date

import asyncpg


async def claim_alert(pool: asyncpg.Pool, *, customer_id: int, chain_id: int, month: date, alert: str) -> bool:
    """Whether this alert is ours to tell; False when it has been told."""
    claimed = await pool.fetchval(
        """
        insert into kaixu.alert_sent (customer_id, chain_id, month, alert)
        values ($1, $2, $3, $4)
        on conflict do nothing
        returning true
        """,
        customer_id,
        chain_id,
        month,
        alert,
    )
    return claimed is not None
