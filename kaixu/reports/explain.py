"""Explain the cost of a call: its tokens or units, and the rates of the price version that billed it.

The cost is computed independently of kaixu/metering, which billed the call: exact millionths of nano-dollars, added up
and rounded half up once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from kaixu.plugin.errors import NotFound
from kaixu.store.pool import database
from kaixu.store.query import Connection, Query

from .events import UsageEvent

MILLION = 1_000_000

#: The kinds of tokens: a price per token has a rate for each.
KINDS = frozenset({"input", "cached_input", "cache_write", "output", "reasoning"})

#: The maximum number of calls with the same request id.
MAX_EVENTS = 100


class PricedEvent(UsageEvent, frozen=True):
    """One call with its price version; None if there is no such version."""

    rates: dict[str, int] | None
    vendor: dict[str, int] | None
    priced_at: datetime | None
    unbilled_nusd: int
    granted_nusd: int | None


# By event id, ticket or request id. Request ids have no index, since only this report looks for them.
PRICED = Query(
    PricedEvent,
    """
    select e.id, e.ticket, e.month, e.customer_id, e.key_id, e.book, e.operation, e.provider, e.model,
           e.price_id, e.cost_nusd, e.vendor_cost_nusd, e.input_tokens, e.output_tokens,
           e.cached_input_tokens, e.cache_write_tokens, e.reasoning_tokens, e.units, e.usage_source,
           e.end_reason, e.install_id, e.request_id, e.admitted_at, e.duration_ms, e.created_at, e.vendor_cost_known,
           p.rates, p.vendor, p.created_at as priced_at,
           coalesce((e.units ->> 'unbilled_nusd')::bigint, 0) as unbilled_nusd, e.granted_nusd
      from kaixu.usage_event e
      left join kaixu.price p on p.id = e.price_id
     where case when $1::bigint is not null then e.id = $1
                when $2::uuid is not null then e.ticket = $2
                else e.request_id = $3 end
     order by e.created_at desc, e.id desc
     limit $4
    """,
)


class CostLine(msgspec.Struct, frozen=True):
    """One line of the cost: for a kind of token, a unit, or the call; `tokens`: how many.

    `rate`: nano-dollars per million; `cost_millionths`: millionths of a nano-dollar.
    """

    kind: str
    tokens: int
    rate: int
    cost_millionths: int


class Explanation(msgspec.Struct, frozen=True):
    """A call's cost, line by line. `priced_nusd`: None if its price has no rates."""

    event: PricedEvent
    lines: list[CostLine]
    priced_nusd: int | None
    vendor_priced_nusd: int | None
    adds_up: bool
    note: str | None


async def explain(pool: asyncpg.Pool, named: str) -> list[Explanation]:
    """Explain calls, newest first, by an event's id, a ticket, or a request id. Raises `NotFound`."""
    with database():
        events: list[PricedEvent] = []
        if named.isascii() and named.isdigit() and int(named) < 2**63:
            events = await priced_events(pool, event_id=int(named), limit=1)
        elif (ticket := parse_ticket(named)) is not None:
            events = await priced_events(pool, ticket=ticket, limit=1)
        if not events:
            events = await priced_events(pool, request_id=named, limit=MAX_EVENTS)
    if not events:
        raise NotFound(f"there is no usage event {named}", hint="Use an event's id, a ticket, or a request id.")
    return [explain_event(event) for event in events]


def parse_ticket(named: str) -> UUID | None:
    """Parse a ticket id; None for anything else."""
    try:
        return UUID(named)
    except ValueError:
        return None


