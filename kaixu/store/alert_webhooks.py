"""Customers' own webhooks for alerts."""

from __future__ import annotations

from datetime import datetime

import msgspec

from .query import Connection, Query


class AlertWebhook(msgspec.Struct, frozen=True):
    """A customer's webhook; its URL is sealed."""

    customer_id: int
    url: bytes
    updated_at: datetime


WEBHOOK = Query(AlertWebhook, "select customer_id, url, updated_at from kaixu.alert_webhook where customer_id = $1")


async def alert_webhook(db: Connection, customer_id: int) -> AlertWebhook | None:
    """A customer's webhook for alerts."""
    return await WEBHOOK.one(db, customer_id)


async def set_alert_webhook(db: Connection, customer_id: int, url: bytes) -> None:
    """Write a customer's webhook; the caller has locked the customer. Earlier failures are another receiver's."""
    await db.execute(
        """
        insert into kaixu.alert_webhook (customer_id, url) values ($1, $2)
        on conflict (customer_id) do update set url = excluded.url, updated_at = clock_timestamp()
        """,
        customer_id,
        url,
    )
    await forget_failures(db, customer_id)


async def remove_alert_webhook(db: Connection, customer_id: int) -> None:
    """Remove a customer's webhook, and give up what waits for it."""
    await db.execute("delete from kaixu.alert_webhook where customer_id = $1", customer_id)
    await db.execute(
        """
        update kaixu.webhook_delivery
           set next_attempt_at = null, last_error = 'the webhook was removed'
         where destination = 'customer:' || $1::bigint and next_attempt_at is not null
        """,
        customer_id,
    )
    await forget_failures(db, customer_id)


async def forget_failures(db: Connection, customer_id: int) -> None:
    """Begin anew with a customer's webhook."""
    await db.execute("delete from kaixu.receiver_failure where receiver = 'customer:' || $1::bigint", customer_id)
