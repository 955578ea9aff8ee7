"""A budget in words: which limit binds a key, and how long what is left lasts at this month's pace."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from kaixu.web.components import Number, State
from kaixu.web.formats import money

#: The caps in words, as a customer knows them.
CAPS = {
    "customer_cap": "the cap of the account",
    "customer_day_cap": "today's cap of the account",
    "key_cap": "the cap of this key",
    "key_day_cap": "today's cap of this key",
    "group_cap": "the cap of the key's group",
    "group_day_cap": "today's cap of the key's group",
}


def binding_words(summary: Mapping[str, Any]) -> tuple[State, str]:
    """Which cap decides what the next call may cost, and how urgent that is."""
    limit = next(one for one in summary["money_limits"] if one["limit"] == summary["binds"])
    left, cap, name = Decimal(limit["available_usd"]), Decimal(limit["cap_usd"]), CAPS[limit["limit"]]
    if left <= 0:
        until = "until midnight UTC" if limit["limit"].endswith("day_cap") else "until it is raised"
        return "bad", f"Nothing is left: {name} of {money(limit['cap_usd'])} is reached. Calls are refused {until}."
    text = f"What binds is {name}: {money(limit['available_usd'])} of {money(limit['cap_usd'])} are available."
    return ("warn" if left * 10 <= cap else "good"), text


def pace_words(summary: Mapping[str, Any], now: datetime) -> str:
    """How long what is available lasts if the month goes on like its beginning. Empty where nobody knows."""
    month = summary["month"]
    uses_key = summary["key"]["has_cap_override"] and Decimal(month["key_remaining_usd"]) < Decimal(
        month["customer_remaining_usd"]
    )
    spent = Decimal(month["key_spent_usd"] if uses_key else month["customer_spent_usd"])
    available = Decimal(month["available_usd"])
    begin = datetime(now.year, now.month, 1, tzinfo=UTC)
    gone = max(Decimal((now - begin) / timedelta(days=1)), Decimal("0.25"))
    if month["month"] != f"{now:%Y-%m}" or spent <= 0:
        return ""
    pace = spent / gone
    text = f"At this month's pace, {money(f'{pace:f}')} a day,"
    left = Decimal(monthrange(now.year, now.month)[1]) - gone
    days = available / pace
    if available <= 0:
        return ""
    if days >= left:
        return f"{text} it lasts to the end of the month."
    if days < 1:
        return f"{text} it lasts less than a day."
    return f"{text} it lasts {int(days)} more {'day' if int(days) == 1 else 'days'}, until {last_day(now, days)}."


def last_day(now: datetime, days: Decimal) -> str:
    """The day on which it ends."""
    return f"{now.date() + timedelta(days=int(days)):%d %B}".lstrip("0")


def limit_text(value: int | None, unit: str) -> Number | str:
    """A limit, or that there is none."""
    return "no limit" if value is None else Number(value, unit)
