"""Deliver signed alerts to the operator's webhook."""

from __future__ import annotations

import aiohttp
import asyncpg

from kaixu.store.alerts import ALERTS
from kaixu.store.webhook_deliveries import DueDelivery, claim_deliveries, record_delivered, record_failed

from .webhook_sender import Message
from .webhook_signing import alert_headers


class AlertWebhooks:
    """The outbox of alerts: rows of `kaixu.webhook_delivery`. See `webhook_sender.Outbox`.

    Any address is allowed: the URL is the operator's own, from the environment.
    """

    def __init__(self, pool: asyncpg.Pool, *, url: str, key: str) -> None:
        self.pool = pool
        self.url = url
        self.key = key

    async def claim(self, *, lease_s: float, most: int) -> list[DueDelivery]:
        """Alerts that are due."""
        return await claim_deliveries(self.pool, ALERTS, lease_s=lease_s, most=most)

    def message(self, row: DueDelivery) -> Message:
        """The stored body, signed."""
        return Message(
            what=f"alert {row.event}", url=self.url, headers=alert_headers(self.key, row.body), body=row.body
        )

    def refusal(self, url: str) -> str | None:
        """Every address is allowed."""
        return None

    def connector(self, *, limit: int) -> aiohttp.TCPConnector:
        """To any address."""
        return aiohttp.TCPConnector(limit=limit, force_close=True)

    async def delivered(self, row: DueDelivery) -> None:
        """See `Outbox.delivered`."""
        await record_delivered(self.pool, row)

    async def failed(self, row: DueDelivery, *, error: str, retry_in_s: float | None) -> None:
        """See `Outbox.failed`."""
        await record_failed(self.pool, row, error=error, retry_in_s=retry_in_s)
