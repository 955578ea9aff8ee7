"""Margins: spending, vendor cost, and what is left, by customer, key, model, lane or deployment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date
from typing import Any

import asyncpg
import msgspec

from kaixu.accounts import fields
from kaixu.plugin.errors import Unprocessable
from kaixu.store.query import Connection, Query

from .snapshot import report_snapshot
from .table import Report, Table
from .time_range import TimeRange, read_clock, read_range
from .usage_parts import DAYS, QUARTERS
from .values import instant

BY = ("customer", "key", "model", "provider", "deployment")
ORDERS = ("spent", "margin", "calls", "tokens")
MOST_ROWS, ROWS = 1000, 200
MOST_TOP, TOP = 100, 10

#: Customers, and keys of all customers, are added up from a row a day and series of each: 2 million in a month of
#: 5 million calls. Whole months are in a table of their own.
MOST_DAYS_BY_OWNER = 7


class MarginRow(msgspec.Struct, frozen=True):
    """The spending of a customer, key, model, provider or deployment. `uncosted_nusd`: with an unknown vendor cost."""

    id: str
    name: str
    calls: int
    input_tokens: int
    output_tokens: int
    spent_nusd: int
    vendor_cost_nusd: int
    uncosted_nusd: int

    @property
    def margin_nusd(self) -> int:
        """What is left of the spending whose vendor cost is known."""
        return self.spent_nusd - self.uncosted_nusd - self.vendor_cost_nusd

    @property
    def margin_percent(self) -> int | None:
        """The margin in hundredths of a percent of the spending whose vendor cost is known, rounded half up."""
        return margin_percent(self.margin_nusd, self.spent_nusd - self.uncosted_nusd)


def margin_percent(margin_nusd: int, costed_nusd: int) -> int | None:
    """A margin in hundredths of a percent of the spending whose vendor cost is known; None without any."""
    return (2 * 10_000 * margin_nusd + costed_nusd) // (2 * costed_nusd) if costed_nusd > 0 else None


# The name of a customer or key is looked up for the rows that are shown only.
RANKED = """
    , ranked as (
        select p.label, sum(p.calls)::bigint as calls,
               sum(p.input_tokens)::bigint as input_tokens, sum(p.output_tokens)::bigint as output_tokens,
               sum(p.spent_nusd)::bigint as spent_nusd, sum(p.vendor_cost_nusd)::bigint as vendor_cost_nusd,
               sum(p.uncosted_nusd)::bigint as uncosted_nusd
          from part p
         group by p.label
        having sum(p.calls) <> 0 or sum(p.spent_nusd) <> 0
         order by case {order}::text when 'calls' then sum(p.calls)
                                     when 'tokens' then sum(p.input_tokens) + sum(p.output_tokens)
                                     when 'margin'
                                     then sum(p.spent_nusd) - sum(p.uncosted_nusd) - sum(p.vendor_cost_nusd)
                                     else sum(p.spent_nusd) end desc, p.label
         limit {limit}
    )
    select r.label::text as id,
           case {by}::text when 'customer' then (select c.email from kaixu.customer c where c.id = r.label::bigint)
                           when 'key' then (select k.label || ' …' || k.key_last4 from kaixu.virtual_key k
                                             where k.chain_id = r.label::bigint order by k.id desc limit 1)
                           else r.label::text end as name,
           r.calls, r.input_tokens, r.output_tokens, r.spent_nusd, r.vendor_cost_nusd, r.uncosted_nusd
      from ranked r
     order by case {order}::text when 'calls' then r.calls when 'tokens' then r.input_tokens + r.output_tokens
                                 when 'margin' then r.spent_nusd - r.uncosted_nusd - r.vendor_cost_nusd
                                 else r.spent_nusd end desc, r.label
"""

# Months of customers and keys, which settlements keep themselves.
MONTHS = """
    with part as (
        select m.customer_id as label, m.calls, m.input_tokens, m.output_tokens, m.spent_nusd,
               m.vendor_cost_nusd, m.uncosted_nusd
          from kaixu.customer_month m
         where $4::text = 'customer' and m.month = $2::date and ($1::bigint is null or m.customer_id = $1)
           and ($3::text is null or m.book = $3)
         union all
        select m.chain_id, m.calls, m.input_tokens, m.output_tokens, m.spent_nusd, m.vendor_cost_nusd,
               m.uncosted_nusd
          from kaixu.key_month m
         where $4::text = 'key' and m.month = $2::date and ($1::bigint is null or m.customer_id = $1)
           and ($3::text is null or m.book = $3)
    )
"""

# For all customers' series: those whose quarters lie in the time, which the index by time finds.
OWNERS = """
    with part as (
        select case $6::text when 'customer' then s.customer_id else s.chain_id end as label, x.calls,
               x.input_tokens, x.output_tokens, x.spent_nusd, x.vendor_cost_nusd, x.uncosted_nusd
          from {table} x
          join kaixu.usage_series s on s.id = x.series_id
         where {within} and s.customer_id <> 0
           and ($3::text is null or s.provider = $3) and ($4::text is null or s.model = $4)
           and ($5::text is null or s.book = $5)
         union all
        select case $6::text when 'customer' then c.customer_id else c.chain_id end, c.calls,
               c.input_tokens, c.output_tokens, c.spent_nusd, c.vendor_cost_nusd, c.uncosted_nusd
          from kaixu.usage_change c
         where {waiting}
           and ($3::text is null or c.provider = $3) and ($4::text is null or c.model = $4)
           and ($5::text is null or c.book = $5)
    )