def explain_event(event: PricedEvent) -> Explanation:
    """A call's cost, line by line, compared with its bill."""
    if not event.rates:
        return Explanation(event, [], None, None, event.cost_nusd == 0, "its price version has no rates: it is free")
    by_token = is_priced_by_token(event.rates)
    lines = token_lines(event, event.rates) if by_token else charge_lines(event.units or {}, event.rates)
    if not lines:
        return Explanation(event, [], None, None, False, "its price is of an unknown kind")
    priced = round_nusd(sum(line.cost_millionths for line in lines))
    vendor = None
    if event.vendor and is_priced_by_token(event.vendor):
        vendor = round_nusd(sum(line.cost_millionths for line in token_lines(event, event.vendor)))
    adds_up, note = check_bill(event, priced, by_token=by_token)
    return Explanation(event, lines, priced, vendor, adds_up, note)


def is_priced_by_token(rates: Mapping[str, int]) -> bool:
    """Whether every kind of token has a rate; an integration's price is per call or per unit."""
    return rates.keys() >= KINDS


def token_lines(event: PricedEvent, rates: Mapping[str, int]) -> list[CostLine]:
    """A line for each kind of token. Cached and cache-writing tokens are part of the input, reasoning of the output."""
    plain_input = max(0, event.input_tokens - event.cached_input_tokens - event.cache_write_tokens)
    plain_output = max(0, event.output_tokens - event.reasoning_tokens)
    counted = (
        ("input", plain_input),
        ("cached_input", event.cached_input_tokens),
        ("cache_write", event.cache_write_tokens),
        ("output", plain_output),
        ("reasoning", event.reasoning_tokens),
    )
    return [CostLine(kind, tokens, rates[kind], tokens * rates[kind]) for kind, tokens in counted]


def charge_lines(units: Mapping[str, Any], rates: Mapping[str, int]) -> list[CostLine]:
    """The line of an integration's charge: a price per call, or per number of units; see `RECOMPUTED`."""
    if len(rates) == 1:
        [(name, nusd)] = rates.items()
        return [CostLine(name, 1, nusd * MILLION, nusd * MILLION)]
    if len(rates) != 2:
        return []
    first, second = sorted(rates)
    for price, size in ((second, first), (first, second)):
        is_unit_count = price.startswith("per_") and price.removeprefix("per_") in units
        if size.startswith("per_") and not is_unit_count:
            unit = size.removeprefix("per_")
            count, millionths = int(units.get(unit, 0)), rates[price] * MILLION
            return [CostLine(unit, count, millionths // rates[size], count * millionths // rates[size])]
    return []


def round_nusd(millionths: int) -> int:
    """Round millionths of a nano-dollar to nano-dollars, half up."""
    return (millionths + MILLION // 2) // MILLION


def check_bill(event: PricedEvent, priced_nusd: int, *, by_token: bool) -> tuple[bool, str | None]:
    """Whether the bill matches the price, and the reason for a difference."""
    if event.end_reason == "lost":
        charged = "the whole reservation was charged" if event.cost_nusd else "nothing was charged"
        return True, f"its gateway died, so its usage is unknown; {charged}, by the setting on_lost"
    if event.end_reason == "undelivered" and not event.cost_nusd:
        return True, "the vendor's answer could not be delivered: nothing was billed"
    if event.cost_nusd == priced_nusd:
        return True, None
    if event.unbilled_nusd and event.cost_nusd + event.unbilled_nusd <= priced_nusd:
        return True, "it was settled after its reservation had expired: billed up to the cap"
    is_bound = by_token and event.cost_nusd < priced_nusd and event.granted_nusd in (None, event.cost_nusd)
    if is_bound and event.end_reason == "budget_cut":
        return True, "it was ended at its budget: charged at most its reservation"
    if is_bound and event.usage_source != "provider":
        return True, "its tokens were counted by the gateway, not reported: charged at most its reservation"
    return False, "the bill does not match the price"


async def priced_events(
    db: Connection,
    *,
    event_id: int | None = None,
    ticket: UUID | None = None,
    request_id: str | None = None,
    limit: int,
) -> list[PricedEvent]:
    """Calls with their price versions, newest first, by one of the ids."""
    return await PRICED.all(db, event_id, ticket, request_id, limit)
