"""Prove that the books add up: compare every stored figure with the sum of its rows, in one snapshot."""

from __future__ import annotations

from datetime import date

import msgspec

from kaixu.store.pool import database
from kaixu.store.query import Connection, DatabaseSession, Query

from .recomputed import Difference, NotRecomputable, not_recomputable, wrong_costs
from .reconcile_rollups import rollup_differences


class Reconciled(msgspec.Struct, frozen=True):
    """The result. Without `differences` everything adds up. `not_recomputable`: events that cannot be proven.

    `notes`: worth a look, but not errors.
    """

    customers: int
    months: int
    events: int
    reservations: int
    differences: list[Difference]
    not_recomputable: list[NotRecomputable]
    notes: list[Difference]


CUSTOMER_MONTHS = Query(
    Difference,
    """
    with events as (
        select e.customer_id, e.month, e.book, sum(e.cost_nusd)::bigint as spent,
               sum(e.vendor_cost_nusd)::bigint as vendor,
               sum(e.cost_nusd) filter (where not e.vendor_cost_known)::bigint as uncosted, count(*) as calls,
               sum(e.input_tokens)::bigint as input, sum(e.output_tokens)::bigint as output
          from kaixu.usage_event e
         where $1::date is null or e.month = $1
         group by 1, 2, 3
    ), holds as (
        select r.customer_id, r.month, r.book, sum(r.held_nusd)::bigint as held
          from (select x.customer_id, x.month, x.book, x.held_nusd from kaixu.reservation x
                union all
                select x.customer_id, x.month, x.book, x.held_nusd from kaixu.keyed_charge x where x.state = 'held') r
         where $1::date is null or r.month = $1
         group by 1, 2, 3
    ), credits as (
        select t.customer_id, t.month, 'ai' as book, sum(t.amount_nusd)::bigint as extra
          from kaixu.topup t
         where $1::date is null or t.month = $1
         group by 1, 2
    ), keys as (
        select k.customer_id, k.month, k.book, sum(k.spent_nusd)::bigint as spent,
               sum(k.held_nusd)::bigint as held
          from kaixu.key_month k
         where $1::date is null or k.month = $1
         group by 1, 2, 3
    ), months as (
        select m.customer_id, m.month, m.book, m.spent_nusd, m.held_nusd, m.extra_nusd, m.vendor_cost_nusd,
               m.uncosted_nusd, m.calls, m.input_tokens, m.output_tokens
          from kaixu.customer_month m
         where $1::date is null or m.month = $1
    )
    select 'customer' as what, customer_id as id, month, book, d.figure, d.kept, d.proven
      from months m
      full join events e using (customer_id, month, book)
      full join holds h using (customer_id, month, book)
      full join credits t using (customer_id, month, book)
      full join keys k using (customer_id, month, book)
     cross join lateral (values
               ('spent_nusd', m.spent_nusd, coalesce(e.spent, 0)),
               ('vendor_cost_nusd', m.vendor_cost_nusd, coalesce(e.vendor, 0)),
               ('uncosted_nusd', m.uncosted_nusd, coalesce(e.uncosted, 0)),
               ('calls', m.calls, coalesce(e.calls, 0)),
               ('input_tokens', m.input_tokens, coalesce(e.input, 0)),
               ('output_tokens', m.output_tokens, coalesce(e.output, 0)),
               ('held_nusd', m.held_nusd, coalesce(h.held, 0)),
               ('extra_nusd', m.extra_nusd, coalesce(t.extra, 0)),
               ('spent_nusd of its keys', m.spent_nusd, coalesce(k.spent, 0)),
               ('held_nusd of its keys', m.held_nusd, coalesce(k.held, 0))) d (figure, kept, proven)
     where d.kept is distinct from d.proven
     order by 2, 3, 4, 5
    """,
)

