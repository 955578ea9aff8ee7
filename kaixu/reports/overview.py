"""The overview for operators: today and the month with what they are compared with, the largest, and what needs a look.

It reads months and roll-ups, never events, so that it is as fast with millions of calls as with none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import asyncpg
import msgspec

from kaixu.config.price import usd

from .attention import DatabaseAttention, read_attention
from .near_caps import near_caps_of_keys
from .overview_customers import LeadingCustomer, customers_of_overview
from .overview_figures import Figures, Period, Periods, figures_of, periods_at, read_parts, read_refused
from .overview_leaders import (
    LEADERS,
    LeadingModel,
    days_of_customers,
    days_of_models,
    figures_by_day,
    last_days,
    leading_models,
    spent_by_day,
)
from .snapshot import report_snapshot
from .time_range import Clock, read_clock
from .values import instant, month_name


class Overview(msgspec.Struct, frozen=True):
    """Everything at one moment. `customer_days` and `model_days`: the spending of each, by the days of `days`."""

    clock: Clock
    periods: Periods
    today: Figures
    yesterday: Figures
    month: Figures
    last_month: Figures
    days: list[tuple[date, Figures]]
    customers: list[LeadingCustomer]
    customer_days: list[list[int]]
    models: list[LeadingModel]
    model_days: list[list[int]]
    attention: DatabaseAttention


async def read_overview(pool: asyncpg.Pool) -> Overview:
    """The overview as it is now. Raises `DatabaseAway`."""
    async with report_snapshot(pool) as connection:
        # Planned for this month: the current one is a small part of the tables of months.
        await connection.execute("set local plan_cache_mode = force_custom_plan")
        clock = await read_clock(connection)
        periods = periods_at(clock)
        compared = periods.today, periods.yesterday, periods.month, periods.last_month
        parts = await read_parts(connection, compared)
        refused = await read_refused(connection, compared)
        month = periods.month.since.date()
        customers, caps = await customers_of_overview(connection, month, leaders=LEADERS)
        models = leading_models(parts[2])
        days = last_days(clock)
        by_model = await days_of_models(connection, days)
        by_customer = await days_of_customers(connection, days, customers)
        attention = await read_attention(connection, clock, [*caps, *await near_caps_of_keys(connection, month)])
    today, yesterday, this_month, last_month = map(figures_of, parts, refused)
    return Overview(
        clock=clock,
        periods=periods,
        today=today,
        yesterday=yesterday,
        month=this_month,
        last_month=last_month,
        days=figures_by_day(days, by_model),
        customers=customers,
        customer_days=[spent_by_day(days, by_customer, str(one.customer_id)) for one in customers],
        models=models,
        model_days=[spent_by_day(days, by_model, f"{one.provider}/{one.model}") for one in models],
        attention=attention,
    )


def overview_json(overview: Overview) -> dict[str, Any]:
    """The overview for a reply, without what needs attention."""
    periods = overview.periods
    return {
        "at": instant(overview.clock.now),
        "reporting_zone": overview.clock.zone,
        "today": period_json(periods.today, overview.today)
        | {"compared": period_json(periods.yesterday, overview.yesterday)},
        "month": {"month": month_name(periods.month.since)}
        | period_json(periods.month, overview.month)
        | {
            "compared": {"month": month_name(periods.last_month.since)}
            | period_json(periods.last_month, overview.last_month)
        },
        "days": [{"day": day.isoformat(), **figures_json(figures)} for day, figures in overview.days],
        "top_customers": [
            customer_json(one, spent) for one, spent in zip(overview.customers, overview.customer_days, strict=True)
        ],
        "top_models": [model_json(one, spent) for one, spent in zip(overview.models, overview.model_days, strict=True)],
    }


def period_json(period: Period, figures: Figures) -> dict[str, Any]:
    """The figures of a period."""
    return {"from": instant(period.since), "to": instant(period.until), **figures_json(figures)}


def figures_json(figures: Figures) -> dict[str, Any]:
    """Figures with exact money."""
    return {
        "calls": figures.calls,
        "errors": figures.errors,
        "refusals": figures.refusals,
        "input_tokens": figures.input_tokens,
        "output_tokens": figures.output_tokens,
        "spent_usd": usd(figures.spent_nusd),
        "vendor_cost_usd": usd(figures.vendor_cost_nusd),
        "uncosted_usd": usd(figures.uncosted_nusd),
        "margin_usd": usd(figures.margin_nusd),
        "margin_percent": hundredths(figures.margin_percent),
        "p50_ms": figures.p50_ms,
        "p95_ms": figures.p95_ms,
    }


def customer_json(one: LeadingCustomer, spent_nusd: Sequence[int]) -> dict[str, Any]:
    """A customer that spent much."""
    return {
        "customer_id": one.customer_id,
        "email": one.email,
        "plan_name": one.plan_name,
        "is_active": one.is_active,
        "calls": one.calls,
        "tokens": one.tokens,
        "spent_usd": usd(one.spent_nusd),
        "held_usd": usd(one.held_nusd),
        "cap_usd": usd(one.cap_nusd),
        "spent_by_day_usd": [usd(nusd) for nusd in spent_nusd],
    }


def model_json(one: LeadingModel, spent_nusd: Sequence[int]) -> dict[str, Any]:
    """A model that was spent much on."""
    return {
        "provider": one.provider,
        "model": one.model,
        "calls": one.calls,
        "tokens": one.tokens,
        "spent_usd": usd(one.spent_nusd),
        "vendor_cost_usd": usd(one.vendor_cost_nusd),
        "uncosted_usd": usd(one.uncosted_nusd),
        "margin_usd": usd(one.margin_nusd),
        "margin_percent": hundredths(one.margin_percent),
        "spent_by_day_usd": [usd(nusd) for nusd in spent_nusd],
    }


def hundredths(percent: int | None) -> float | None:
    """Hundredths of a percent as percent."""
    return None if percent is None else percent / 100
