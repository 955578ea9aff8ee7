"""Settlement: a customer is credited for a payment what Stripe says, whoever asks, how often, and in whatever order.

What is booked is always the difference to what was booked before, in one statement. So events may be repeated, late,
lost, or come in another order. A reading of Stripe that began earlier than one that is booked already is dropped: it
would bring back what has changed in between.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from kaixu.plugin import Call, Database, Free, Job, NotFound, Retry

from .cards import note_card
from .facts import Facts, facts_of
from .payments import COLUMNS, Payment, Which, close, payment_of, reading_of

NUSD_PER_CENT = 10**7

#: After this time Stripe has forgotten an idempotency key, and a payment that it does not know was never made.
FORGOTTEN = timedelta(hours=24)


class Settled(msgspec.Struct):
    """How a payment stands now."""

    payment_id: int
    status: str
    credited_cents: int


async def settle(call: Any, payment_id: int) -> Payment:
    """Ask Stripe about a payment, and credit the difference. Raises `NotFound`, and what Stripe's errors become."""
    async with call.db() as db:
        payment = await reading_of(db, payment_id)
        age = await db.fetchval("select now() - created_at from payment where id = $1", payment_id)
    facts = await facts_of(call, payment)
    if facts is None:
        return await never_began(call, payment, age)
    try:
        async with call.db() as db:
            booked = await apply(db, payment, facts)
    except NotFound:
        if facts.due_cents <= payment.credited_cents:
            return payment  # given back after the customer was deleted: there is nothing to take it from
        # The customer was deleted meanwhile: nobody can be credited, and the operator has to give the money back.
        async with call.db() as db:
            await db.execute(
                "update payment set status = 'no_customer', updated_at = now() where id = $1 and credited_cents = 0",
                payment_id,
            )
        call.note("error", "a deleted customer has paid: refund it at Stripe", payment=payment.reference)
        return msgspec.structs.replace(payment, status="no_customer")
    if booked is None:
        async with call.db() as db:  # a later reading was faster: the row has what it has found
            return await payment_of(db, payment_id)
    if (booked.status, booked.credited_cents) != (payment.status, payment.credited_cents):
        for note in notes_of(booked, facts):
            call.note("warn", note, payment=payment.reference, customer_id=payment.customer_id)
    return booked


async def apply(db: Database, payment: Payment, facts: Facts) -> Payment | None:
    """Book what a reading has found, in the caller's transaction. None: a later one was booked before."""
    due = facts.due_cents
    row = await db.fetchrow(
        f"""
        update payment
           set applied = $2, status = $3, session_id = coalesce(session_id, $4),
               payment_intent = coalesce($5, payment_intent), paid_cents = $6, refunded_cents = $7, disputed_cents = $8,
               change_cents = $9 - credited_cents, bookings = bookings + (credited_cents <> $9)::integer,
               credited_cents = $9, reason = coalesce($10, reason), receipt_url = coalesce($11, receipt_url),
               card_brand = coalesce($12, card_brand), card_last4 = coalesce($13, card_last4), updated_at = now()
         where id = $1 and applied < $2
        returning {COLUMNS}, change_cents, bookings
        """,  # noqa: S608
        payment.id, payment.reading, facts.status, facts.session_id, facts.payment_intent, facts.paid_cents,
        facts.refunded_cents, facts.disputed_cents, due, facts.reason, facts.receipt_url,
        None if facts.card is None else facts.card.brand, None if facts.card is None else facts.card.last4,
    )  # fmt: skip
    if row is None:
        return None
    values = dict(row)
    change_cents, bookings = values.pop("change_cents"), values.pop("bookings")
    booked = Payment(**values)
    for one in facts.disputes:
        await db.execute(
            """
            insert into dispute (id, payment_id, customer_id, status, amount_cents, reason)
            values ($1, $2, $3, $4, $5, $6)
            on conflict (id) do update set status = excluded.status, amount_cents = excluded.amount_cents,
                                           updated_at = now()
                where (dispute.status, dispute.amount_cents) is distinct from (excluded.status, excluded.amount_cents)
            """,
            one.id, payment.id, payment.customer_id, one.status, one.amount, one.reason[:100],
        )  # fmt: skip
    if facts.saved is not None and facts.status == "paid":
        await note_card(db, payment.customer_id, facts.saved)
    if change_cents:
        await db.credit(
            payment.customer_id,
            change_cents * NUSD_PER_CENT,
            key=f"{payment.reference}:{bookings}",
            month=payment.month,
            source="stripe",
            reference=booked.session_id or booked.payment_intent,
        )
    return booked


async def never_began(call: Any, payment: Payment, age: timedelta) -> Payment:
    """A payment that Stripe does not know. After a day it cannot be made any more."""
    if age < FORGOTTEN:
        return payment
    async with call.db() as db:
        await close(db, payment.id, "failed", "never_began")
    return msgspec.structs.replace(payment, status="failed", reason="never_began")


def notes_of(payment: Payment, facts: Facts) -> list[str]:
    """What operators should know of a payment."""
    notes = []
    if facts.differs:
        notes.append(f"Stripe's object says something else than was asked for: {', '.join(facts.differs)}")
    if any(one.status == "needs_response" for one in facts.disputes):
        notes.append("a payment is disputed: answer at Stripe")
    return notes


async def settle_job(call: Call[Which]) -> Settled:
    """The job of a settlement, for payments of which nothing was heard."""
    async with call.db() as db:
        began = await db.fetchval("select clock_timestamp()")
    payment = await settle(call, call.body.payment_id)
    async with call.db() as db:
        await db.execute(
            """
            update event set handled_at = now(), error = null
             where payment_id = $1 and handled_at is null and received_at <= $2
            """,
            payment.id, began,
        )  # fmt: skip
    return Settled(payment.id, payment.status, payment.credited_cents)


SETTLE = Job(
    "stripe.settle", settle_job, Which, Free("asks Stripe about a payment"), retry=Retry(6, 10, 600), timeout_s=60
)
