"""Automatic top-ups: a saved card is charged when the balance falls below the customer's threshold.

A reaction of the gateway says that it happened, once for each crossing. The job that pays has the crossing's id in its
row and as Stripe's idempotency key, so it pays once, however often it runs; those of a customer run one at a time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from kaixu.plugin import Balance, Call, Crossing, FailedCall, Free, Job, Reaction, Retry, UpstreamError

from .client import GONE, REFUSED, REPEATED, Declined, ask
from .facts import ASKS_CUSTOMER
from .letters import cannot_pay, confirm, too_many_today
from .options import StripeCustomer
from .payments import REFERENCE, Payment, begin_auto, close, note_intent, of_crossing, undecided_auto
from .settlement import FORGOTTEN, settle
from .views import BriefIntent

if TYPE_CHECKING:
    from stripe import StripeClient

#: When a crossing is looked at again because the payment before it is not decided yet.
LOOK_AGAIN_S = 900.0

#: An idempotency key may be used again for this long; a little less than Stripe keeps it.
MAY_REPEAT = FORGOTTEN - timedelta(hours=4)


class TopUp(msgspec.Struct):
    """One crossing. `cap_nusd`: the cap with credits at that moment, where a cap was reached."""

    crossing: UUID
    cap_nusd: int | None = None


class Outcome(msgspec.Struct):
    """What became of it."""

    outcome: str


async def react(call: Call[Crossing]) -> None:
    """Something has crossed: enqueue the payment, one at a time for a customer."""
    if not (await call.settings()).auto_topup_enabled:
        return  # a cap is reached by all kinds of customers
    reached = call.body.cap_nusd if call.body.on == "cap_reached" else None
    await call.enqueue(
        "stripe.topup",
        TopUp(call.body.id, reached),
        key=str(call.body.id),
        serial=f"top-up {call.customer_id}",
    )


async def top_up(call: Call[TopUp]) -> Outcome:
    """Charge the saved card, if that is still wanted. Stripe's refusals are handled; else it is tried again."""
    assert call.customer_id is not None
    payment = await claim(call)
    if isinstance(payment, Outcome):
        return payment
    if payment.status in ("declined", "authentication"):  # an event was faster than Stripe's answer
        await refuse(call, payment, Declined(payment.reason or payment.status, payment.payment_intent))
    if payment.status not in ("creating", "pending"):
        return Outcome(payment.status)
    if payment.payment_intent is None:
        refused = await charge(call, payment)
        if refused is not None:
            return refused
    settled = await settle(call, payment.id)
    if settled.status == "authentication":
        await refuse(call, payment, Declined("authentication_required", settled.payment_intent))
    elif settled.status == "declined":
        await refuse(call, payment, Declined(settled.reason or "card_declined", settled.payment_intent))
    elif settled.status == "creating" and not await is_still_wanted(call):
        async with call.db() as db:  # should Stripe have charged nevertheless, its event credits it
            await close(db, payment.id, "failed", "not_wanted")
    return Outcome(settled.status)


async def claim(call: Call[TopUp]) -> Payment | Outcome:
    """The payment of this crossing, made now if it is still wanted and the day's bound has room."""
    assert call.customer_id is not None
    async with call.db() as db:
        known = await of_crossing(db, call.body.crossing)
    if known is not None:
        return known
    if not await is_still_wanted(call):
        return Outcome("not wanted any more")
    settings: StripeCustomer = await call.settings()
    async with call.db() as db:
        card = await db.fetchval("select id from card where customer_id = $1 limit 1", call.customer_id)
        earlier = await undecided_auto(db, call.customer_id)
    if card is None or settings.stripe_customer_id is None:
        await stop(call, None, "no_card")
        return Outcome("no card")
    if earlier is not None:
        await settle(call, earlier.id)
        await call.rearm(LOOK_AGAIN_S)
        return Outcome("the one before is not decided yet")
    assert settings.auto_topup_amount_cents is not None
    async with call.db() as db:
        payment = await begin_auto(
            db,
            customer_id=call.customer_id,
            crossing=call.body.crossing,
            amount_cents=settings.auto_topup_amount_cents,
            currency=call.options.currency,
            most_per_day=call.options.auto_topups_per_day,
        )
        if payment is not None:
            return payment
        left_s = await db.fetchval(
            "select extract(epoch from date_trunc('day', now() at time zone 'UTC') + interval '1 day' "
            "- now() at time zone 'UTC')::float8"
        )
        await too_many_today(db, call.options.auto_topups_per_day)
    call.note("warn", "a customer has reached the day's bound of automatic top-ups", customer_id=call.customer_id)
    await call.rearm(left_s)
    return Outcome("the day's bound is reached")


async def is_still_wanted(call: Call[TopUp]) -> bool:
    """Whether the card should be charged now: also before each further attempt, which may be an hour later."""
    assert call.customer_id is not None
    settings: StripeCustomer = await call.settings()
    customer = await call.customers.get(call.customer_id)
    if customer is None or not customer.is_active:
        return False
    async with call.db() as db:
        return is_wanted(call.body, settings, await db.balance())


