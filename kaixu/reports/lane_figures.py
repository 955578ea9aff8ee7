"""What lanes did in a month, by deployment, and whether their deployments work, as all gateways together see it."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import asyncpg
import msgspec

from kaixu.accounts import fields
from kaixu.config.price import usd
from kaixu.store.pool import database
from kaixu.store.query import Query
from kaixu.store.vendor_state import VendorState, vendor_states

from .latency import percentile_ms
from .snapshot import report_snapshot
from .time_range import read_clock, read_range
from .usage_parts import DAYS, LATENCY, QUARTERS, SUMS
from .values import instant


class PlaceFigures(msgspec.Struct, frozen=True):
    """The calls of one deployment; `label` is provider, model and deployment, with slashes between."""

    label: str
    calls: int
    errors: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    spent_nusd: int
    vendor_cost_nusd: int
    uncosted_nusd: int
    latency: list[int]


# $10 is the interval, which is of no matter here: a month is one row.
BY_PLACE = f"""
    select p.label, {SUMS}, {LATENCY} as latency
      from part p
     group by p.label
     order by p.label
"""  # noqa: S608 - constants

PLACE_QUARTERS = Query(PlaceFigures, QUARTERS + BY_PLACE)
PLACE_DAYS = Query(PlaceFigures, DAYS + BY_PLACE)


class LaneFigures(msgspec.Struct, frozen=True):
    """A month of all deployments, by label, and the states that gateways have reported, by lane and upstream."""

    month: str
    places: dict[str, PlaceFigures]
    states: dict[tuple[str, str], VendorState]


async def lane_figures(pool: asyncpg.Pool, *, month: object) -> LaneFigures:
    """A month, the current one by default. Raises `Unprocessable`, `DatabaseAway`."""
    chosen = fields.month(month, "month")
    async with report_snapshot(pool) as connection:
        clock = await read_clock(connection)
        name = f"{chosen or clock.now.astimezone(UTC):%Y-%m}"
        time = read_range({"month": name, "interval": "day"}, clock)
        by_days = time.is_whole_days
        rows = await (PLACE_DAYS if by_days else PLACE_QUARTERS).all(
            connection, [0], None,
            time.first_day if by_days else time.since, time.end_day if by_days else time.until,
            time.zone, "place", None, None, None, time.interval,
        )  # fmt: skip
        with database():
            states = await vendor_states(connection)
    return LaneFigures(name, {row.label: row for row in rows}, {(row.lane, row.upstream): row for row in states})


def place_json(row: PlaceFigures | None) -> dict[str, Any]:
    """The month of a deployment. `margin_usd` leaves out what was spent with an unknown vendor cost."""
    if row is None:
        return {"calls": 0, "errors": 0, "input_tokens": 0, "output_tokens": 0, "spent_usd": "0.00",
                "vendor_cost_usd": "0.00", "uncosted_usd": "0.00", "margin_usd": "0.00", "p50_ms": None,
                "p95_ms": None}  # fmt: skip
    return {
        "calls": row.calls,
        "errors": row.errors,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "spent_usd": usd(row.spent_nusd),
        "vendor_cost_usd": usd(row.vendor_cost_nusd),
        "uncosted_usd": usd(row.uncosted_nusd),
        "margin_usd": usd(row.spent_nusd - row.uncosted_nusd - row.vendor_cost_nusd),
        "p50_ms": percentile_ms(row.latency, 50),
        "p95_ms": percentile_ms(row.latency, 95),
    }


def state_json(row: VendorState | None) -> dict[str, Any]:
    """Whether a deployment is down for all gateways, and since when; it is not known until one has failed."""
    if row is None:
        return {"is_down": False, "since": None, "failed_at": None, "answered_at": None, "outages": 0}
    return {
        "is_down": row.is_down,
        "since": instant(row.since),
        "failed_at": instant(row.failed_at),
        "answered_at": instant(row.answered_at),
        "outages": row.outages,
    }
