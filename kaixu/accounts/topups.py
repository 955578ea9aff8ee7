"""Top-ups: credits that raise a month's cap."""

from __future__ import annotations

from datetime import date
from uuid import uuid4

import asyncpg
import msgspec

from kaixu.plugin.errors import Conflict, Unprocessable
from kaixu.store import topups as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.clock import this_month
from kaixu.store.pool import database
from kaixu.store.query import Connection

from . import fields
from .customers import no_customer

#: What can be added to a month's cap, in nano-dollars: far from the edge of 64 bits, where sums would fail.
MOST_EXTRA_NUSD = 10**18


class ToppedUp(msgspec.Struct, frozen=True):
    """A month after a top-up; `applied` is false for a repeated one."""

    customer_id: int
    month: date
    amount_nusd: int
    extra_nusd: int
    applied: bool


async def top_up(
    pool: asyncpg.Pool,
    customer_id: int,
    *,
    amount_cents: object,
    month: object,
    idempotency_key: object,
    source: str,
    actor: str,
    request_id: str,
) -> ToppedUp:
    """Raise a month's cap, by default the current one's; once for each idempotency key.

    Raises `Unprocessable` naming a field, `NotFound`, and `Conflict` where the
    key was used for another top-up.
    """
    amount = fields.cents(amount_cents, "amount_cents")
    if not amount:
        raise Unprocessable("`amount_cents` must be 1 or more", field="amount_cents")
    client_key = fields.text(idempotency_key, "idempotency_key", 200)
    stored_key = f"{source}:{client_key or uuid4()}"
    requested_month = fields.month(month, "month")
    with database():
        async with pool.acquire() as connection, connection.transaction():
            booked_month = requested_month or await this_month(connection)
            booked = await store.top_up(
                connection,
                idempotency_key=stored_key,
                customer_id=customer_id,
                month=booked_month,
                amount_nusd=amount,
                source=source,
            )
            if booked is None:
                raise no_customer(customer_id)
            if booked.extra_nusd > MOST_EXTRA_NUSD:  # raised inside the transaction, which undoes the top-up
                raise Unprocessable(
                    "the top-ups of one month are at most $1,000,000,000 in all",
                    hint="Raise the customer's cap instead.",
                    field="amount_cents",
                )
            if booked.applied:
                await write_audit(
                    connection,
                    AuditEvent(
                        actor,
                        f"TOPUP_{source.upper()}",
                        f"customer:{customer_id}",
                        request_id,
                        {"month": str(booked_month), "extra_nusd": booked.extra_nusd - amount},
                        {"month": str(booked_month), "extra_nusd": booked.extra_nusd},
                        {"amount_nusd": amount, "idempotency_key": stored_key},
                    ),
                )
            else:
                booked_month = await earlier_month(connection, stored_key, customer_id, requested_month, amount)
            extra_nusd = await store.extra_of(connection, customer_id, booked_month)
    return ToppedUp(customer_id, booked_month, amount, extra_nusd, booked.applied)


async def earlier_month(
    connection: Connection, stored_key: str, customer_id: int, requested_month: date | None, amount_nusd: int
) -> date:
    """The month of the top-up that was booked under an idempotency key before.

    A repeated top-up without a month means the month of the first one, even if it is repeated in the next month.
    Raises `Conflict` where the key was used for another top-up.
    """
    earlier = await store.topup_of(connection, stored_key)
    assert earlier is not None
    month = requested_month or earlier.month
    if (earlier.customer_id, earlier.month, earlier.amount_nusd) != (customer_id, month, amount_nusd):
        raise Conflict(
            "this idempotency key was used for another top-up",
            hint="Use a fresh key for each top-up.",
            code="IDEMPOTENCY_KEY_USED",
        )
    return month
