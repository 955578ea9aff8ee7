"""A customer's own webhook for alerts: set by an operator, stored encrypted, every change in the audit log."""

from __future__ import annotations

from urllib.parse import urlsplit

import asyncpg
from cryptography.exceptions import InvalidTag

from kaixu.config.gateway_section import JobsSection
from kaixu.ops.sealing import Sealer
from kaixu.plugin.errors import Conflict, Unprocessable
from kaixu.store import alert_webhooks as store
from kaixu.store import customers
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.pool import database

from . import fields
from .customers import no_customer

MOST_URL = 2000


def about(customer_id: int) -> str:
    """The purpose under which a customer's URL is sealed."""
    return f"customer:{customer_id}:alert-webhook"


def unsealed_url(sealer: Sealer, customer_id: int, sealed: bytes) -> str:
    """The URL. Raises `InvalidTag` if it was sealed with another key."""
    return sealer.open(sealed, about(customer_id)).decode()


def webhook_url(value: object, field: str, section: JobsSection) -> str | None:
    """A URL for a customer's webhook; None for null and blank. The address behind it is checked at each delivery.

    Raises `Unprocessable`.
    """
    url = fields.text(value, field, MOST_URL)
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.hostname) and parts.port != 0 and not parts.username and url.isascii() and " " not in url
    except ValueError:
        is_valid = False
    schemes = ("https", "http") if section.webhook_http else ("https",)
    if not is_valid or parts.scheme not in schemes:
        raise Unprocessable(f"`{field}` must be a URL with {' or '.join(schemes)}", field=field)
    return url


def shown_url(url: str) -> str:
    """A URL without what may be secret in it: its path and query."""
    parts = urlsplit(url)
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}/…"


async def find_alert_webhook(pool: asyncpg.Pool, sealer: Sealer, customer_id: int) -> str | None:
    """A customer's webhook, without what may be secret in it; None: there is none. Raises `NotFound`, `Conflict`."""
    with database():
        if await customers.customer(pool, customer_id) is None:
            raise no_customer(customer_id)
        row = await store.alert_webhook(pool, customer_id)
    try:
        return None if row is None else shown_url(unsealed_url(sealer, customer_id, row.url))
    except InvalidTag:
        raise Conflict(
            f"the webhook of customer {customer_id} was encrypted with another DB_ENCRYPTION_KEY", hint="Set it again."
        ) from None


async def set_alert_webhook(
    pool: asyncpg.Pool, sealer: Sealer, customer_id: int, url: str | None, *, actor: str, request_id: str
) -> None:
    """Set a customer's webhook, or remove it with None. Raises `NotFound`."""
    with database():
        async with pool.acquire() as connection, connection.transaction():
            if await customers.locked_customer(connection, customer_id) is None:
                raise no_customer(customer_id)
            before = await store.alert_webhook(connection, customer_id)
            if before is None and url is None:
                return
            if url is None:
                await store.remove_alert_webhook(connection, customer_id)
            else:
                await store.set_alert_webhook(connection, customer_id, sealer.seal(url.encode(), about(customer_id)))
            await write_audit(
                connection,
                AuditEvent(
                    actor,
                    "ALERT_WEBHOOK_REMOVE" if url is None else "ALERT_WEBHOOK_SET",
                    f"customer:{customer_id}",
                    request_id,
                    None if before is None else {"webhook": "set"},
                    None if url is None else {"webhook": shown_url(url)},
                ),
            )
