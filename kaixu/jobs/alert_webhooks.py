"""Deliver signed alerts to webhooks: the operator's, and customers' own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from time import time
from typing import TYPE_CHECKING

import asyncpg

from kaixu.accounts.alert_webhooks import unsealed_url
from kaixu.ops.sealing import Sealer
from kaixu.ops.tasks import Tasks
from kaixu.plugin.errors import DatabaseAway
from kaixu.store.webhook_deliveries import (
    DueCustomerDelivery,
    DueDelivery,
    claim_customer_deliveries,
    claim_deliveries,
    record_abandoned,
    record_delivered,
    record_failed,
)

from .alert_receivers import AlertReceivers, WebhookReceiver
from .webhook_guard import AddressGuard
from .webhook_sender import Message, WebhookSender
from .webhook_signing import alert_headers, customer_secrets, signed_headers

if TYPE_CHECKING:
    import aiohttp


class AlertWebhooks:
    """The outbox of one of the operator's webhooks: rows of `kaixu.webhook_delivery`. See `webhook_sender.Outbox`.

    Any address is allowed: the URL is the operator's own.
    """

    def __init__(self, pool: asyncpg.Pool, receiver: WebhookReceiver) -> None:
        self.pool = pool
        self.receiver = receiver

    async def claim(self, *, lease_s: float, most: int) -> list[DueDelivery]:
        """Alerts that are due."""
        return await claim_deliveries(self.pool, self.receiver.name, lease_s=lease_s, most=most)

    def message(self, row: DueDelivery) -> Message:
        """The stored body, signed."""
        return Message(
            what=f"alert {row.event}",
            url=self.receiver.url,
            headers=alert_headers(self.receiver.key, row.id, int(time()), row.body),
            body=row.body,
        )

    def refusal(self, url: str) -> str | None:
        """Every address is allowed."""
        return None

    def connector(self, *, limit: int) -> aiohttp.TCPConnector:
        """To any address."""
        import aiohttp

        return aiohttp.TCPConnector(limit=limit, force_close=True)

    async def delivered(self, row: DueDelivery) -> None:
        """See `Outbox.delivered`."""
        await record_delivered(self.pool, row)

    async def failed(self, row: DueDelivery, *, error: str, retry_in_s: float | None) -> None:
        """See `Outbox.failed`."""
        await record_failed(self.pool, row, error=error, retry_in_s=retry_in_s)


class CustomerAlertWebhooks:
    """The outbox of customers' own webhooks for alerts; private addresses are blocked. See `webhook_sender.Outbox`."""

    def __init__(self, pool: asyncpg.Pool, sealer: Sealer, secrets: Sequence[str], guard: AddressGuard) -> None:
        self.pool = pool
        self.sealer = sealer
        self.secrets = secrets
        self.guard = guard

    async def claim(self, *, lease_s: float, most: int) -> list[DueCustomerDelivery]:
        """Alerts that are due, at most one for each customer."""
        return await claim_customer_deliveries(self.pool, lease_s=lease_s, most=most)

    def message(self, row: DueCustomerDelivery) -> Message:
        """The stored body, signed with the customer's secret. Raises `InvalidTag`."""
        url = "" if row.url is None else unsealed_url(self.sealer, row.customer_id, row.url)
        headers = signed_headers(customer_secrets(self.secrets, row.customer_id), row.id, int(time()), row.body)
        return Message(what=f"customer {row.customer_id}'s alert {row.event}", url=url, headers=headers, body=row.body)

    def refusal(self, url: str) -> str | None:
        """Why nothing may be sent to `url`, or None."""
        return self.guard.refusal(url) if url else "the customer has no webhook any more"

    def connector(self, *, limit: int) -> aiohttp.TCPConnector:
        """To public addresses only, unless kaixu.yaml allows private ones."""
        return self.guard.connector(limit=limit)

    async def delivered(self, row: DueCustomerDelivery) -> None:
        """See `Outbox.delivered`."""
        await record_delivered(self.pool, row)

    async def failed(self, row: DueCustomerDelivery, *, error: str, retry_in_s: float | None) -> None:
        """See `Outbox.failed`. Without a URL there is nothing to try again, and no receiver that fails."""
        if row.url is None:
            await record_abandoned(self.pool, row, error=error)
        else:
            await record_failed(self.pool, row, error=error, retry_in_s=retry_in_s)


class AlertDelivery:
    """One gateway's deliveries to all receivers, each in a task of its own: one that hangs delays no other."""

    def __init__(
        self, pool: asyncpg.Pool, receivers: AlertReceivers, customers: CustomerAlertWebhooks, tasks: Tasks
    ) -> None:
        self.pool = pool
        self.receivers = receivers
        self.customers = WebhookSender(customers)
        self.tasks = tasks
        self.busy: set[str] = set()

    async def round(self) -> None:
        """Start a delivery to each of the operator's receivers to which none runs."""
        for receiver in self.receivers.webhooks():
            if receiver.name not in self.busy:
                self.busy.add(receiver.name)
                ended = partial(self.busy.discard, receiver.name)
                self.tasks.spawn(self.deliver(receiver), f"alerts to {receiver.name}", ended=ended)

    async def deliver(self, receiver: WebhookReceiver) -> None:
        """Deliver what is due at one receiver. Without a database it waits for the next round."""
        with suppress(DatabaseAway):
            await WebhookSender(AlertWebhooks(self.pool, receiver)).round()

    async def customers_round(self) -> None:
        """Deliver what is due at customers' own webhooks. Raises `DatabaseAway`."""
        await self.customers.round()
