"""The limits of money of a customer and of its keys, what is used of each, and which of them leaves the least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import asyncpg
import msgspec

from kaixu.config.price import usd
from kaixu.store.pool import database
from kaixu.store.query import Connection, Query

LimitName = Literal["customer_cap", "customer_day_cap", "key_cap", "key_day_cap", "group_cap", "group_day_cap"]


class MoneyLimit(msgspec.Struct, frozen=True):
    """A cap of this month or of today (UTC), with what is spent and what calls in flight hold, in nano-dollars.

    `key_id` None: it is the customer's, and binds all of its keys. The customer's cap includes what was topped up; it
    is 0 as long as it owes credit that was taken back.
    """

    key_id: int | None
    limit: LimitName
    cap_nusd: int
    spent_nusd: int
    held_nusd: int

    @property
    def available_nusd(self) -> int:
        """What it leaves for the next call."""
        return max(0, self.cap_nusd - self.spent_nusd - self.held_nusd)


# Today is that of admission, UTC; the roll-ups count a call at its admission, too. Rows of one customer only.
LIMITS = Query(
    MoneyLimit,
    """
    with clock as materialized (
        select date_trunc('month', now() at time zone 'UTC')::date as month,
               date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' as today
    ), asked as materialized (
        select k.id, k.chain_id, k.group_id, k.monthly_cap_nusd, k.day_cap_nusd
          from kaixu.virtual_key k
         where k.customer_id = $1 and k.id = any($2::bigint[])
    ), member as materialized (
        select distinct k.group_id, k.chain_id
          from kaixu.virtual_key k
         where k.group_id in (select a.group_id from asked a)
    ), month as materialized (
        select m.chain_id, sum(m.spent_nusd) as spent_nusd, sum(m.held_nusd) as held_nusd
          from kaixu.key_month m
         where m.month = (select c.month from clock c) and not m.has_own_cap
           and m.chain_id in (select a.chain_id from asked a union select b.chain_id from member b)
         group by m.chain_id
    ), spent as materialized (
        select s.chain_id, x.spent_nusd
          from kaixu.usage_series s
          join kaixu.usage_quarter x on x.series_id = s.id and x.bucket >= (select c.today from clock c)
         where s.customer_id = $1
           and (s.book = 'ai' or not kaixu.book_has_own_cap(
                    p_customer_id => $1, p_month => (select c.month from clock c), p_book => s.book))
         union all
        select u.chain_id, u.spent_nusd
          from kaixu.usage_change u
         where u.customer_id = $1 and u.bucket >= (select c.today from clock c)
           and (u.book = 'ai' or not kaixu.book_has_own_cap(
                    p_customer_id => $1, p_month => (select c.month from clock c), p_book => u.book))
    ), held as materialized (
        select r.chain_id, r.held_nusd
          from kaixu.reservation r
         where r.customer_id = $1 and r.is_limited and r.created_at >= (select c.today from clock c)
           and (r.book = 'ai' or not kaixu.book_has_own_cap(p_customer_id => $1, p_month => r.month, p_book => r.book))
    ), day as materialized (
        select o.chain_id, sum(o.spent_nusd) as spent_nusd, sum(o.held_nusd) as held_nusd
          from (select s.chain_id, s.spent_nusd, 0 as held_nusd from spent s
                 union all
                select h.chain_id, 0, h.held_nusd from held h) o
         group by o.chain_id
    )
    select l.key_id, l.name as "limit", l.cap_nusd::bigint as cap_nusd, coalesce(l.spent_nusd, 0)::bigint as spent_nusd,
           coalesce(l.held_nusd, 0)::bigint as held_nusd
      from (
        select null::bigint as key_id, 'customer_cap' as name, 1 as place,
               case when m.extra < 0 then 0 else c.monthly_cap_nusd + coalesce(m.extra, 0) end as cap_nusd,
               m.spent as spent_nusd, m.held as held_nusd
          from kaixu.customer c
         cross join lateral (select sum(b.extra_nusd) as extra, sum(b.spent_nusd) as spent, sum(b.held_nusd) as held
                               from kaixu.customer_month b
                              where b.customer_id = c.id and b.month = (select x.month from clock x)
                                and not b.has_own_cap) m
         where c.id = $1
         union all
        select null, 'customer_day_cap', 2, c.day_cap_nusd, (select sum(d.spent_nusd) from day d),
               (select sum(d.held_nusd) from day d)
          from kaixu.customer c
         where c.id = $1 and c.day_cap_nusd is not null
         union all
        select a.id, 'key_cap', 3, a.monthly_cap_nusd, m.spent_nusd, m.held_nusd
          from asked a
          left join month m on m.chain_id = a.chain_id
         where a.monthly_cap_nusd is not null
         union all
        select a.id, 'key_day_cap', 4, a.day_cap_nusd, d.spent_nusd, d.held_nusd
          from asked a
          left join day d on d.chain_id = a.chain_id
         where a.day_cap_nusd is not null
         union all
        select a.id, 'group_cap', 5, g.monthly_cap_nusd, sum(m.spent_nusd), sum(m.held_nusd)
          from asked a
          join kaixu.key_group g on g.id = a.group_id and g.monthly_cap_nusd is not null
          left join member b on b.group_id = g.id
          left join month m on m.chain_id = b.chain_id
         group by a.id, g.monthly_cap_nusd
         union all
        select a.id, 'group_day_cap', 6, g.day_cap_nusd, sum(d.spent_nusd), sum(d.held_nusd)
          from asked a
          join kaixu.key_group g on g.id = a.group_id and g.day_cap_nusd is not null
          left join member b on b.group_id = g.id
          left join day d on d.chain_id = b.chain_id
         group by a.id, g.day_cap_nusd) l
     order by l.place, l.key_id
    """,
)


class CustomerLimits(msgspec.Struct, frozen=True):
    """The limits of a customer and of some of its keys."""

    rows: list[MoneyLimit]

    @property
    def of_customer(self) -> list[MoneyLimit]:
        """Those of the customer itself."""
        return [row for row in self.rows if row.key_id is None]

    def of_key(self, key_id: int) -> list[MoneyLimit]:
        """Those that a call of the key must fit into."""
        return [row for row in self.rows if row.key_id in (None, key_id)]


def binding(limits: Sequence[MoneyLimit]) -> MoneyLimit | None:
    """The limit that leaves the least; of equal ones the first."""
    return min(limits, key=lambda row: row.available_nusd, default=None)


def limit_json(row: MoneyLimit) -> dict[str, Any]:
    """A cap, and what is used of it."""
    return {
        "limit": row.limit,
        "cap_usd": usd(row.cap_nusd),
        "spent_usd": usd(row.spent_nusd),
        "held_usd": usd(row.held_nusd),
        "available_usd": usd(row.available_nusd),
    }


def limits_json(limits: Sequence[MoneyLimit]) -> dict[str, Any]:
    """Caps, which of them binds, and what it leaves for the next call."""
    least = binding(limits)
    return {
        "binds": None if least is None else least.limit,
        "room_usd": None if least is None else usd(least.available_nusd),
        "money_limits": [limit_json(row) for row in limits],
    }


async def limits_of(db: Connection, customer_id: int, key_ids: Sequence[int]) -> CustomerLimits:
    """The limits of a customer and of these keys of it, at one moment."""
    return CustomerLimits(await LIMITS.all(db, customer_id, list(key_ids)))


async def money_limits(pool: asyncpg.Pool, customer_id: int, key_ids: Sequence[int]) -> CustomerLimits:
    """The same from a pool. Raises `DatabaseAway`."""
    with database():
        return await limits_of(pool, customer_id, key_ids)
