"""The carrier's webhook: where a parcel is."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime

import msgspec

from kaixu.plugin import BadSignature, Call, NotConfigured, Webhook, WebhookDelivery, WebhookEvent

from .options import ParcelOptions
from .part import Part


class Moved(msgspec.Struct):
    id: str
    type: str
    tracking: str
    state: str


def verify(body: bytes, headers: Mapping[str, str], options: ParcelOptions, now: datetime) -> WebhookEvent:
    """An event of the carrier."""
    require_signature(body, headers, options, now)
    event = msgspec.json.decode(body, type=Moved)
    return WebhookEvent(event.id, event.type, object=event.tracking)


def require_signature(body: bytes, headers: Mapping[str, str], options: ParcelOptions, now: datetime) -> None:
    """Raises `BadSignature` for what the carrier has not signed within five minutes, or `NotConfigured`."""
    if options.webhook_secret is None:
        raise NotConfigured("no webhook_secret is set")
    at = headers["x-time"]
    if not hmac.compare_digest(headers["x-signature"], signature(options.webhook_secret.get_secret_value(), at, body)):
        raise BadSignature("the signature is wrong")
    if abs(now.timestamp() - int(at)) > 300:
        raise BadSignature("the signature is too old")


def signature(secret: str, at: str, body: bytes) -> str:
    """The carrier's signature of a body at a time."""
    return hmac.new(secret.encode(), at.encode() + b"." + body, "sha256").hexdigest()


async def note(call: Call[WebhookDelivery]) -> None:
    """A parcel has moved."""
    event = msgspec.json.decode(call.body.body, type=Moved)
    async with call.db() as db:
        await db.execute("update parcel set state = $2 where tracking = $1", event.tracking, event.state)


PART = Part(webhooks=[Webhook("tracking", verify, note, types=["parcel.moved"], aliases=["carrier-events"])])
