"""The `month` object of replies: cents for display, and exact dollars."""

from __future__ import annotations

from typing import Any

from kaixu.config.price import cents_of_nusd, usd
from kaixu.metering.month import EndUserFigures, Figures


def month_reply(figures: Figures) -> dict[str, Any]:
    """The `month` object: the seven fields of the original API, then held and available amounts."""
    customer_cap = cents_of_nusd(figures.customer_cap_nusd)
    customer_spent = cents_of_nusd(figures.customer_spent_nusd)
    key_cap = customer_cap if figures.key_cap_nusd is None else cents_of_nusd(figures.key_cap_nusd)
    return {
        "month": f"{figures.month.year:04d}-{figures.month.month:02d}",
        "cap_cents": customer_cap,
        "spent_cents": customer_spent,
        "customer_cap_cents": customer_cap,
        "customer_spent_cents": customer_spent,
        "key_cap_cents": key_cap,
        "key_spent_cents": cents_of_nusd(figures.key_spent_nusd),
        "held_cents": cents_of_nusd(figures.customer_held_nusd),
        "available_cents": figures.available_nusd // 10_000_000,  # never show more than there is
        "spent_usd": usd(figures.customer_spent_nusd),
        "held_usd": usd(figures.customer_held_nusd),
        "available_usd": usd(figures.available_nusd),
    }


def end_user_reply(figures: EndUserFigures) -> dict[str, Any]:
    """The month of the request's end user, whose cap was reached."""
    return {
        "cap_cents": cents_of_nusd(figures.end_user_cap_nusd or 0),
        "spent_cents": cents_of_nusd(figures.end_user_spent_nusd or 0),
        "held_cents": cents_of_nusd(figures.end_user_held_nusd or 0),
    }
