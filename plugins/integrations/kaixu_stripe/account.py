"""The customer's own view: balance, payments with their receipts, and the settings of automatic top-ups."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from kaixu.plugin import Body, Call, Clamped, Conflict, Free, Key, Operation, Query, Unprocessable

from .cards import CardView, cards_of
from .options import LEAST_OWN_CENTS, MOST_CENTS, MOST_OWN_CENTS, StripeCustomer
from .payments import COLUMNS, Payment

NUSD_PER_CENT = 10**7


class Nothing(msgspec.Struct):
    """No input."""


class AutoTopUp(msgspec.Struct):
    """The settings of automatic top-ups."""

    enabled: bool
    threshold_cents: int | None
    amount_cents: int | None


class BalanceView(msgspec.Struct):
    """What the customer has this month, in cents, rounded down; what is owed is rounded up.

    `credit_ends`: what becomes of unspent credit is said in `ends`.
    """

    month: str
    available_cents: int
    credit_cents: int
    unspent_cents: int
    debt_cents: int
    auto_topup: AutoTopUp
    cards: list[CardView]


class Most(msgspec.Struct):
    limit: Annotated[int, Query(), Clamped(1, 500, default=100)] = 100


class PaymentView(msgspec.Struct):
    """A payment. Amounts are in cents; `credited_cents` is what is left of it after refunds and disputes."""

    id: int
    kind: str
    status: str
    month: str
    amount_cents: int
    paid_cents: int
    refunded_cents: int
    disputed_cents: int
    credited_cents: int
    card_brand: str | None
    card_last4: str | None
    receipt_url: str | None
    created_at: datetime


class Payments(msgspec.Struct):
    payments: list[PaymentView]


class Change(msgspec.Struct):
    """What is to be changed; what is left out stays."""

    enabled: Annotated[bool | None, Body("enabled", lax=True)] = None
    threshold_cents: Annotated[int | None, Body("threshold_cents", lax=True)] = None
    amount_cents: Annotated[int | None, Body("amount_cents", lax=True)] = None


class DollarChange(msgspec.Struct):
    """The same by a form, in dollars."""

    enabled: Annotated[bool, Body("enabled", lax=True)] = False
    threshold: Annotated[float, Body("threshold", lax=True), msgspec.Meta(ge=0, le=1_000_000)] = 0
    amount: Annotated[float, Body("amount", lax=True), msgspec.Meta(ge=0, le=1_000_000)] = 0


async def balance(call: Call[Nothing]) -> BalanceView:
    """What the customer has, and how it is topped up."""
    settings: StripeCustomer = await call.settings()
    assert call.customer_id is not None
    async with call.db() as db:
        money = await db.balance()
        cards = await cards_of(db, call.customer_id)
    return BalanceView(
        month=money.month,
        available_cents=money.available_nusd // NUSD_PER_CENT,
        credit_cents=money.credit_nusd // NUSD_PER_CENT,
        unspent_cents=money.unspent_nusd // NUSD_PER_CENT,
        debt_cents=-(-money.debt_nusd // NUSD_PER_CENT),
        auto_topup=auto_topup_of(settings),
        cards=cards,
    )


async def payments(call: Call[Most]) -> Payments:
    """The customer's payments, the newest first."""
    async with call.db() as db:
        rows = await db.fetch(
            f"select {COLUMNS} from payment where customer_id = $1 order by id desc limit $2",  # noqa: S608
            call.customer_id, call.body.limit,
        )  # fmt: skip
    return Payments([view_of(Payment(**row)) for row in rows])


async def change(call: Call[Change]) -> AutoTopUp:
    """Change the settings of automatic top-ups. To switch them on needs a saved card, a threshold and an amount."""
    body = call.body
    require_between("threshold_cents", body.threshold_cents, 0, MOST_CENTS)
    require_between("amount_cents", body.amount_cents, LEAST_OWN_CENTS, MOST_OWN_CENTS)
    return await change_to(call, body.enabled, body.threshold_cents, body.amount_cents)


async def change_by_form(call: Call[DollarChange]) -> AutoTopUp:
    """The same from a form of the dashboard."""
    body = call.body
    amount = round(body.amount * 100)
    if body.enabled or amount:
        require_between("amount", amount, LEAST_OWN_CENTS, MOST_OWN_CENTS)
    return await change_to(call, body.enabled, round(body.threshold * 100), amount or None)


async def change_to(
    call: Call[Change] | Call[DollarChange], enabled: bool | None, threshold: int | None, amount: int | None
) -> AutoTopUp:
    """Make the change. Raises `Conflict` without a card, `Unprocessable` without a threshold or an amount."""
    assert call.customer_id is not None
    before: StripeCustomer = await call.settings()
    after = auto_topup_of(before)
    after.enabled = after.enabled if enabled is None else enabled
    after.threshold_cents = after.threshold_cents if threshold is None else threshold
    after.amount_cents = after.amount_cents if amount is None else amount
    if after.enabled:
        for name, value in (("threshold_cents", after.threshold_cents), ("amount_cents", after.amount_cents)):
            if value is None:
                raise Unprocessable(f"automatic top-ups need `{name}`", field=name)
        async with call.db() as db:
            cards = await cards_of(db, call.customer_id)
        if not cards or before.stripe_customer_id is None:
            raise Conflict(
                "there is no saved card", hint="Pay once with `save_card`, then switch automatic top-ups on."
            )
    await call.change_settings(
        {
            "auto_topup_enabled": after.enabled,
            "auto_topup_threshold_cents": after.threshold_cents,
            "auto_topup_amount_cents": after.amount_cents,
        }
    )
    return after


def auto_topup_of(settings: StripeCustomer) -> AutoTopUp:
    """The part of the settings that customers change themselves."""
    return AutoTopUp(settings.auto_topup_enabled, settings.auto_topup_threshold_cents, settings.auto_topup_amount_cents)


def require_between(field: str, cents: int | None, least: int, most: int) -> None:
    """Raises `Unprocessable`."""
    if cents is not None and not least <= cents <= most:
        raise Unprocessable(f"`{field}` must be from ${least / 100:,.2f} to ${most / 100:,.2f}", field=field)


def view_of(payment: Payment) -> PaymentView:
    """A payment as its customer sees it."""
    return PaymentView(**{name: getattr(payment, name) for name in PaymentView.__struct_fields__})


OWN = Free("one's own account")
OPERATIONS = [
    Operation(
        "stripe.balance", balance, Nothing, OWN, method="GET", path="/balance", auth=Key(), admission="key"
    ),
    Operation("stripe.payments", payments, Most, OWN, method="GET", path="/payments", auth=Key(), admission="key"),
    Operation(
        "stripe.auto", change, Change, OWN, method="PUT", path="/auto-topup", auth=Key("admin"), admission="key"
    ),
    Operation(
        "stripe.auto.form", change_by_form, DollarChange, OWN, path="/auto-topup/form", auth=Key("admin"),
        admission="key",
    ),
]  # fmt: skip
