"""What a customer embedded, stored and searched in a month."""

from __future__ import annotations

from datetime import date

import asyncpg
import msgspec

from kaixu.store import customers
from kaixu.store.embed_usage import EmbedEvent, EmbedTotals, embed_events, embed_totals
from kaixu.store.pool import database
from kaixu.store.usage import this_month

from . import fields
from .customers import no_customer

__all__ = ["EmbedEvent", "EmbedTotals", "EmbedUsage", "embed_usage"]

MOST_EVENTS = 200


class EmbedUsage(msgspec.Struct, frozen=True):
    """A month of embeddings, seen at one moment."""

    month: date
    totals: EmbedTotals
    events: list[EmbedEvent]


async def embed_usage(pool: asyncpg.Pool, customer_id: int, *, month: object) -> EmbedUsage:
    """A month, this one where none is given. Raises `Unprocessable` for what is no month, `NotFound`."""
    wanted = fields.month(month, "month")
    with database():
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            if await customers.customer(connection, customer_id) is None:
                raise no_customer(customer_id)
            of_month = wanted or await this_month(connection)
            return EmbedUsage(
                of_month,
                await embed_totals(connection, customer_id, of_month),
                await embed_events(connection, customer_id, of_month, limit=MOST_EVENTS),
            )
