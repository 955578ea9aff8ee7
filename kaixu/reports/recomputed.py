"""Recompute the cost of every usage event from its usage and the price version that billed it.

This repeats the arithmetic of kaixu/metering/pricing.py and charges.py in SQL, independently of them. There are four
kinds of price versions: a rate for each kind of token (chat, embeddings, searches, batches, cached answers), a price
per call, a price per number of units (both for integrations), and none, for free operations.

Usage that a vendor reported is billed in full, up to the caps: `cost_nusd` plus `unbilled_nusd` is the price. Usage
that was counted or estimated by the gateway, or cut at its budget, is billed at most as much as admission granted.
"""

from __future__ import annotations

from datetime import date

import msgspec

from kaixu.store.query import Connection, Query


class Difference(msgspec.Struct, frozen=True):
    """A stored figure (`kept`) and its recomputed value (`proven`); money is in nano-dollars.

    `id`: of a `what`; `book`: None for all books together.
    """

    what: str
    id: int
    month: date | None
    book: str | None
    figure: str
    kept: int | None
    proven: int | None


class NotRecomputable(msgspec.Struct, frozen=True):
    """The number of events that cannot be recomputed, for one reason."""

    reason: str
    events: int


# Undelivered work is recorded as unbilled in full, whatever was granted.
# A price per number of units has two rates: `<price>` and `per_<unit>`. If both names begin with `per_`, the unit is
# the one that the event has counted.
RECOMPUTED = """
    with prices as (
        select p.id, p.rates,
               case when p.rates ?& array['input', 'cached_input', 'cache_write', 'output', 'reasoning'] then 'tokens'
                    when cardinality(r.names) = 0 then 'free'
                    when cardinality(r.names) = 1 then 'call'
                    when cardinality(r.names) = 2 then 'units' end as kind,
               r.rate,
               array(select case when starts_with(x.name, 'per_') then substr(x.name, 5) end
                       from unnest(r.names) with ordinality x (name, at) order by x.at) as unit
          from kaixu.price p
         cross join lateral (select coalesce(array_agg(x.key order by x.key), '{}') as names,
                                    array_agg(x.value::numeric order by x.key) as rate
                               from jsonb_each_text(p.rates) x) r
    ), priced as (
        select e.id, e.month, e.book, e.end_reason, e.cost_nusd, e.granted_nusd, e.created_at,
               coalesce((e.units ->> 'unbilled_nusd')::bigint, 0) as unbilled_nusd,
               coalesce(p.kind = 'tokens', false)
                   and (e.usage_source <> 'provider' or e.end_reason = 'budget_cut') as is_bounded,
               case when e.price_id = 0 then 0
                    when p.kind = 'tokens' then div(
                        greatest(0, e.input_tokens - e.cached_input_tokens - e.cache_write_tokens)::numeric
                            * (p.rates ->> 'input')::numeric
                        + e.cached_input_tokens::numeric * (p.rates ->> 'cached_input')::numeric
                        + e.cache_write_tokens::numeric * (p.rates ->> 'cache_write')::numeric
                        + greatest(0, e.output_tokens - e.reasoning_tokens)::numeric * (p.rates ->> 'output')::numeric
                        + e.reasoning_tokens::numeric * (p.rates ->> 'reasoning')::numeric
                        + 500000, 1000000)
                    when p.kind = 'free' then 0
                    when p.kind = 'call' then p.rate[1]
                    when u.at is not null then div(
                        2 * coalesce((e.units ->> p.unit[u.at])::numeric, 0) * p.rate[3 - u.at] + p.rate[u.at],
                        2 * p.rate[u.at])
               end::bigint as price_nusd
          from kaixu.usage_event e
          left join prices p on p.id = e.price_id
         cross join lateral (
               select case when p.kind <> 'units' then null
                           when p.unit[1] is not null and (e.units ? p.unit[2]) is not true then 1
                           when p.unit[2] is not null and (e.units ? p.unit[1]) is not true then 2 end as at) u
         where $1::date is null or e.month = $1
    ), recomputed as (
        select p.*,
               p.cost_nusd + p.unbilled_nusd as total_nusd,
               case when p.end_reason = 'lost' then case when p.cost_nusd = 0 then 0 else p.granted_nusd end
                    when not p.is_bounded then p.price_nusd
                    when p.end_reason = 'undelivered' and p.unbilled_nusd = p.price_nusd then p.price_nusd
                    when p.granted_nusd is not null then least(p.price_nusd, p.granted_nusd)
                    when p.cost_nusd + p.unbilled_nusd >= p.price_nusd then p.price_nusd end as proven_nusd,
               p.granted_nusd is null
                   and ((p.end_reason = 'lost' and p.cost_nusd <> 0)
                        or (p.end_reason <> 'lost' and p.is_bounded and p.cost_nusd + p.unbilled_nusd < p.price_nusd))
                   as is_unknown
          from priced p
    )
"""

WRONG_COSTS = Query(
    Difference,
    RECOMPUTED  # noqa: S608 - two constants
    + """
    select 'event' as what, r.id, r.month, r.book, 'cost_nusd' as figure, r.cost_nusd as kept,
           r.proven_nusd - r.unbilled_nusd as proven
      from recomputed r
     where r.total_nusd is distinct from r.proven_nusd
       and not r.is_unknown
     order by r.id
     limit 1000
    """,
)

UNKNOWN = Query(
    NotRecomputable,
    RECOMPUTED  # noqa: S608 - two constants
    + """
    select case when r.created_at < m.applied_at
                then 'recorded before migration 0019_reconcile: the most that it could cost is not in the event'
                else 'settled without its reservation: the most that it could cost is not known' end as reason,
           count(*) as events
      from recomputed r
     cross join (select x.applied_at from kaixu.migration x where x.name like '%0019_reconcile%') m
     where r.is_unknown
     group by 1
     order by 1
    """,
)


async def wrong_costs(db: Connection, month: date | None) -> list[Difference]:
    """The first 1000 events whose cost does not match their price, in one month or in all."""
    return await WRONG_COSTS.all(db, month)


async def not_recomputable(db: Connection, month: date | None) -> list[NotRecomputable]:
    """The number of events that cannot be recomputed, by reason. Their cost is at most their price."""
    return await UNKNOWN.all(db, month)