def is_wanted(crossing: TopUp, settings: StripeCustomer, balance: Balance) -> bool:
    """Whether a top-up is still wanted: somebody may have paid, or changed the settings, meanwhile."""
    threshold = settings.auto_topup_threshold_cents
    if not settings.auto_topup_enabled or threshold is None or settings.auto_topup_amount_cents is None:
        return False
    if crossing.cap_nusd is not None:  # a call was refused, or the cap is spent: unless there is more by now
        return balance.cap_nusd + balance.credit_nusd <= crossing.cap_nusd
    return balance.cap_nusd + balance.credit_nusd - balance.spent_nusd < threshold * 10**7


async def charge(call: Call[TopUp], payment: Payment) -> Outcome | None:
    """Charge the card at Stripe. None: it has answered, and the payment intent is noted."""
    settings: StripeCustomer = await call.settings()
    async with call.db() as db:
        card = await db.fetchval(
            "select id from card where customer_id = $1 order by created_at desc, id limit 1", call.customer_id
        )
        is_young = await db.fetchval(
            "select created_at > now() - $2::interval from payment where id = $1", payment.id, MAY_REPEAT
        )
    # An earlier attempt may have charged it: settling looks for that. Later, Stripe has forgotten the idempotency key.
    if not is_young or not await is_still_wanted(call):
        return None
    if card is None or settings.stripe_customer_id is None:
        await stop(call, payment, "no_card")
        return Outcome("no card")
    parameters = intent_parameters(payment, settings.stripe_customer_id, card, call.options.product_name)

    def work(client: StripeClient) -> object:
        return client.v1.payment_intents.create(parameters, {"idempotency_key": payment.reference})  # type: ignore[arg-type]

    try:
        intent = await ask(call, BriefIntent, work)
    except Declined as declined:
        await refuse(call, payment, declined)
        return Outcome("declined")
    except UpstreamError as error:
        if error.code == REPEATED:  # an earlier attempt was made with another card: settling looks for it
            return None
        if error.code not in (REFUSED, GONE):
            raise
        # The card, or the whole customer, was removed at Stripe.
        await stop(call, payment, error.code.lower())
        return Outcome("no card")
    async with call.db() as db:
        await note_intent(db, payment.id, intent.id)
    return None


def intent_parameters(payment: Payment, customer: str, card: str, name: str) -> dict[str, Any]:
    """The payment intent as Stripe takes it."""
    return {
        "amount": payment.amount_cents,
        "currency": payment.currency,
        "customer": customer,
        "payment_method": card,
        "off_session": True,
        "confirm": True,
        "description": f"{name} ({payment.month}), automatic",
        "metadata": {
            REFERENCE: payment.reference,
            "customer_id": str(payment.customer_id),
            "month": payment.month,
            "amount_cents": str(payment.amount_cents),
        },
    }


async def refuse(call: Call[TopUp], payment: Payment, declined: Declined) -> None:
    """The card was not charged: ask the customer, or stop automatic top-ups, and tell them."""
    if declined.intent is not None:
        async with call.db() as db:
            await note_intent(db, payment.id, declined.intent)
    if declined.code in ASKS_CUSTOMER:
        async with call.db() as db:
            await close(db, payment.id, "authentication", declined.code)
            await confirm(db, payment)
        call.note("info", "a bank asks for an automatic top-up to be confirmed", payment=payment.reference)
        return
    await stop(call, payment, declined.code)


async def stop(call: Call[TopUp], payment: Payment | None, reason: str) -> None:
    """Switch automatic top-ups off, and tell the customer and the operator: all of it, or nothing."""
    async with call.db() as db:
        if payment is not None:
            await close(db, payment.id, "declined", reason)
        await db.change_settings({"auto_topup_enabled": False})
        await cannot_pay(db, str(call.body.crossing), payment, reason)
    call.note("warn", "automatic top-ups were switched off", reason=reason, customer_id=call.customer_id)


async def give_up(call: FailedCall[TopUp]) -> None:
    """Stripe did not work for as long as it was tried. The sweep goes on asking whether the card was charged."""
    async with call.db() as db:
        await db.execute(
            "update payment set reason = $2, updated_at = now() where crossing = $1 and status = 'creating'",
            call.body.crossing, call.error[:100],
        )  # fmt: skip


TOP_UP = Job(
    "stripe.topup", top_up, TopUp, Free("charges the customer's card"), retry=Retry(10, 10, 600), timeout_s=60,
    on_failed=give_up,
)  # fmt: skip
REACTIONS = [
    Reaction("balance_below", react, "tops up", threshold="auto_topup_threshold_cents", enabled="auto_topup_enabled"),
    Reaction("cap_reached", react, "tops up"),
]
