"""Months of pages: the chosen one, its neighbours, how much of it is over."""

from __future__ import annotations

import re
from datetime import date, timedelta

from kaixu.ops.clock import utc_now

from .components import Field
from .visits import Visit

MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")


def this_month() -> str:
    """The current month in UTC: months of usage are UTC."""
    return f"{utc_now():%Y-%m}"


def chosen_month(visit: Visit) -> str:
    """The month in the address, or the current one. What is no month is left to the API to refuse."""
    return visit.query.get("month") or visit.form.get("month") or this_month()


def month_before(month: str) -> str:
    """The month before; the same text where it is no month."""
    if not MONTH.fullmatch(month):
        return month
    return f"{date.fromisoformat(f'{month}-01') - timedelta(days=1):%Y-%m}"


def month_after(month: str) -> str:
    """The month after; the same text where it is no month."""
    if not MONTH.fullmatch(month):
        return month
    return f"{date.fromisoformat(f'{month}-01') + timedelta(days=32):%Y-%m}"


def month_title(name: str) -> str:
    """`2026-11` as "November 2026"; the text itself where it is no month."""
    try:
        return f"{date.fromisoformat(f'{name}-01'):%B %Y}"
    except ValueError:
        return name


def days_gone() -> float:
    """How many days of the current month are over, at least a quarter of one."""
    now = utc_now()
    return max(0.25, (now - now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)) / timedelta(days=1))


def month_field(month: str) -> Field:
    """The field that chooses a month."""
    return Field(name="month", label="Month", type="month", value=month, max=this_month(), maxlength=7,
                 placeholder="YYYY-MM")  # fmt: skip
