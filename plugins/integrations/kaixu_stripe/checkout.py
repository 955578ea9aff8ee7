"""Checkouts: a page of Stripe's on which a customer pays a top-up."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec

from kaixu.plugin import (
    Body,
    Call,
    Free,
    Invalid,
    KaixuError,
    Key,
    NotFound,
    Operation,
    Operator,
    Rate,
    Redirect,
    Text,
    Unprocessable,
)

from .client import ask
from .options import LEAST_CENTS, LEAST_OWN_CENTS, MOST_OWN_CENTS, StripeOptions
from .pages import Paying
from .payments import REFERENCE, Payment, begin_checkout, close, note_session
from .stripe_customer import stripe_customer
from .views import NewSession

MONTH = re.compile(r"20\d\d-(0[1-9]|1[0-2])")

#: How far away the month of a top-up may be.
MOST_MONTHS = 12

#: How long Stripe's page can be paid on. The page that the browser comes back to works twice as long.
OPEN_FOR = timedelta(hours=12)
BACK_FOR_S = 24 * 3600.0

#: Checkouts of a customer in a minute.
RATE = Rate(10, per_s=60)


class Order(msgspec.Struct):
    """A top-up as customers ask for it."""

    amount_cents: Annotated[int | float | None, Body("amount_cents", lax=True)] = None
    month: Annotated[str | None, Body("month")] = None
    save_card: Annotated[bool, Body("save_card", lax=True)] = False


class OperatorOrder(msgspec.Struct):
    """A top-up that an operator asks a customer for."""

    amount_cents: Annotated[int | float | None, Body("amount_cents", lax=True)] = None
    month: Annotated[str | None, Body("month")] = None


class Dollars(msgspec.Struct):
    """The same by a form of the dashboard, in dollars."""

    amount: Annotated[float, Body("amount", lax=True), msgspec.Meta(ge=0, le=1_000_000)]
    save_card: Annotated[bool, Body("save_card", lax=True)] = False


class Nothing(msgspec.Struct):
    """No input."""


class Ok(msgspec.Struct):
    ok: bool = True


class Checkout(msgspec.Struct):
    """Where the customer pays."""

    ok: bool
    url: str


class OperatorCheckout(msgspec.Struct):
    """Where the customer pays, and Stripe's name for it."""

    ok: bool
    url: str
    id: str


async def own(call: Call[Order]) -> Checkout:
    """A customer's own checkout."""
    cents = own_cents(call.body.amount_cents)
    _, session = await open_checkout(call, cents, month_of(call.body.month), save_card=call.body.save_card)
    return Checkout(True, session.url)


async def pay(call: Call[Dollars]) -> Redirect:
    """The same, from a form of the dashboard: the browser goes to Stripe's page."""
    try:
        cents = own_cents(round(call.body.amount * 100))
    except Invalid as error:
        raise Unprocessable(error.message, field="amount") from None
    _, session = await open_checkout(call, cents, None, save_card=call.body.save_card)
    return Redirect(session.url)


async def by_operator(call: Call[OperatorOrder]) -> OperatorCheckout:
    """A checkout that an operator makes for a customer."""
    _, session = await open_checkout(call, operator_cents(call, call.body.amount_cents), month_of(call.body.month))
    return OperatorCheckout(True, session.url, session.id)


async def address(call: Call[Dollars]) -> Text:
    """The same, from a form of the admin page: the address, to be sent to the customer."""
    cents = operator_cents(call, round(call.body.amount * 100), field="amount")
    _, session = await open_checkout(call, cents, None)
    return Text(f"Send this address to the customer; it works for {OPEN_FOR.seconds // 3600} hours:\n\n{session.url}")


async def is_there(call: Call[Nothing]) -> Ok:
    """Whether customers can pay by Stripe: pages ask."""
    return Ok()


async def open_checkout(
    call: Call[Any], amount_cents: int, month: str | None, *, save_card: bool = False
) -> tuple[Payment, NewSession]:
    """A payment of the call's customer, and its page at Stripe.

    The row is there first: whatever is lost afterwards, Stripe's events find it by its reference.
    """
    options: StripeOptions = call.options
    assert call.customer_id is not None
    customer = await call.customers.get(call.customer_id)
    if customer is None:
        raise NotFound("no such customer", field="customer_id")
    async with call.db() as db:
        payment = await begin_checkout(
            db, customer_id=customer.id, month=month, amount_cents=amount_cents, currency=options.currency
        )
    success, cancel = options.success_url, options.cancel_url
    if success is None or cancel is None:
        begun = await call.begin("paid", Paying(payment.id), lifetime_s=BACK_FOR_S)
        success, cancel = success or begun.url, cancel or begun.url
    email = customer.billing_email or customer.email
    parameters = session_parameters(payment, options, email, success, cancel)
    if save_card:
        parameters["customer"] = await stripe_customer(call, email)
        parameters["payment_intent_data"]["setup_future_usage"] = "off_session"
        parameters.pop("customer_email")
    try:
        session = await ask(
            call,
            NewSession,
            lambda client: client.v1.checkout.sessions.create(
                parameters,  # type: ignore[arg-type]
                {"idempotency_key": payment.reference},
            ),
        )
    except KaixuError as error:
        if error.code.startswith("STRIPE_"):  # refused: there will never be a session
            async with call.db() as db:
                await close(db, payment.id, "failed", error.code.lower())
        raise
    async with call.db() as db:
        await note_session(db, payment.id, session.id, session.url)
    return payment, session


