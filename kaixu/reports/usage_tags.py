"""A customer's month by application and by end user."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from kaixu.config.price import usd
from kaixu.store.query import Connection, Query

from .values import budget_fields

#: How many applications and end users are listed: those that spent most.
MOST_LISTED = 100


class AppUsage(msgspec.Struct, frozen=True):
    """An application's month, all books together; `app_id` None: calls without an application."""

    app_id: str | None
    calls: int
    input_tokens: int
    output_tokens: int
    spent_nusd: int
    vendor_cost_nusd: int
    uncosted_nusd: int


class EndUserUsage(msgspec.Struct, frozen=True):
    """An end user's month, with the cap that holds for it; None: no cap."""

    end_user: str
    calls: int
    input_tokens: int
    output_tokens: int
    spent_nusd: int
    held_nusd: int
    cap_nusd: int | None


# Calls without an application have no row of their own: they are what is left of the customer's month.
APPS = Query(
    AppUsage,
    """
    with named as (
        select a.app_id, sum(a.calls)::bigint as calls, sum(a.input_tokens)::bigint as input_tokens,
               sum(a.output_tokens)::bigint as output_tokens, sum(a.spent_nusd)::bigint as spent_nusd,
               sum(a.vendor_cost_nusd)::bigint as vendor_cost_nusd, sum(a.uncosted_nusd)::bigint as uncosted_nusd
          from kaixu.app_month a
         where a.customer_id = $1 and a.month = $2
         group by a.app_id
    ), total as (
        select coalesce(sum(m.calls), 0)::bigint as calls, coalesce(sum(m.input_tokens), 0)::bigint as input_tokens,
               coalesce(sum(m.output_tokens), 0)::bigint as output_tokens,
               coalesce(sum(m.spent_nusd), 0)::bigint as spent_nusd,
               coalesce(sum(m.vendor_cost_nusd), 0)::bigint as vendor_cost_nusd,
               coalesce(sum(m.uncosted_nusd), 0)::bigint as uncosted_nusd
          from kaixu.customer_month m
         where m.customer_id = $1 and m.month = $2
    ), unnamed as (
        select null::text as app_id, (t.calls - coalesce(sum(n.calls), 0))::bigint as calls,
               (t.input_tokens - coalesce(sum(n.input_tokens), 0))::bigint as input_tokens,
               (t.output_tokens - coalesce(sum(n.output_tokens), 0))::bigint as output_tokens,
               (t.spent_nusd - coalesce(sum(n.spent_nusd), 0))::bigint as spent_nusd,
               (t.vendor_cost_nusd - coalesce(sum(n.vendor_cost_nusd), 0))::bigint as vendor_cost_nusd,
               (t.uncosted_nusd - coalesce(sum(n.uncosted_nusd), 0))::bigint as uncosted_nusd
          from total t
          left join named n on true
         group by t.calls, t.input_tokens, t.output_tokens, t.spent_nusd, t.vendor_cost_nusd, t.uncosted_nusd
    )
    select *
      from (select * from named union all select * from unnamed u where u.calls <> 0 or u.spent_nusd <> 0) x
     order by x.spent_nusd desc, x.app_id nulls last
     limit $3
    """,
)

END_USERS = Query(
    EndUserUsage,
    """
    select m.end_user, m.calls, m.input_tokens, m.output_tokens, m.spent_nusd, m.held_nusd,
           coalesce(u.monthly_cap_nusd, c.end_user_cap_nusd) as cap_nusd
      from kaixu.end_user_month m
      join kaixu.customer c on c.id = m.customer_id
      left join kaixu.end_user_cap u on u.customer_id = m.customer_id and u.end_user = m.end_user
     where m.customer_id = $1 and m.month = $2
     order by m.spent_nusd desc, m.end_user
     limit $3
    """,
)


async def app_usage(db: Connection, customer_id: int, month: date) -> list[AppUsage]:
    """The applications that spent most."""
    return await APPS.all(db, customer_id, month, MOST_LISTED)


async def end_user_usage(db: Connection, customer_id: int, month: date) -> list[EndUserUsage]:
    """The end users that spent most."""
    return await END_USERS.all(db, customer_id, month, MOST_LISTED)


def app_json(row: AppUsage) -> dict[str, Any]:
    """An application's month."""
    return {
        "app_id": row.app_id,
        **budget_fields(row.spent_nusd, 0, None),
        "vendor_cost_usd": usd(row.vendor_cost_nusd),
        "uncosted_usd": usd(row.uncosted_nusd),
        "margin_usd": usd(row.spent_nusd - row.uncosted_nusd - row.vendor_cost_nusd),
        "calls": row.calls,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
    }


def end_user_json(row: EndUserUsage) -> dict[str, Any]:
    """An end user's month."""
    available = None if row.cap_nusd is None else max(0, row.cap_nusd - row.spent_nusd - row.held_nusd)
    return {
        "end_user": row.end_user,
        **budget_fields(row.spent_nusd, row.held_nusd, available),
        "cap_usd": None if row.cap_nusd is None else usd(row.cap_nusd),
        "calls": row.calls,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
    }
