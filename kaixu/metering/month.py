"""The month's figures, and the `month` object of replies: cents for display, exact dollars beside them."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from kaixu.config.price import cents_of_nusd, usd
from kaixu.store.admission import Settled, Verdict


class Figures(msgspec.Struct, frozen=True):
    """What a month looks like to a customer and to one of its keys, in nano-dollars.

    The customer's cap includes what was topped up; `key_cap_nusd` is None where
    only the customer's cap binds.
    """

    month: date
    customer_cap_nusd: int
    customer_spent_nusd: int
    customer_held_nusd: int
    key_cap_nusd: int | None
    key_spent_nusd: int
    key_held_nusd: int

    @property
    def available_nusd(self) -> int:
        """What a call may still cost: the narrower of the two rooms."""
        room = self.customer_cap_nusd - self.customer_spent_nusd - self.customer_held_nusd
        if self.key_cap_nusd is not None:
            room = min(room, self.key_cap_nusd - self.key_spent_nusd - self.key_held_nusd)
        return max(0, room)


def figures_of(source: Verdict | Settled) -> Figures:
    """The figures that admission or settlement returned."""
    return Figures(
        source.month,
        source.customer_cap_nusd or 0,
        source.customer_spent_nusd or 0,
        source.customer_held_nusd or 0,
        source.key_cap_nusd,
        source.key_spent_nusd or 0,
        source.key_held_nusd or 0,
    )


def month_reply(figures: Figures) -> dict[str, Any]:
    """The `month` object: the seven fields that every client knows, then what is held and what is left."""
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
