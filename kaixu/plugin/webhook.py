"""Webhooks of vendors: how one is verified, and what its handler gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

#: The largest body of a webhook.
MOST_WEBHOOK_BYTES = 1024 * 1024


class WebhookEvent(msgspec.Struct, frozen=True):
    """One event of a vendor.

    `id` is the vendor's, unique within the integration: an event is handled once. Events of the same `object` are
    handled one at a time, in the order in which they were received; None: in any order. `time`: when it happened.
    """

    id: str
    type: str
    object: str | None = None
    time: datetime | None = None


class WebhookDelivery(msgspec.Struct, frozen=True):
    """What the handler of a webhook gets as `call.body`: the event, and the body that it came in."""

    event: WebhookEvent
    body: bytes = b""


#: Reads an event from a body, the headers by name in lower case, the options of the integration, and the time now.
Verify = Callable[[bytes, Mapping[str, str], Any, datetime], WebhookEvent]


class Webhook(msgspec.Struct, frozen=True):
    """An endpoint for a vendor's events: `POST /v1/<integration>/webhooks/<name>`.

    `verify` checks the signature and reads the event. It may not have side effects, and raises `BadSignature` for a
    wrong one, `NotConfigured` while the options lack what it needs. `handler` gets a `Call` without a customer, in a
    job, after the vendor has got its answer; what it returns is dropped. `types`: the types that are handled, None:
    all; others are accepted and forgotten. `aliases`: paths below `/api/` and `/.netlify/functions/`. `reply`: the
    plain text that the vendor gets for an event that is accepted; None: JSON that says whether it was stored.
    """

    name: str
    verify: Verify
    handler: Callable[[Any], Awaitable[Any]]
    types: Sequence[str] | None = None
    aliases: Sequence[str] = ()
    attempts: int = 10
    timeout_s: float = 60.0
    reply: str | None = None
