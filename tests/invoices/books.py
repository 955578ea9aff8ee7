"""Usage of past months, for invoices: calls that are settled, lost, and settled late."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

from kaixu.config.invoices_section import InvoicesSection
from kaixu.metering.identity import new_ticket
from kaixu.store import admission
from kaixu.store.admission import Settlement

OCTOBER, NOVEMBER, DECEMBER = date(2025, 10, 1), date(2025, 11, 1), date(2025, 12, 1)

SECTION = InvoicesSection.model_validate(
    {
        "seller": {
            "name": "Kaixu GmbH",
            "address": ["Lange Straße 1", "10115 Berlin"],
            "country": "DE",
            "tax_id": "DE136695976",
            "email": "billing@kaixu.example",
        },
        "tax": [
            {"countries": ["DE"], "rate": 19},
            {"countries": ["AT", "GR"], "has_tax_id": True, "rate": 0, "note": "Reverse charge"},
        ],
        "second_currency": {"currency": "EUR", "rate": 0.92, "date": "2025-11-30", "source": "ECB"},
        "footer": "Please pay by bank transfer.",
    }
)


def settlement(
    customer_id: int,
    key_id: int,
    month: date,
    cost_nusd: int,
    *,
    ticket: UUID | None = None,
    end_reason: str = "complete",
    model: str = "m",
    book: str = "ai",
) -> Settlement:
    """A call of a month."""
    return Settlement(
        ticket or new_ticket(), customer_id, key_id, key_id, month, book, "chat", "up", model, 1, None, "r",
        datetime(month.year, month.month, 5, tzinfo=UTC), 1, end_reason, "provider", cost_nusd, 0, 3, 4, 0, 0, 0, None,
    )  # fmt: skip


async def call(pool: Any, customer_id: int, key_id: int, month: date, cost_nusd: int, **fields: Any) -> UUID:
    """Settle a call of a month: its ticket."""
    one = settlement(customer_id, key_id, month, cost_nusd, **fields)
    await admission.settle(pool, [one])
    return one.ticket


async def lost_call(pool: Any, customer_id: int, key_id: int, month: date, cost_nusd: int) -> UUID:
    """A call whose gateway died, with what the reaper charged for it."""
    ticket = uuid4()
    await call(pool, customer_id, key_id, month, cost_nusd, ticket=ticket, end_reason="lost")
    return ticket


async def bill_to(pool: Any, customer_id: int, *, country: str = "DE", tax_id: str | None = None) -> None:
    """Set a customer's billing details."""
    await pool.execute(
        """
        insert into kaixu.billing_account (customer_id, name, address, country, tax_id)
        values ($1, 'Ada AG', array['Ringstraße 2', 'Wien'], $2, $3)
        on conflict (customer_id) do update set country = excluded.country, tax_id = excluded.tax_id
        """,
        customer_id,
        country,
        tax_id,
    )
