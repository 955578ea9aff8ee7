"""A month of all customers: whose invoice is issued, whose can be, and what the others wait for."""

from __future__ import annotations

from datetime import date

import msgspec

from .invoices import Due
from .query import Connection, Query


class CustomerMonth(msgspec.Struct, frozen=True):
    """A customer's month with something to bill. Money is in nano-dollars, `total_cents` is the invoice's.

    `state`: 'open' (the month is not over), 'waiting' (for calls), 'details' (the billing details lack something),
    'ready', 'issued'.
    """

    customer_id: int
    email: str
    spent_nusd: int
    state: str
    open_calls: int
    lost_calls: int
    number: str | None
    total_cents: int | None
    drafted: bool


class StateCount(msgspec.Struct, frozen=True):
    """How many customers' months are in a state, and what they have spent."""

    state: str
    customers: int
    spent_nusd: int


# What was spent at another gateway before an import was billed there. $1 the month, $2 how long lost calls are waited
# for, in hours, $3 whether an invoice needs an address. Calls are counted for the whole month, not by customer.
MONTHS = """
    with spent as (
        select m.customer_id, sum(m.spent_nusd)::bigint as spent_nusd
          from kaixu.customer_month m
         where m.month = $1 and m.book <> 'import'
         group by m.customer_id
        having sum(m.spent_nusd) > 0
    ), ended as (
        select ($1::date + interval '1 month') at time zone 'UTC' as at
    ), open as (
        select r.customer_id, count(*) as calls
          from kaixu.reservation r
         where r.month = $1
         group by r.customer_id
    ), lost as (
        -- Only while they are waited for: the condition on the time is decided once, before any event is read.
        select e.customer_id, count(*) as calls
          from kaixu.usage_event e
         where e.month = $1 and e.end_reason = 'lost'
           and now() >= ($1::date + interval '1 month') at time zone 'UTC'
           and now() < ($1::date + interval '1 month') at time zone 'UTC' + make_interval(hours => $2)
         group by e.customer_id
    ), issued as (
        select i.customer_id, i.name, i.total_cents
          from kaixu.invoice i
         where i.month = $1 and i.kind = 'invoice'
           and not exists (select 1 from kaixu.invoice_void v where v.invoice_id = i.id)
    ), months as (
        select s.customer_id, s.spent_nusd, i.name as number, i.total_cents, coalesce(o.calls, 0) as open_calls,
               coalesce(l.calls, 0) as lost_calls,
               case when i.name is not null then 'issued'
                    when now() < d.at then 'open'
                    when coalesce(o.calls, 0) + coalesce(l.calls, 0) > 0 and now() < d.at + make_interval(hours => $2)
                    then 'waiting'
                    when $3 and (b.customer_id is null or coalesce(b.name, '') = '' or coalesce(b.country, '') = ''
                                 or coalesce(cardinality(b.address), 0) = 0)
                    then 'details'
                    else 'ready' end as state
          from spent s
         cross join ended d
          left join issued i on i.customer_id = s.customer_id
          left join open o on o.customer_id = s.customer_id
          left join lost l on l.customer_id = s.customer_id
          left join kaixu.billing_account b on b.customer_id = s.customer_id
    )
"""

COUNTS = Query(
    StateCount,
    f"""{MONTHS}
    select m.state, count(*) as customers, sum(m.spent_nusd)::bigint as spent_nusd from months m group by m.state
    """,  # noqa: S608 - constants
)

LISTED = Query(
    CustomerMonth,
    f"""{MONTHS}
    select m.customer_id, c.email, m.spent_nusd, m.state, m.open_calls, m.lost_calls, m.number, m.total_cents,
           exists (select 1 from kaixu.invoice_draft f where f.customer_id = m.customer_id and f.month = $1) as drafted
      from months m
      join kaixu.customer c on c.id = m.customer_id
     where ($4::text is null or m.state = $4) and m.customer_id > $5
     order by m.customer_id
     limit $6
    """,  # noqa: S608 - constants
)

# Customers with something to bill in a month, and without an invoice in force.
DUE_OF_MONTH = Query(
    Due,
    """
    select m.customer_id, m.month
      from kaixu.customer_month m
     where m.month = $1 and m.customer_id > $2 and m.book <> 'import'
       and not exists (select 1 from kaixu.invoice i
                        where i.customer_id = m.customer_id and i.month = m.month and i.kind = 'invoice'
                          and not exists (select 1 from kaixu.invoice_void v where v.invoice_id = i.id))
     group by m.customer_id, m.month
    having sum(m.spent_nusd) > 0
     order by m.customer_id
     limit $3
    """,
)


async def state_counts(db: Connection, month: date, *, lost_wait_h: int, needs_address: bool) -> list[StateCount]:
    """How many customers' months are in each state."""
    return await COUNTS.all(db, month, lost_wait_h, needs_address)
