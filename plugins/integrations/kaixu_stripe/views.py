"""The part of Stripe's objects that this integration reads; whatever else they have is ignored."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Card(msgspec.Struct):
    """What may be shown of a card."""

    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None


class PaymentMethod(msgspec.Struct):
    id: str
    card: Card | None = None
    customer: str | None = None


class PaidWith(msgspec.Struct):
    card: Card | None = None


class Charge(msgspec.Struct):
    id: str
    amount_refunded: int = 0
    disputed: bool = False
    receipt_url: str | None = None
    payment_method_details: PaidWith | None = None


class PaymentError(msgspec.Struct):
    code: str | None = None


class Intent(msgspec.Struct):
    """A payment intent, with its charge and its card."""

    id: str
    status: str
    currency: str
    amount: int
    amount_received: int = 0
    customer: str | None = None
    metadata: dict[str, str] = {}
    latest_charge: Charge | None = None
    payment_method: PaymentMethod | None = None
    setup_future_usage: str | None = None
    last_payment_error: PaymentError | None = None


class BriefIntent(msgspec.Struct):
    """A payment intent whose other objects are only named."""

    id: str
    status: str
    metadata: dict[str, str] = {}


class Session(msgspec.Struct):
    """A checkout session, with its payment intent."""

    id: str
    payment_status: str
    status: str | None = None
    amount_total: int | None = None
    currency: str | None = None
    client_reference_id: str | None = None
    payment_intent: Intent | None = None
    metadata: dict[str, str] = {}


class NewSession(msgspec.Struct):
    """A checkout session that was just made: its page is at `url`."""

    id: str
    url: str


class Dispute(msgspec.Struct):
    id: str
    status: str
    amount: int
    currency: str
    reason: str = ""


class Customer(msgspec.Struct):
    id: str
    deleted: bool = False


class Named(msgspec.Struct):
    """Any object."""

    id: str


class Listing(msgspec.Struct, Generic[T]):
    """One page of a list."""

    data: list[T]
    has_more: bool = False
