"""A customer's keys in pages: filtered and sorted in the database, each page in one statement."""

from __future__ import annotations

import msgspec

from .keys import ListedKey
from .query import Connection, Query


class KeyFilter(msgspec.Struct, frozen=True):
    """Which keys of a customer; None: all. `pattern` is of `like`, for label and last four characters.

    `chain_of`: a key, with those that it replaced and that replaced it.
    """

    pattern: str | None = None
    is_revoked: bool | None = None
    role: str | None = None
    chain_of: int | None = None


# A customer has few keys, so they are sorted with their figures, and no index is needed but that of the customer.
PAGE = """
    select l.label, l.role, l.monthly_cap_nusd, l.rpm_limit, l.rpd_limit, l.max_devices, l.require_install_id,
           l.allowed_providers, l.allowed_models, l.allowed_collections, l.tpm_limit, l.day_cap_nusd, l.limits,
           l.expires_at, l.group_id, l.alert_thresholds, l.id, l.chain_id, l.customer_id, l.key_last4,
           l.created_at, l.revoked_at, l.from_plan, l.spent_nusd, l.held_nusd, l.last_seen_at,
           (select min(y.id) from kaixu.virtual_key y where y.chain_id = l.chain_id and y.id > l.id) as replaced_by
      from (select k.*, m.spent_nusd, m.held_nusd, w.last_seen_at,
                   case $2::text when 'spent' then m.spent_nusd
                                 when 'last_seen' then coalesce(extract(epoch from w.last_seen_at) * 1000000, 0)::bigint
                                 else k.id end as position
              from kaixu.virtual_key k
              left join kaixu.rate_window w on w.chain_id = k.chain_id
             cross join lateral (select coalesce(sum(b.spent_nusd), 0)::bigint as spent_nusd,
                                        coalesce(sum(b.held_nusd), 0)::bigint as held_nusd
                                   from kaixu.key_month b
                                  where b.chain_id = k.chain_id and not b.has_own_cap
                                    and b.month = date_trunc('month', now() at time zone 'UTC')::date) m
             where k.customer_id = $1
               and ($3::text is null or lower(k.label) like $3 or lower(k.key_last4) like $3)
               and ($4::boolean is null or (k.revoked_at is not null) = $4)
               and ($5::text is null or k.role = $5)
               and ($6::bigint is null or k.chain_id = (select o.chain_id from kaixu.virtual_key o where o.id = $6))) l
     where $7::bigint is null or (l.position, l.id) {beyond} ($7, $8::bigint)
     order by l.position {order}, l.id {order}
     limit $9
"""

PAGES = {
    True: Query(ListedKey, PAGE.format(order="desc", beyond="<")),
    False: Query(ListedKey, PAGE.format(order="asc", beyond=">")),
}


async def keys_in_order(
    db: Connection,
    customer_id: int,
    chosen: KeyFilter,
    *,
    sort: str,
    is_descending: bool,
    after: tuple[int | None, int | None],
    limit: int,
) -> list[ListedKey]:
    """At most `limit` keys by `sort` (id, spent, last_seen), beyond the sorting value and the id in `after`."""
    return await PAGES[is_descending].all(db, customer_id, sort, *msgspec.structs.astuple(chosen), *after, limit)
