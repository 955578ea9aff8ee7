"""Stripe's webhook: signed events, of which only the names of objects are believed; Stripe is asked for the rest."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from kaixu.plugin import BadSignature, Call, KaixuError, UpstreamError, Webhook, WebhookDelivery, WebhookEvent

from .client import ask
from .options import StripeOptions
from .payments import REFERENCE, find_payment, note_session
from .settlement import settle
from .views import BriefIntent

#: How far the time of a signature may be from ours, in either direction.
TOLERANCE_S = 300

#: The events that are about payments.
TYPES = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "charge.refunded",
    "charge.refund.updated",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
)


class Thing(msgspec.Struct):
    """The object of an event, as far as it says which payment it is about."""

    id: str
    object: str
    payment_intent: str | None = None
    metadata: dict[str, str] | None = None

    @property
    def reference(self) -> str | None:
        """Our reference in the metadata. A `client_reference_id` is chosen by who opens a payment link."""
        return (self.metadata or {}).get(REFERENCE)

    @property
    def intent(self) -> str | None:
        """The payment intent that it is about."""
        return self.id if self.object == "payment_intent" else self.payment_intent


class Data(msgspec.Struct):
    object: Thing


class Event(msgspec.Struct):
    """An event of Stripe."""

    id: str
    type: str
    created: int
    data: Data


class Kind(msgspec.Struct):
    """An event whose object is not looked at."""

    id: str
    type: str
    created: int


def verify(body: bytes, headers: Mapping[str, str], options: StripeOptions, now: datetime) -> WebhookEvent:
    """The event in a body that Stripe has signed within five minutes."""
    header = headers.get("stripe-signature")
    if not header:
        raise BadSignature("Missing stripe-signature")
    if not is_signed(body, header, options.webhook_secrets, now):
        raise BadSignature("Webhook signature verification failed")
    try:
        kind = msgspec.json.decode(body, type=Kind)
        if kind.type not in TYPES:
            return WebhookEvent(kind.id, kind.type)
        return event_of(msgspec.json.decode(body, type=Event))
    except msgspec.MsgspecError:
        raise BadSignature("the body is not an event of Stripe") from None


def event_of(event: Event) -> WebhookEvent:
    """How the gateway stores an event: those of one payment are handled one after another."""
    thing = event.data.object
    about = thing.reference or thing.intent or thing.id
    return WebhookEvent(event.id, event.type, object=about, time=datetime.fromtimestamp(event.created, UTC))


def is_signed(body: bytes, header: str, secrets: list[str], now: datetime) -> bool:
    """Whether one of the secrets has signed the body at about this time: "t=…,v1=…", with several v1 in a rotation.

    A signature of the future is refused as an old one is: it would be valid for longer than it should.
    """
    pairs = [pair.strip().partition("=") for pair in header[:4000].split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1 or not times[0].isascii() or not times[0].isdigit() or len(times[0]) > 12:
        return False
    if abs(now.timestamp() - int(times[0])) > TOLERANCE_S:
        return False
    given = [value for name, _, value in pairs if name == "v1"][:20]
    right = [hmac.new(one.encode(), times[0].encode() + b"." + body, hashlib.sha256).hexdigest() for one in secrets]
    matches = [hmac.compare_digest(one.encode(), other.encode()) for one in given for other in right]
    return any(matches)


async def handle(call: Call[WebhookDelivery]) -> None:
    """Settle the payment that an event is about. An event that is about none of ours is dropped."""
    try:
        event = msgspec.json.decode(call.body.body, type=Event)
    except msgspec.MsgspecError:
        raise UpstreamError("the event cannot be read") from None
    payment_id = await payment_of(call, event.data.object)
    if payment_id is None:
        return
    async with call.db() as db:
        await db.execute(
            """
            insert into event (id, type, payment_id) values ($1, $2, $3)
            on conflict (id) do update set attempts = event.attempts + 1
            """,
            event.id, event.type, payment_id,
        )  # fmt: skip
    try:
        await settle(call, payment_id)
    except KaixuError as error:
        async with call.db() as db:
            await db.execute("update event set error = $2 where id = $1", event.id, error.code)
        raise
    async with call.db() as db:
        await db.execute(
            "update event set handled_at = coalesce(handled_at, now()), error = null where id = $1", event.id
        )


async def payment_of(call: Call[Any], thing: Thing) -> int | None:
    """The payment that an object of Stripe is about. None: none of ours.

    A session that is not noted yet, because its event was faster than the answer that made it, is noted here.
    """
    session_id = thing.id if thing.object == "checkout.session" else None
    async with call.db() as db:
        found = await find_payment(db, reference=thing.reference, session_id=session_id, payment_intent=thing.intent)
        if found is not None and session_id is not None:
            await note_session(db, found, session_id, None)
    if found is not None or thing.intent is None or session_id is not None:
        return found
    # A dispute has no metadata: its payment intent has.
    intent = thing.intent
    known = await ask(call, BriefIntent, lambda client: client.v1.payment_intents.retrieve(intent))
    reference = known.metadata.get(REFERENCE)
    if reference is None:
        return None
    async with call.db() as db:
        return await find_payment(db, reference=reference)


EVENTS = Webhook("events", verify, handle, types=TYPES, aliases=["stripe-webhook"], reply="ok")