KEY_MONTHS = Query(
    Difference,
    """
    with events as (
        select e.chain_id, e.customer_id, e.month, e.book, sum(e.cost_nusd)::bigint as spent,
               sum(e.vendor_cost_nusd)::bigint as vendor,
               sum(e.cost_nusd) filter (where not e.vendor_cost_known)::bigint as uncosted, count(*) as calls,
               sum(e.input_tokens)::bigint as input, sum(e.output_tokens)::bigint as output
          from kaixu.usage_event e
         where $1::date is null or e.month = $1
         group by 1, 2, 3, 4
    ), holds as (
        select r.chain_id, r.customer_id, r.month, r.book, sum(r.held_nusd)::bigint as held
          from (select x.chain_id, x.customer_id, x.month, x.book, x.held_nusd from kaixu.reservation x
                union all
                select x.chain_id, x.customer_id, x.month, x.book, x.held_nusd from kaixu.keyed_charge x
                 where x.state = 'held') r
         where $1::date is null or r.month = $1
         group by 1, 2, 3, 4
    ), months as (
        select m.chain_id, m.customer_id, m.month, m.book, m.spent_nusd, m.held_nusd, m.vendor_cost_nusd,
               m.uncosted_nusd, m.calls, m.input_tokens, m.output_tokens
          from kaixu.key_month m
         where $1::date is null or m.month = $1
    )
    select 'key chain' as what, chain_id as id, month, book, d.figure, d.kept, d.proven
      from months m
      full join events e using (chain_id, customer_id, month, book)
      full join holds h using (chain_id, customer_id, month, book)
     cross join lateral (values
               ('spent_nusd', m.spent_nusd, coalesce(e.spent, 0)),
               ('vendor_cost_nusd', m.vendor_cost_nusd, coalesce(e.vendor, 0)),
               ('uncosted_nusd', m.uncosted_nusd, coalesce(e.uncosted, 0)),
               ('calls', m.calls, coalesce(e.calls, 0)),
               ('input_tokens', m.input_tokens, coalesce(e.input, 0)),
               ('output_tokens', m.output_tokens, coalesce(e.output, 0)),
               ('held_nusd', m.held_nusd, coalesce(h.held, 0))) d (figure, kept, proven)
     where d.kept is distinct from d.proven
     order by 2, 3, 4, 5
    """,
)

# A call is either in flight or billed; a key and its calls have the same customer.
STRAYS = Query(
    Difference,
    """
    select 'event' as what, e.id, e.month, e.book, 'reservations of its ticket' as figure, count(*) as kept,
           0::bigint as proven
      from kaixu.usage_event e
      join kaixu.reservation r on r.ticket = e.ticket
     where $1::date is null or e.month = $1
     group by e.id, e.month, e.book
    union all
    select 'event', e.id, e.month, e.book, 'holds of its charge', count(*), 0
      from kaixu.keyed_charge k
      join kaixu.usage_event e on e.month = k.month and e.ticket = k.ticket
     where ($1::date is null or e.month = $1) and k.state = 'held'
     group by e.id, e.month, e.book
    union all
    select 'event', e.id, e.month, e.book, 'customer of its key', e.customer_id, k.customer_id
      from kaixu.usage_event e
      left join kaixu.virtual_key k on k.id = e.key_id
     where ($1::date is null or e.month = $1)
       and (k.customer_id is distinct from e.customer_id or k.chain_id is distinct from e.chain_id)
     order by 2
     limit 1000
    """,
)

# A cap applies to all books of a month together, so `book` is null, except for books with a cap of their own. Who owes
# credit has spent more than is left of it, and has not passed the cap: what was taken back in the month, and what of it
# was carried on as debt, were there when it was spent.
OVER_CAP = Query(
    Difference,
    """
    select 'customer' as what, m.customer_id as id, m.month, null::text as book,
           'spent_nusd + held_nusd of all books over cap + extra' as figure, m.used as kept,
           c.monthly_cap_nusd + m.extra + t.taken_back as proven
      from (select b.customer_id, b.month, sum(b.spent_nusd + b.held_nusd)::bigint as used,
                   sum(b.extra_nusd)::bigint as extra
              from kaixu.customer_month b
             where ($1::date is null or b.month = $1) and not b.has_own_cap
             group by b.customer_id, b.month) m
      join kaixu.customer c on c.id = m.customer_id
     cross join lateral (select greatest(0, -coalesce(sum(p.amount_nusd), 0))::bigint as taken_back
                           from kaixu.topup p
                          where p.customer_id = m.customer_id and p.month = m.month
                            and case p.source when 'rollover' then false
                                              when 'carried' then p.amount_nusd > 0     -- debt that went on
                                              else p.amount_nusd < 0 end) t
     where m.used > greatest(0, c.monthly_cap_nusd + m.extra + t.taken_back)
    union all
    select 'key chain', m.chain_id, m.month, null, 'spent_nusd + held_nusd of all books over its cap', m.used,
           k.monthly_cap_nusd
      from (select b.chain_id, b.month, sum(b.spent_nusd + b.held_nusd)::bigint as used
              from kaixu.key_month b
             where ($1::date is null or b.month = $1) and not b.has_own_cap
             group by b.chain_id, b.month) m
      join lateral (select v.monthly_cap_nusd from kaixu.virtual_key v
                     where v.chain_id = m.chain_id order by v.id desc limit 1) k on true
     where m.used > k.monthly_cap_nusd
    union all
    select 'customer', m.customer_id, m.month, m.book, 'spent_nusd + held_nusd over the cap of the book',
           m.spent_nusd + m.held_nusd, x.cap_nusd
      from kaixu.customer_month m
     cross join lateral (select kaixu.book_cap(p_customer_id => m.customer_id, p_book => m.book) as cap_nusd) x
     where ($1::date is null or m.month = $1) and m.has_own_cap and m.spent_nusd + m.held_nusd > x.cap_nusd
     order by 1, 2, 3
    """,
)