"""
WAITING_DAY = "(c.bucket at time zone $9::text)::date"

MARGIN_QUARTERS, MARGIN_DAYS = (
    Query(MarginRow, part + RANKED.format(by="$6", order="$11", limit="$12")) for part in (QUARTERS, DAYS)
)
MARGIN_MONTHS = Query(MarginRow, MONTHS + RANKED.format(by="$4", order="$5", limit="$6"))
OWNER_QUARTERS = Query(
    MarginRow,
    OWNERS.format(
        table="kaixu.usage_quarter",
        within="x.bucket >= $1::timestamptz and x.bucket < $2::timestamptz",
        waiting="c.bucket >= $1::timestamptz and c.bucket < $2::timestamptz",
    )
    + RANKED.format(by="$6", order="$7", limit="$8"),
)
#: By days of the reporting zone, $9.
OWNER_DAYS = Query(
    MarginRow,
    OWNERS.format(
        table="kaixu.usage_day",
        within="x.day >= $1::date and x.day < $2::date",
        waiting=f"{WAITING_DAY} >= $1::date and {WAITING_DAY} < $2::date",
    )
    + RANKED.format(by="$6", order="$7", limit="$8"),
)

COLUMNS: list[tuple[str, Any]] = [
    ("id", "text"), ("name", "text"), ("calls", "integer"), ("input_tokens", "integer"),
    ("output_tokens", "integer"), ("spent_nusd", "money"), ("vendor_cost_nusd", "money"), ("uncosted_nusd", "money"),
    ("margin_nusd", "money"), ("margin_percent", "percent"),
]  # fmt: skip
MARGIN = Report("usage-margin", "Margin", MarginRow, COLUMNS)
TOP_REPORT = Report("usage-top", "The top", MarginRow, COLUMNS)


class MarginQuestion(msgspec.Struct, frozen=True):
    """What a margin report is about; `customer_id` None: all customers."""

    by: str
    order: str
    limit: int
    customer_id: int | None
    provider: str | None
    model: str | None
    book: str | None


def read_margin(given: Mapping[str, object], *, default_by: str, most: int, default: int) -> MarginQuestion:
    """What a margin report is about, from the fields of a request. Raises `Unprocessable`."""
    by = fields.text(given.get("by"), "by", 20) or default_by
    by = {"lane": "provider", "customers": "customer", "keys": "key", "models": "model"}.get(by, by)
    if by not in BY:
        raise Unprocessable(f"`by` must be one of {', '.join(BY)}", field="by")
    order = fields.text(given.get("order"), "order", 20) or "spent"
    if order not in ORDERS:
        raise Unprocessable(f"`order` must be one of {', '.join(ORDERS)}", field="order")
    limit = fields.bounded(given.get("limit"), "limit", most, least=1) or default
    customer_id = fields.bounded(given.get("customer_id"), "customer_id", fields.MOST_ID, least=1)
    provider, model, book = (
        fields.text(given.get(name), name, fields.MOST_NAME) for name in ("provider", "model", "book")
    )
    return MarginQuestion(by, order, limit, customer_id, provider, model, book)


async def usage_margin(
    pool: asyncpg.Pool, given: Mapping[str, object], question: MarginQuestion, report: Report[MarginRow] = MARGIN
) -> Table[MarginRow]:
    """Margins, by the fields `month`, or `from` and `to`; by default the current month. Raises `Unprocessable`."""
    async with report_snapshot(pool) as connection:
        clock = await read_clock(connection)
        if not any(given.get(name) for name in ("month", "from", "to")):
            given = {**given, "month": f"{clock.now.astimezone(UTC):%Y-%m}"}
        month = fields.month(given.get("month"), "month")
        time = read_range(given, clock)
        rows = await margin_rows(connection, question, time, month)
    about = {
        "month": None if month is None else f"{month:%Y-%m}",
        "from": instant(time.since),
        "to": instant(time.until),
        "by": question.by,
        "order": question.order,
        "customer_id": question.customer_id,
    }
    return Table(report, rows, time.zone, about)


async def margin_rows(db: Connection, question: MarginQuestion, time: TimeRange, month: date | None) -> list[MarginRow]:
    """The rows, from the smallest table that holds them."""
    ranking = (question.by, question.order, question.limit)
    of_owners = question.by in ("customer", "key")
    if of_owners and month is not None and question.provider is None and question.model is None:
        return await MARGIN_MONTHS.all(db, question.customer_id, month, question.book, *ranking)
    by_days = time.is_whole_days
    since, until = (time.first_day, time.end_day) if by_days else (time.since, time.until)
    filters = (question.provider, question.model, question.book)
    if of_owners and question.customer_id is None:
        require_short(question, time)
        if by_days:
            return await OWNER_DAYS.all(db, since, until, *filters, *ranking, time.zone)
        return await OWNER_QUARTERS.all(db, since, until, *filters, *ranking)
    query = MARGIN_DAYS if by_days else MARGIN_QUARTERS
    return await query.all(
        db, [question.customer_id or 0], None, since, until, time.zone, question.by, *filters, time.interval,
        question.order, question.limit,
    )  # fmt: skip


def require_short(question: MarginQuestion, time: TimeRange) -> None:
    """Raises `Unprocessable` for a time that is too long to add up for each customer or key."""
    if (time.until - time.since).days > MOST_DAYS_BY_OWNER:
        is_filtered = question.provider is not None or question.model is not None
        whole = "" if is_filtered else "a whole month, "
        without = " with a provider or model" if is_filtered else ""
        raise Unprocessable(
            f"margins of all customers by {question.by}{without} are of at most {MOST_DAYS_BY_OWNER} days",
            hint=f"Name {whole}a shorter time, or one customer.",
            field="from",
        )
