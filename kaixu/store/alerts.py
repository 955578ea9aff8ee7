"""Alerts that were raised: each once a month, by the first gateway that notices."""

from __future__ import annotations

from datetime import date

from .query import Connection

#: The destination of alerts in `kaixu.webhook_delivery`.
ALERTS = "alerts"


async def claim_alert(
    db: Connection, *, customer_id: int, chain_id: int, month: date, alert: str, webhook_body: bytes | None
) -> bool:
    """Claim an alert; whether it is ours to raise. False: another gateway has raised it.

    The same statement queues `webhook_body` for delivery, so a crash after it loses nothing. None: no webhook.
    """
    claimed = await db.fetchval(
        """
        with claimed as (
            insert into kaixu.alert_sent (customer_id, chain_id, month, alert)
            values ($1, $2, $3, $4)
            on conflict do nothing
            returning alert
        ), queued as (
            insert into kaixu.webhook_delivery (destination, event, body)
            select $5, c.alert, $6 from claimed c where $6::bytea is not null
        )
        select true from claimed
        """,
        customer_id,
        chain_id,
        month,
        alert,
        ALERTS,
        webhook_body,
    )
    return claimed is not None
