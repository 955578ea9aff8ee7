"""Verify a webhook with the function of its integration."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from kaixu.catalog.catalog import IntegrationState
from kaixu.ops.clock import utc_now
from kaixu.plugin.errors import BadSignature, KaixuError, UpstreamError
from kaixu.plugin.webhook import Webhook, WebhookEvent

log = logging.getLogger(__name__)

#: Characters of an event's id, type and object.
MOST_NAME = 255


def verify_webhook(state: IntegrationState, webhook: Webhook, body: bytes, headers: Mapping[str, str]) -> WebhookEvent:
    """The event in a body. Raises what the plugin raises as a `KaixuError`; anything else is a `BadSignature`."""
    try:
        event = webhook.verify(body, headers, state.options, utc_now())
    except KaixuError:
        raise
    except Exception as error:
        log.info("webhook %s of integration %s: %s", webhook.name, state.name, type(error).__name__)
        raise BadSignature("the webhook cannot be verified") from error
    if not isinstance(event, WebhookEvent):
        raise UpstreamError(
            f"webhook `{webhook.name}` has no event", hint="Tell your operator.", code="INTEGRATION_FAILED"
        )
    require_names(event)
    return event


def require_names(event: WebhookEvent) -> None:
    """Raises `BadSignature` for an event without an id or a type, or with something that cannot be stored."""
    names: list[tuple[str, object]] = [("id", event.id), ("type", event.type)]
    if event.object is not None:
        names.append(("object", event.object))
    for what, name in names:
        if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME or not name.isprintable():
            raise BadSignature(f"the event's {what} must have 1 to {MOST_NAME} printable characters")
    time: object = event.time
    if time is not None and not isinstance(time, datetime):
        raise BadSignature("the event's time must be a datetime")