def session_parameters(
    payment: Payment, options: StripeOptions, email: str, success_url: str, cancel_url: str
) -> dict[str, Any]:
    """The session as Stripe takes it. Its metadata are for people; this integration compares them and follows none."""
    metadata = {
        REFERENCE: payment.reference,
        "customer_id": str(payment.customer_id),
        "month": payment.month,
        "amount_cents": str(payment.amount_cents),
        "customer_email": email,
    }
    price = {
        "currency": payment.currency,
        "unit_amount": payment.amount_cents,
        "product_data": {"name": f"{options.product_name} ({payment.month})"},
    }
    return {
        "mode": "payment",
        "line_items": [{"quantity": 1, "price_data": price}],
        "success_url": success_url,
        "cancel_url": cancel_url,
        "client_reference_id": payment.reference,
        "customer_email": email,
        "metadata": metadata,
        "payment_intent_data": {"metadata": metadata},
        # In another currency Stripe's amount would not be the one that is credited.
        "adaptive_pricing": {"enabled": False},
        "expires_at": int((payment.created_at + OPEN_FOR).timestamp()),
    }


def own_cents(value: float | None) -> int:
    """What a customer pays. Raises `Invalid`."""
    cents = whole(value)
    if cents < LEAST_OWN_CENTS:
        raise Invalid(
            f"amount_cents must be at least {LEAST_OWN_CENTS} (min {LEAST_OWN_CENTS} cents)", field="amount_cents"
        )
    if cents > MOST_OWN_CENTS:
        raise Invalid("Top-up too large", hint=f"At most {MOST_OWN_CENTS} cents at once.", field="amount_cents")
    return cents


def operator_cents(call: Call[Any], value: float | None, *, field: str = "amount_cents") -> int:
    """What an operator asks for. Raises `Invalid`."""
    cents = whole(value)
    if cents <= 0:
        raise Invalid("amount_cents must be > 0", field=field)
    if cents < LEAST_CENTS:
        raise Invalid(f"Stripe takes no payment below {LEAST_CENTS} cents", field=field)
    if cents > call.options.most_cents:
        raise Invalid(
            "Top-up too large",
            hint=f"At most {call.options.most_cents} cents: `most_cents` in kaixu.yaml.",
            field=field,
        )
    return cents


def whole(value: float | None) -> int:
    """A whole number of cents; 0 for none. Raises `Invalid`."""
    if value is None:
        return 0
    if value != value or value in (float("inf"), float("-inf")) or int(value) != value:
        raise Invalid("amount_cents must be a whole number", field="amount_cents")
    return int(value)


def month_of(value: str | None) -> str | None:
    """The month in the first seven characters; None: the present one. Raises `Invalid`."""
    if value is None or not value.strip():
        return None
    month = value.strip()[:7]
    now = datetime.now(UTC)
    if not MONTH.fullmatch(month) or abs(count_of(month) - count_of(f"{now:%Y-%m}")) > MOST_MONTHS:
        raise Invalid("Invalid month", hint="Like 2026-11, within a year.", field="month")
    return month


def count_of(month: str) -> int:
    """A month as a number."""
    return int(month[:4]) * 12 + int(month[5:])


FREE = Free("brings money in")
OPERATIONS = [
    Operation(
        "stripe.admin.checkout", by_operator, OperatorOrder, FREE, path="/admin/checkout",
        aliases=["stripe-create-checkout"], auth=Operator(scope="money"),
    ),
    Operation(
        "stripe.admin.there", is_there, Nothing, Free("pages ask"), method="GET", path="/admin/checkout",
        aliases=["stripe-create-checkout"], auth=Operator(None),
    ),
    Operation(
        "stripe.admin.address", address, Dollars, FREE, path="/admin/checkout/address", auth=Operator(scope="money")
    ),
    Operation(
        "stripe.checkout", own, Order, FREE, path="/checkout", aliases=["user-topup-checkout"], auth=Key(),
        admission="key", rate=RATE,
    ),
    Operation("stripe.pay", pay, Dollars, FREE, path="/pay", auth=Key(), admission="key", rate=RATE),
]  # fmt: skip
