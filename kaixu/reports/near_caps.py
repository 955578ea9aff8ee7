"""Caps of which most is spent in a month: what one is, and those of keys. Those of customers: overview_customers.py."""

from __future__ import annotations

from datetime import date

import msgspec

from kaixu.store.query import Connection, Query

#: From how many percent on a cap is listed, and how many of each kind are.
NEAR_PERCENT = 90
MOST_LISTED = 10


class NearCap(msgspec.Struct, frozen=True):
    """A cap of a customer, or of one of its keys. `caps`: how many there are of this kind, listed or not.

    The cap of a customer includes what was topped up. `held_nusd`: reserved for calls in flight.
    """

    customer_id: int
    email: str
    key_id: int | None
    key_label: str | None
    key_last4: str | None
    cap_nusd: int
    spent_nusd: int
    held_nusd: int
    caps: int

    @property
    def percent(self) -> int | None:
        """How much of the cap is spent, in whole percent; None for a cap of 0."""
        return self.spent_nusd * 100 // self.cap_nusd if self.cap_nusd else None


# A chain whose cap is nearly spent has a book with at least its part of that: adding up the books of the few that are
# left costs about half of adding up all. Of the books that are not in the roll-ups yet there is one, at most.
# The cap of a chain is that of its newest key that is not revoked, as in cap_figures.
KEYS = Query(
    NearCap,
    """
    with books as materialized (
        select count(distinct s.book) + 1 as books from kaixu.usage_series s where s.customer_id = 0
    ), likely as materialized (
        select distinct m.chain_id
          from kaixu.key_month m
          join kaixu.virtual_key k on k.chain_id = m.chain_id
         where m.month = $1 and m.spent_nusd > 0 and not m.has_own_cap and k.revoked_at is null
           and m.spent_nusd >= k.monthly_cap_nusd / 100 * $2::integer / (select books from books) - 100
    ), near as materialized (
        select k.id, k.customer_id, k.label, k.key_last4, k.monthly_cap_nusd as cap_nusd, u.spent_nusd, u.held_nusd
          from likely l
         cross join lateral (select sum(m.spent_nusd)::bigint as spent_nusd, sum(m.held_nusd)::bigint as held_nusd
                               from kaixu.key_month m
                              where m.chain_id = l.chain_id and m.month = $1 and not m.has_own_cap) u
         cross join lateral (select x.id, x.customer_id, x.label, x.key_last4, x.monthly_cap_nusd, x.expires_at
                               from kaixu.virtual_key x
                              where x.chain_id = l.chain_id and x.revoked_at is null
                              order by x.id desc
                              limit 1) k
          join kaixu.customer c on c.id = k.customer_id
         where u.spent_nusd * 100::numeric >= $2::integer * k.monthly_cap_nusd::numeric
           and (k.expires_at is null or k.expires_at > now()) and c.is_active and c.deleted_at is null
    )
    select n.customer_id, c.email, n.id as key_id, n.label as key_label, n.key_last4, n.cap_nusd,
           n.spent_nusd, n.held_nusd, count(*) over () as caps
      from near n
      join kaixu.customer c on c.id = n.customer_id
     order by n.spent_nusd::numeric / nullif(n.cap_nusd, 0) desc nulls first, n.spent_nusd desc, n.id
     limit $3
    """,
)


async def near_caps_of_keys(db: Connection, month: date) -> list[NearCap]:
    """The caps of keys of active customers of which at least `NEAR_PERCENT` are spent in a month, the fullest first."""
    return await KEYS.all(db, month, NEAR_PERCENT, MOST_LISTED)
