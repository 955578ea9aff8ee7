"""Money in: the cashier's webhook tells of payments, and the customer is credited, each payment once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from kaixu.plugin import Call, Free, Operation, Webhook, WebhookDelivery, WebhookEvent

from .options import ParcelOptions
from .part import Part
from .tracking import require_signature


class Paid(msgspec.Struct):
    id: str
    type: str
    payment: str
    customer: int
    cents: Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000)]


class Nothing(msgspec.Struct):
    """No input."""


class Account(msgspec.Struct):
    credit_nusd: int
    debt_nusd: int
    payments: int


def verify(body: bytes, headers: Mapping[str, str], options: ParcelOptions, now: datetime) -> WebhookEvent:
    """An event of the cashier; those of one customer are handled one at a time."""
    require_signature(body, headers, options, now)
    event = msgspec.json.decode(body, type=Paid)
    return WebhookEvent(event.id, event.type, object=str(event.customer))


async def credit(call: Call[WebhookDelivery]) -> None:
    """Credit what was paid, or take back what was returned (negative), with a row of our own."""
    paid = msgspec.json.decode(call.body.body, type=Paid)
    async with call.db() as db:
        await db.execute(
            "insert into payment (id, customer_id, cents) values ($1, $2, $3) on conflict do nothing",
            paid.payment, paid.customer, paid.cents,
        )  # fmt: skip
        await db.credit(paid.customer, paid.cents * 10**7, key=paid.payment, reference=paid.payment)
    if paid.cents < 0:
        call.note("warn", "a payment was returned", payment=paid.payment)


async def account(call: Call[Nothing]) -> Account:
    """What the customer has; free, so that one who owes can look."""
    async with call.db() as db:
        payments = await db.fetchval("select count(*) from payment where customer_id = $1", call.customer_id)
        balance = await db.balance()
    return Account(balance.credit_nusd, balance.debt_nusd, payments)


PART = Part(
    operations=[Operation("parcel.money", account, Nothing, Free("one's own"), method="GET", path="/money")],
    webhooks=[Webhook("payments", verify, credit, types=["payment.received", "payment.returned"])],
)
