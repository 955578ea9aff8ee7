"""The proof that the books add up, on one snapshot of the database."""

from __future__ import annotations

from datetime import date

import msgspec

from kaixu.store.pool import database
from kaixu.store.query import DatabaseSession
from kaixu.store.reconcile import Difference, differences, over_cap


class Reconciled(msgspec.Struct, frozen=True):
    """What was found. No `differences`: everything adds up. `notes` are worth a look, but no mistakes."""

    customers: int
    months: int
    events: int
    reservations: int
    differences: list[Difference]
    notes: list[Difference]


async def reconcile(connection: DatabaseSession, *, month: date | None = None) -> Reconciled:
    """Compare every figure that is kept with the rows it stands for; in one month, or in all.

    Nothing is written and nothing is locked; calls go on meanwhile, the snapshot stays.
    """
    with database():
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return Reconciled(
                customers=await connection.fetchval("select count(*) from kaixu.customer"),
                months=await connection.fetchval(
                    "select count(*) from kaixu.customer_month where $1::date is null or month = $1", month
                ),
                events=await connection.fetchval(
                    "select count(*) from kaixu.usage_event where $1::date is null or month = $1", month
                ),
                reservations=await connection.fetchval(
                    "select count(*) from kaixu.reservation where $1::date is null or month = $1", month
                ),
                differences=await differences(connection, month),
                notes=await over_cap(connection, month),
            )