# What earlier months give up is what later ones get.
CARRIED = Query(
    Difference,
    """
    select 'customer' as what, t.customer_id as id, max(t.month) as month, 'ai' as book,
           'credit carried into months' as figure,
           (sum(t.amount_nusd) filter (where t.source = 'rollover'))::bigint as kept,
           (-coalesce(sum(t.amount_nusd) filter (where t.source = 'carried'), 0))::bigint as proven
      from kaixu.topup t
     where t.source in ('rollover', 'carried') and $1::date is null
     group by t.customer_id
    having sum(t.amount_nusd) <> 0
     order by 2
    """,
)


# The days that admission compares with caps: each is the sum of the day's events.
LIMIT_DAYS = Query(
    Difference,
    """
    with days as (
        select u.customer_id, u.subject, u.day, date_trunc('month', u.day)::date as month, u.day_spent_nusd
          from kaixu.limit_use u
         where u.day is not null and ($1::date is null or date_trunc('month', u.day)::date = $1)
    ), events as (
        select d.customer_id, d.subject, sum(e.cost_nusd)::bigint as spent
          from days d
          join kaixu.usage_event e
            on e.month = d.month and e.customer_id = d.customer_id and (e.admitted_at at time zone 'UTC')::date = d.day
           and (e.book = 'ai' or not kaixu.book_has_own_cap(
                    p_customer_id => e.customer_id, p_month => e.month, p_book => e.book))
          join kaixu.virtual_key k on k.id = e.key_id
         where d.subject = any (kaixu.limit_subjects(
                   p_chain_id => e.chain_id, p_group_id => k.group_id, p_provider => e.provider, p_model => e.model))
         group by 1, 2
    )
    select 'limit' as what, d.customer_id as id, d.month, null::text as book,
           'spent_nusd on ' || d.day || ' of ' || d.subject as figure, d.day_spent_nusd as kept,
           coalesce(e.spent, 0) as proven
      from days d
      left join events e using (customer_id, subject)
     where d.day_spent_nusd <> coalesce(e.spent, 0)
     order by 2, 5
    """,
)


async def reconcile(connection: DatabaseSession, *, month: date | None = None) -> Reconciled:
    """Compare every stored figure with its rows, in one month or in all.

    Nothing is written or locked, so calls go on meanwhile.
    """
    with database():
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return Reconciled(
                customers=await connection.fetchval("select count(*) from kaixu.customer"),
                months=await connection.fetchval(
                    "select count(*) from kaixu.customer_month where $1::date is null or month = $1", month
                ),
                events=await connection.fetchval(
                    "select count(*) from kaixu.usage_event where $1::date is null or month = $1", month
                ),
                reservations=await connection.fetchval(
                    "select count(*) from kaixu.reservation where $1::date is null or month = $1", month
                ),
                differences=await differences(connection, month),
                not_recomputable=await not_recomputable(connection, month),
                notes=await OVER_CAP.all(connection, month),
            )


async def differences(db: Connection, month: date | None) -> list[Difference]:
    """Every figure that does not add up, in one month or in all."""
    return [
        *await CUSTOMER_MONTHS.all(db, month),
        *await KEY_MONTHS.all(db, month),
        *await wrong_costs(db, month),
        *await STRAYS.all(db, month),
        *await CARRIED.all(db, month),
        *await LIMIT_DAYS.all(db, month),
        *await rollup_differences(db, month),
    ]
