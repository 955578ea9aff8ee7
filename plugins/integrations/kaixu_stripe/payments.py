"""The rows of payments: how they begin, and what is known of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec

from kaixu.plugin import Database, NotFound

#: Where our reference is in the metadata of Stripe's objects.
REFERENCE = "kaixu_payment"

COLUMNS = """
id, reference, customer_id, kind, status, month, amount_cents, currency, session_id, payment_intent, url, paid_cents,
refunded_cents, disputed_cents, credited_cents, reading, reason, receipt_url, card_brand, card_last4, created_at
"""

#: Payments whose end is not known yet.
UNDECIDED = ("creating", "open", "pending")


class Payment(msgspec.Struct, frozen=True):
    """A row of `payment`."""

    id: int
    reference: str
    customer_id: int
    kind: str
    status: str
    month: str
    amount_cents: int
    currency: str
    session_id: str | None
    payment_intent: str | None
    url: str | None
    paid_cents: int
    refunded_cents: int
    disputed_cents: int
    credited_cents: int
    reading: int
    reason: str | None
    receipt_url: str | None
    card_brand: str | None
    card_last4: str | None
    created_at: datetime


class Which(msgspec.Struct):
    """A payment, by its number."""

    payment_id: int


async def begin_checkout(
    db: Database, *, customer_id: int, month: str | None, amount_cents: int, currency: str
) -> Payment:
    """A payment that Stripe does not know yet. `month` None: the present one."""
    row = await db.fetchrow(
        f"""
        insert into payment (reference, customer_id, kind, status, month, amount_cents, currency)
        values ($1, $2, 'checkout', 'creating', coalesce($3, to_char(now() at time zone 'UTC', 'YYYY-MM')), $4, $5)
        returning {COLUMNS}
        """,  # noqa: S608
        f"kaixu-{uuid4().hex}", customer_id, month, amount_cents, currency,
    )  # fmt: skip
    assert row is not None
    return Payment(**row)


async def begin_auto(
    db: Database, *, customer_id: int, crossing: UUID, amount_cents: int, currency: str, most_per_day: int
) -> Payment | None:
    """The payment of an automatic top-up: made once for each crossing; None where the day's bound is reached.

    The numbers of a day are unique for a customer, so that two cannot count themselves as the same one.
    """
    row = await db.fetchrow(
        f"""
        insert into payment (reference, customer_id, kind, status, month, amount_cents, currency, crossing, day,
                             day_number)
        select 'kaixu-auto-' || $2::uuid, $1, 'auto', 'creating', to_char(now() at time zone 'UTC', 'YYYY-MM'), $3, $4,
               $2::uuid, (now() at time zone 'UTC')::date, count(*) + 1
          from payment
         where customer_id = $1 and day = (now() at time zone 'UTC')::date
        having count(*) < $5
        on conflict (crossing) do nothing
        returning {COLUMNS}
        """,  # noqa: S608
        customer_id, crossing, amount_cents, currency, most_per_day,
    )  # fmt: skip
    return None if row is None else Payment(**row)


async def of_crossing(db: Database, crossing: UUID) -> Payment | None:
    """The payment of a crossing, if there is one."""
    row = await db.fetchrow(f"select {COLUMNS} from payment where crossing = $1", crossing)  # noqa: S608
    return None if row is None else Payment(**row)


async def undecided_auto(db: Database, customer_id: int) -> Payment | None:
    """An automatic top-up whose end is not known yet: until it is, there is no further one."""
    row = await db.fetchrow(
        f"""
        select {COLUMNS} from payment
         where customer_id = $1 and kind = 'auto' and status = any ($2::text[]) order by id limit 1
        """,  # noqa: S608
        customer_id, list(UNDECIDED),
    )  # fmt: skip
    return None if row is None else Payment(**row)


async def reading_of(db: Database, payment_id: int) -> Payment:
    """A payment, with the number of the reading of Stripe that begins now. Raises `NotFound`."""
    row = await db.fetchrow(
        f"update payment set reading = reading + 1, looked_at = now() where id = $1 returning {COLUMNS}",  # noqa: S608
        payment_id,
    )
    if row is None:
        raise NotFound("no such payment", field="payment_id")
    return Payment(**row)


async def payment_of(db: Database, payment_id: int) -> Payment:
    """A payment as it stands. Raises `NotFound`."""
    row = await db.fetchrow(f"select {COLUMNS} from payment where id = $1", payment_id)  # noqa: S608
    if row is None:
        raise NotFound("no such payment", field="payment_id")
    return Payment(**row)


async def note_session(db: Database, payment_id: int, session_id: str, url: str | None) -> None:
    """Note the session of a payment, and its page."""
    await db.execute(
        """
        update payment
           set session_id = coalesce(session_id, $2), url = coalesce($3, url), updated_at = now(),
               status = case status when 'creating' then 'open' else status end
         where id = $1
        """,
        payment_id, session_id, url,
    )  # fmt: skip


async def note_intent(db: Database, payment_id: int, intent: str) -> None:
    """Note the payment intent of a payment."""
    await db.execute(
        "update payment set payment_intent = coalesce(payment_intent, $2), updated_at = now() where id = $1",
        payment_id, intent,
    )  # fmt: skip


async def close(db: Database, payment_id: int, status: str, reason: str | None) -> bool:
    """End a payment of which nothing was paid; whether it was still undecided."""
    done = await db.execute(
        """
        update payment set status = $2, reason = $3, updated_at = now()
         where id = $1 and credited_cents = 0 and status in ('creating', 'open', 'pending')
        """,
        payment_id, status, reason,
    )  # fmt: skip
    return not done.endswith(" 0")


async def find_payment(db: Database, **names: Any) -> int | None:
    """The number of the payment with one of these: `reference`, `session_id`, `payment_intent`."""
    found: int | None = await db.fetchval(
        """
        select id from payment where reference = $1 or session_id = $2 or payment_intent = $3
         order by reference = $1 desc nulls last limit 1
        """,
        names.get("reference"), names.get("session_id"), names.get("payment_intent"),
    )  # fmt: skip
    return found
