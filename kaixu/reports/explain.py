"""Explain the cost of a call: its tokens or units, and the rates of the price version that billed it.

The cost is computed independently of kaixu/metering, which billed the call: exact millionths of nano-dollars, added up
and rounded half up once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

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
    chain_id: int
    invoice_number: str | None
    invoice_line: int | None


COLUMNS = """
    select e.id, e.ticket, e.month, e.customer_id, e.key_id, e.book, e.operation, e.provider, e.model,
           e.price_id, e.cost_nusd, e.vendor_cost_nusd, e.input_tokens, e.output_tokens,
           e.cached_input_tokens, e.cache_write_tokens, e.reasoning_tokens, e.units, e.usage_source,
           e.end_reason, e.install_id, e.request_id, e.admitted_at, e.duration_ms, e.created_at, e.vendor_cost_known,
           e.app_id, e.build_id, e.end_user,
           p.rates, p.vendor, p.created_at as priced_at,
           coalesce((e.units ->> 'unbilled_nusd')::bigint, 0) as unbilled_nusd, e.granted_nusd, e.chain_id,
           i.name as invoice_number, i.line as invoice_line
      from kaixu.usage_event e
      left join kaixu.price p on p.id = e.price_id
      left join lateral (select v.name, l.line
                           from kaixu.invoice_line l
                           join kaixu.invoice v on v.id = l.invoice_id
                          where l.customer_id = e.customer_id and l.month = e.month and l.book = e.book
                            and l.provider = e.provider and l.model = e.model and v.kind = 'invoice'
                            and not exists (select from kaixu.invoice_void x where x.invoice_id = v.id)
                          order by v.id
                          limit 1) i on true
"""

#: Whose calls; null: everybody's.
OWNED = """
       and ($2::bigint is null or e.customer_id = $2)
       and ($3::bigint is null or e.chain_id = $3)
     order by e.created_at desc, e.id desc
     limit $4
"""

BY_ID = Query(PricedEvent, f"{COLUMNS} where e.id = $1 {OWNED}")
BY_TICKET = Query(PricedEvent, f"{COLUMNS} where e.ticket = $1 and e.month = any ($5::date[]) {OWNED}")
BY_REQUEST = Query(PricedEvent, f"{COLUMNS} where e.request_id = $1 {OWNED}")


#: Before all calls.
FIRST_MONTH = datetime(2020, 1, 1, tzinfo=UTC)


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


class Owner(msgspec.Struct, frozen=True):
    """Whose calls may be explained; `chain_id` None: those of all keys of the customer."""

    customer_id: int
    chain_id: int | None


async def explain(db: Connection, named: str, owner: Owner | None = None) -> list[Explanation]:
    """Explain calls, newest first, by an event's id, a ticket, or a request id; only those of `owner`, if given.

    Raises `NotFound`, also for calls of others; `DatabaseAway`.
    """
    of = (None, None) if owner is None else (owner.customer_id, owner.chain_id)
    with database():
        events: list[PricedEvent] = []
        if named.isascii() and named.isdigit() and len(named) < 20 and int(named) < 2**63:
            events = await BY_ID.all(db, int(named), *of, 1)
        elif (ticket := parse_ticket(named)) is not None:
            events = await BY_TICKET.all(db, ticket, *of, 1, months_of_ticket(ticket))
        if not events:
            events = await BY_REQUEST.all(db, named, *of, MAX_EVENTS)
    if not events:
        raise NotFound(f"there is no usage event {named[:100]}", hint="Use an event's id, a ticket, or a request id.")
    return [explain_event(event) for event in events]


def parse_ticket(named: str) -> UUID | None:
    """Parse a ticket id; None for anything else."""
    try:
        return UUID(named)
    except ValueError:
        return None


def months_of_ticket(ticket: UUID) -> list[date]:
    """The months in which the call may have been admitted: a ticket has the time at which the gateway made it.

    The ticket of a charge by key has none, and neither has a UUID of somebody else: then all months.
    """
    made_s, now = (ticket.int >> 80) / 1000, datetime.now(UTC)
    if FIRST_MONTH.timestamp() <= made_s <= (now + timedelta(days=2)).timestamp():
        made = datetime.fromtimestamp(made_s, UTC)
        return sorted({(made + timedelta(days=off)).date().replace(day=1) for off in (-1, 0, 1)})
    count = (now.year - FIRST_MONTH.year) * 12 + now.month + 1
    return [date(FIRST_MONTH.year + at // 12, at % 12 + 1, 1) for at in range(count)]


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
