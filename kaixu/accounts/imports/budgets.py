"""Budgets of LiteLLM as monthly caps: a budget has a length, and what was spent since it began."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from .values import MOST_NUSD, nusd

DURATION = re.compile(r"([0-9]{1,6})(mo|[smhdwy])")
DAYS = {
    "s": Decimal(1) / 86_400,
    "m": Decimal(1) / 1440,
    "h": Decimal(1) / 24,
    "d": Decimal(1),
    "w": Decimal(7),
    "mo": Decimal(30),
    "y": Decimal(365),
}

#: Budgets of these lengths, in days, are months.
MONTH = (28, 31)


class Cap(NamedTuple):
    """A budget as a cap of calendar months, or of days, in nano-dollars; None: no cap of this kind.

    `spent_nusd`: what counts against it this month. `reason`: how it differs from the budget; None: not at all.
    """

    cap_nusd: int | None
    spent_nusd: int
    reason: str | None
    day_cap_nusd: int | None = None


def days_of(duration: str | None) -> Decimal | None:
    """The length of a budget in days; None: it is never reset, or its length cannot be read."""
    match = DURATION.fullmatch((duration or "").strip().lower())
    return None if match is None or int(match[1]) == 0 else int(match[1]) * DAYS[match[2]]


def cap_of(
    budget: Decimal,
    *,
    duration: str | None,
    spent: Decimal | None,
    reset_at: datetime | None,
    this_month: Decimal | None,
    now: datetime,
) -> Cap:
    """The cap for a budget, so that as much is left right after the import as is left there.

    A budget of a day is a day's cap; another one that is shorter than a month becomes as much for 30 days.
    `this_month`: what was spent since the first of the month, where it is known.
    """
    days = days_of(duration)
    counted = Decimal(0) if reset_at is not None and reset_at <= now else spent or Decimal(0)
    if days is None:
        return Cap(nusd(budget), nusd(counted), "a budget that is never reset becomes a cap for each month")
    if days == 1:
        used = max(this_month or Decimal(0), counted)
        reason = "a budget of a day is a day's cap (UTC); what was spent today does not count"
        return Cap(None, nusd(used), reason, nusd(budget))
    if days < MONTH[0]:
        monthly = min(nusd(budget * 30 / days), MOST_NUSD)
        used = max(this_month or Decimal(0), counted)
        return Cap(
            monthly, nusd(used), f"a budget for {duration} becomes the same for 30 days, as a cap for each month"
        )
    if MONTH[0] <= days <= MONTH[1]:
        return Cap(nusd(budget), nusd(counted), None if duration == "1mo" else "its month is the calendar month (UTC)")
    return Cap(nusd(budget), nusd(counted), f"a budget for {duration} becomes a cap for each month")
