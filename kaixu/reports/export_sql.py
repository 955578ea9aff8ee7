"""The SQL of exports. Columns and expressions come from fixed tables, never from a request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

from .export import Export
from .export_columns import EVENT_COLUMNS, EVENT_COST_COLUMNS, SUMMARY_COLUMNS, SUMMARY_COST_COLUMNS, Column
from .time_range import months_of_calls

#: Of an export without `to`.
END = datetime(2099, 12, 1, tzinfo=UTC)

FIGURES = """sum(b.spent_nusd)::bigint as spent_nusd, sum(b.held_nusd)::bigint as held_nusd,
                sum(b.vendor_cost_nusd)::bigint as vendor_cost_nusd, sum(b.uncosted_nusd)::bigint as uncosted_nusd,
                sum(b.calls)::bigint as calls, sum(b.input_tokens)::bigint as input_tokens,
                sum(b.output_tokens)::bigint as output_tokens, max(b.updated_at) as updated_at"""

#: A month without calls has figures of 0.
ZERO = """coalesce(x.spent_nusd, 0) as spent_nusd, coalesce(x.held_nusd, 0) as held_nusd,
                coalesce(x.vendor_cost_nusd, 0) as vendor_cost_nusd, coalesce(x.uncosted_nusd, 0) as uncosted_nusd,
                coalesce(x.calls, 0) as calls, coalesce(x.input_tokens, 0) as input_tokens,
                coalesce(x.output_tokens, 0) as output_tokens, x.updated_at"""

CUSTOMER_FIGURES = f"""
      left join cm x on x.customer_id = c.id
     cross join lateral (select $1::date as month, {ZERO}) m
     cross join lateral (select coalesce(x.spent_nusd, 0) as spent_nusd, coalesce(x.extra_nusd, 0) as extra_nusd) cm
      left join lateral (select null::bigint as id, null::text as key_last4, null::text as label,
                                null::bigint as monthly_cap_nusd where $3::bigint is not null) k on true
"""

KEY_FIGURES = f"""
      join lateral (select distinct on (v.chain_id) v.id, v.chain_id, v.key_last4, v.label, v.monthly_cap_nusd
                      from kaixu.virtual_key v
                     where v.customer_id = c.id and ($3::bigint is null or v.chain_id = $3)
                     order by v.chain_id, v.id desc) k on true
      left join lateral (select {FIGURES}
                           from kaixu.key_month b
                          where b.chain_id = k.chain_id and b.month = $1::date) x on true
     cross join lateral (select $1::date as month, {ZERO}) m
      left join cm y on y.customer_id = c.id
     cross join lateral (select coalesce(y.spent_nusd, 0) as spent_nusd, coalesce(y.extra_nusd, 0) as extra_nusd) cm
"""  # noqa: S608 - constants


def selected(export: Export, known: Mapping[str, Column]) -> str:
    """The selected columns as SQL. Names and expressions come from the tables of columns, never from a request."""
    guarded = export.format == "csv"

    def expression(column: Column) -> str:
        return f"kaixu.csv_text(p_text => {column.sql})" if guarded and column.is_text else column.sql

    return ", ".join(f"{expression(known[name])} as {name}" for name in export.columns)


def events_sql(export: Export) -> str:
    """The calls, oldest first. $1 to $11: see `event_values`."""
    columns = selected(export, {**EVENT_COLUMNS, **EVENT_COST_COLUMNS})
    # Of all customers by id: that is the order in which calls were settled, and has an index.
    order = "e.id" if export.customer_id is None else "e.created_at, e.id"
    return f"""
    select {columns}
      from kaixu.usage_event e
      left join kaixu.virtual_key k on k.id = e.key_id
      left join kaixu.customer c on c.id = e.customer_id
     where e.month between $1::date and $2::date
       and ($3::bigint is null or e.customer_id = $3)
       and ($4::bigint is null or e.chain_id = $4)
       and ($5::timestamptz is null or e.admitted_at >= $5)
       and ($6::timestamptz is null or e.admitted_at < $6)
       and ($7::text is null or e.provider = $7)
       and ($8::text is null or e.model = $8)
       and ($9::text is null or e.app_id = $9)
       and ($10::text is null or e.end_user = $10)
     order by {order}
     limit $11::bigint
    """  # noqa: S608 - columns come from a fixed table


def event_values(export: Export, month: date, chain_id: int | None) -> list[object]:
    """The parameters of `events_sql`; `chain_id`: the chain of the export's key."""
    first = last = month
    if export.since is not None:
        first, last = months_of_calls(export.since, export.until or END)
    return [
        first, last, export.customer_id, chain_id, export.since, export.until, export.provider, export.model,
        export.app_id, export.end_user, export.limit,
    ]  # fmt: skip


def summary_sql(export: Export) -> str:
    """A row for each customer; with a key its chain's, and for a customer's own keys one for each.

    $1: the month, $2: the customer or null, $3: the key chain or null, $4: the limit.
    """
    columns = selected(export, {**SUMMARY_COLUMNS, **SUMMARY_COST_COLUMNS})
    by_key = export.key_id is not None or not export.for_operator
    source = KEY_FIGURES if by_key else CUSTOMER_FIGURES
    return f"""
    with cm as (
        select b.customer_id, {FIGURES}, sum(b.extra_nusd)::bigint as extra_nusd
          from kaixu.customer_month b
         where b.month = $1::date and ($2::bigint is null or b.customer_id = $2)
         group by b.customer_id
    )
    select {columns}
      from kaixu.customer c
      {source}
     where ($2::bigint is null or c.id = $2)
     order by c.id, k.id
     limit $4::bigint
    """  # noqa: S608 - columns come from a fixed table
