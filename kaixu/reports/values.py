"""Format values for reports and replies: cents for display, exact dollars, ISO 8601 times."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from kaixu.config.price import NUSD_PER_CENT, cents_of_nusd, usd
from kaixu.ops.instants import iso_instant


def instant(moment: datetime | None) -> str | None:
    """A moment in UTC, to the millisecond."""
    return None if moment is None else iso_instant(moment)


def month_name(month: date) -> str:
    """YYYY-MM."""
    return f"{month.year:04d}-{month.month:02d}"


def cents_or_none(nusd: int | None) -> int | None:
    """An amount in cents, or None."""
    return None if nusd is None else cents_of_nusd(nusd)


def budget_fields(spent_nusd: int, held_nusd: int, available_nusd: int | None) -> dict[str, Any]:
    """Spent, held and available amounts. `available` is rounded down."""
    shown: dict[str, Any] = {
        "spent_cents": cents_of_nusd(spent_nusd),
        "held_cents": cents_of_nusd(held_nusd),
        "spent_usd": usd(spent_nusd),
        "held_usd": usd(held_nusd),
    }
    if available_nusd is not None:
        shown["available_cents"] = available_nusd // NUSD_PER_CENT
        shown["available_usd"] = usd(available_nusd)
    return shown
