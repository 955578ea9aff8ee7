"""Why a call cost what it cost: its tokens or units, at the rates of the price version it was billed by.

The arithmetic is done here once more, apart from kaixu/metering that billed it: whole nano-dollars per million, added
up exactly, rounded half up once.
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

#: Every kind of token that a price by the token has a rate for.
KINDS = frozenset({"input", "cached_input", "cache_write", "output", "reasoning"})

#: A request may have been sent more than once under one id.
MAX_EVENTS = 100


class PricedEvent(UsageEvent, frozen=True):
    """One call with its price version; None where there is no such version."""

    rates: dict[str, int] | None
    vendor: dict[str, int] | None
    priced_at: datetime | None
    unbilled_nusd: int
    granted_nusd: int | None


# Three ways to name a call. Request ids have no index: nothing else looks for them.
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
    """One kind of token, or a unit, or the call itself; `tokens` is how many.

    `rate`: nano-dollars per million of them; `cost_millionths`: of a nano-dollar.
    """

    kind: str
    tokens: int
    rate: int
    cost_millionths: int


class Explanation(msgspec.Struct, frozen=True):
    """A call's cost, line by line. `priced_nusd` is None where its price has no rates."""

    event: PricedEvent
    lines: list[CostLine]
    priced_nusd: int | None
    vendor_priced_nusd: int | None
    adds_up: bool
    note: str | None


async def explain(pool: asyncpg.Pool, named: str) -> list[Explanation]:
    """The calls of a name, newest first: an event's number, a ticket, or a request id. Raises `NotFound`."""
    with database():
        found: list[PricedEvent] = []
        if named.isascii() and named.isdigit() and int(named) < 2**63:
            found = await priced_events(pool, event_id=int(named), limit=1)
        elif (ticket := parse_ticket(named)) is not None:
            found = await priced_events(pool, ticket=ticket, limit=1)
        if not found:
            found = await priced_events(pool, request_id=named, limit=MAX_EVENTS)
    if not found:
        raise NotFound(f"there is no usage event {named}", hint="Name an event by its number, ticket, or request id.")
    return [explain_event(event) for event in found]


def parse_ticket(named: str) -> UUID | None:
    """The ticket that `named` writes, or None."""
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
        return Explanation(event, [], None, None, False, "its price is by nothing that is known here")
    priced = round_nusd(sum(line.cost_millionths for line in lines))
    vendor = None
    if event.vendor and is_priced_by_token(event.vendor):
        vendor = round_nusd(sum(line.cost_millionths for line in token_lines(event, event.vendor)))
    adds_up, note = check_bill(event, priced, by_token=by_token)
    return Explanation(event, lines, priced, vendor, adds_up, note)


def is_priced_by_token(rates: Mapping[str, int]) -> bool:
    """Whether every kind of token has a rate; an integration's price is by the call or by a unit."""
    return rates.keys() >= KINDS


def token_lines(event: PricedEvent, rates: Mapping[str, int]) -> list[CostLine]:
    """Every token once: cached and cache-writing ones are parts of the input, reasoning of the output."""
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
    """The one line of an integration's charge: a price for the call, or for so many of a unit; see `RECOMPUTED`."""
    if len(rates) == 1:
        [(name, nusd)] = rates.items()
        return [CostLine(name, 1, nusd * MILLION, nusd * MILLION)]
    if len(rates) != 2:
        return []
    first, second = sorted(rates)
    for price, size in ((second, first), (first, second)):
        is_a_size_too = price.startswith("per_") and price.removeprefix("per_") in units
        if size.startswith("per_") and not is_a_size_too:
            unit = size.removeprefix("per_")
            count, millionths = int(units.get(unit, 0)), rates[price] * MILLION
            return [CostLine(unit, count, millionths // rates[size], count * millionths // rates[size])]
    return []


def round_nusd(millionths: int) -> int:
    """Millionths of a nano-dollar as nano-dollars, half up."""
    return (millionths + MILLION // 2) // MILLION


def check_bill(event: PricedEvent, priced_nusd: int, *, by_token: bool) -> tuple[bool, str | None]:
    """Whether the bill follows from the price, and what explains a difference."""
    if event.end_reason == "lost":
        charged = "all that was held was charged" if event.cost_nusd else "nothing was charged"
        return True, f"its gateway died and nobody knows what was used; {charged}, as on_lost says"
    if event.end_reason == "undelivered" and not event.cost_nusd:
        return True, "a vendor worked for it, but its answer could not be delivered: nothing was billed"
    if event.cost_nusd == priced_nusd:
        return True, None
    if event.unbilled_nusd and event.cost_nusd + event.unbilled_nusd <= priced_nusd:
        return True, "it was settled after its hold had expired: billed as far as the cap had room"
    is_bound = by_token and event.cost_nusd < priced_nusd and event.granted_nusd in (None, event.cost_nusd)
    if is_bound and event.end_reason == "budget_cut":
        return True, "it was ended at its budget: never charged above what was held for it"
    if is_bound and event.usage_source != "provider":
        return True, "its tokens were counted here, not reported: never charged above what was held for it"
    return False, "the bill does not follow from the price"


async def priced_events(
    db: Connection,
    *,
    event_id: int | None = None,
    ticket: UUID | None = None,
    request_id: str | None = None,
    limit: int,
) -> list[PricedEvent]:
    """Calls by one of their names, newest first, each with its price version."""
    return await PRICED.all(db, event_id, ticket, request_id, limit)
