"""Make what is stored of an event that a webhook brings, or that a schedule feeds in: the event and its job."""

from __future__ import annotations

from uuid import uuid4

import msgspec

from kaixu.catalog.webhooks import kind_of
from kaixu.ops.sealing import Sealer, about_job
from kaixu.plugin.webhook import Webhook, WebhookDelivery, WebhookEvent
from kaixu.store.jobs import NewJob
from kaixu.store.webhook_events import NewEvent


def new_event(
    sealer: Sealer, integration: str, webhook: Webhook, event: WebhookEvent, body: bytes, request_id: str
) -> NewEvent | None:
    """The event and the job that handles it; None: it is of a type that the webhook does not list."""
    if webhook.types is not None and event.type not in webhook.types:
        return None
    job_id, kind = uuid4(), kind_of(integration, webhook)
    payload = msgspec.json.encode(WebhookDelivery(event, body))
    job = NewJob(
        id=job_id,
        kind=kind,
        customer_id=None,
        key_id=None,
        install_id=None,
        request_id=request_id,
        payload=sealer.seal(payload, about_job(job_id, "payload")),
        provider=integration,
        model=kind,
        most_attempts=webhook.attempts,
    )
    return NewEvent(webhook.name, event.id, event.type, event.object, event.time, job)
