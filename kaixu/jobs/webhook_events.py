"""Receive webhooks of vendors: verified, stored once, and handled by a job."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import asyncpg
import msgspec

from kaixu.catalog.catalog import IntegrationState
from kaixu.metering.webhook_events import new_event
from kaixu.metering.webhook_verify import verify_webhook
from kaixu.ops.sealing import Sealer
from kaixu.plugin.webhook import Webhook, WebhookDelivery
from kaixu.store.pool import database
from kaixu.store.webhook_events import store_event

from .payloads import unseal


async def receive_webhook(
    pool: asyncpg.Pool,
    sealer: Sealer,
    state: IntegrationState,
    webhook: Webhook,
    body: bytes,
    headers: Mapping[str, str],
    request_id: str,
) -> bool:
    """Store the event of a webhook with the job that handles it; whether that was done now.

    An event that was stored before, or of a type that the webhook does not list, is accepted without any effect. Raises
    `BadSignature`, what else the plugin raises as a `KaixuError`, and `DatabaseAway`.
    """
    event = verify_webhook(state, webhook, body, headers)
    stored = new_event(sealer, state.name, webhook, event, body, request_id)
    if stored is None:
        return False
    with database():
        return await store_event(pool, stored)


def delivery_of(sealer: Sealer, job_id: UUID, payload: bytes) -> WebhookDelivery:
    """The event and the body of a stored webhook. Raises `InvalidTag` for another secret."""
    return msgspec.json.decode(unseal(sealer, job_id, "payload", payload), type=WebhookDelivery)
