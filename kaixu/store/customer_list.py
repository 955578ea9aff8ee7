"""Customers in pages: filtered and sorted in the database, each page in one statement."""

from __future__ import annotations

import msgspec

from .customers import ListedCustomer
from .query import Connection, Query


class CustomerFilter(msgspec.Struct, frozen=True):
    """Which customers; None: all. `pattern` is of `like`, for the address; `customer_id`: or this one."""

    pattern: str | None = None
    customer_id: int | None = None
    plan_name: str | None = None
    is_active: bool | None = None


MATCHING = """
       and ($2::text is null or lower(c.email) like $2 or c.id = $3::bigint)
       and ($4::text is null or c.plan_name = $4)
       and ($5::boolean is null or c.is_active = $5)
       and c.deleted_at is null
"""

#: This month's figures and the active keys of the customers of a page.
FIGURES = """
    select c.email, c.plan_name, c.monthly_cap_nusd, c.is_active, c.max_devices_per_key, c.require_install_id,
           c.allowed_providers, c.allowed_models, c.max_vectors, c.end_user_cap_nusd, c.tpm_limit,
           c.day_cap_nusd, c.alert_thresholds, c.alert_mail, c.id, c.created_at,
           c.from_plan, c.plan_version_id, c.price_factor_millionths,
           coalesce((select array_agg(n order by n)
                       from kaixu.plan_version v
                      cross join unnest(array['monthly_cap_nusd', 'max_devices_per_key', 'allowed_providers',
                                              'allowed_models', 'max_vectors', 'end_user_cap_nusd',
                                              'tpm_limit', 'day_cap_nusd']) n
                      where v.id = c.plan_version_id and v.settings ? n and n <> all (c.from_plan)),
                    '{}') as deviations,
           (select count(*)
              from kaixu.virtual_key k
             where k.customer_id = c.id and k.revoked_at is null) as active_keys,
           m.spent_nusd, m.held_nusd, m.extra_nusd
      from page p
      join kaixu.customer c on c.id = p.id
     cross join lateral (select coalesce(sum(b.spent_nusd), 0)::bigint as spent_nusd,
                                coalesce(sum(b.held_nusd), 0)::bigint as held_nusd,
                                coalesce(sum(b.extra_nusd), 0)::bigint as extra_nusd
                           from kaixu.customer_month b
                          where b.customer_id = c.id and not b.has_own_cap
                            and b.month = date_trunc('month', now() at time zone 'UTC')::date) m
     order by p.at
"""

BY_ID = """
    with page as (
        select c.id, row_number() over (order by c.id {order}) as at
          from kaixu.customer c
         where ($1::bigint is null or c.id {beyond} $1)
{matching}         order by c.id {order}
         limit $6
    )
"""

BY_EMAIL = """
    with page as (
        select c.id, row_number() over (order by lower(c.email) {order}, c.id {order}) as at
          from kaixu.customer c
         where ($1::text is null or lower(c.email) {beyond} lower($1))
{matching}         order by lower(c.email) {order}, c.id {order}
         limit $6
    )
"""

BY_SPENT = """
    with spent as (
        select b.customer_id, sum(b.spent_nusd)::bigint as spent_nusd
          from kaixu.customer_month b
         where b.month = date_trunc('month', now() at time zone 'UTC')::date and not b.has_own_cap
         group by b.customer_id
    ), page as (
        select c.id, row_number() over (order by coalesce(s.spent_nusd, 0) {order}, c.id {order}) as at
          from kaixu.customer c
          left join spent s on s.customer_id = c.id
         where ($1::bigint is null or (coalesce(s.spent_nusd, 0), c.id) {beyond} ($1, $7::bigint))
{matching}         order by coalesce(s.spent_nusd, 0) {order}, c.id {order}
         limit $6
    )
"""

DIRECTIONS = {True: {"order": "desc", "beyond": "<"}, False: {"order": "asc", "beyond": ">"}}


def both(page: str) -> dict[bool, Query[ListedCustomer]]:
    """The statement in both directions, descending first."""
    return {
        down: Query(ListedCustomer, page.format(matching=MATCHING, **words) + FIGURES)
        for down, words in DIRECTIONS.items()
    }


CUSTOMERS_BY_ID = both(BY_ID)
CUSTOMERS_BY_EMAIL = both(BY_EMAIL)
CUSTOMERS_BY_SPENT = both(BY_SPENT)


async def customers_by_id(
    db: Connection, chosen: CustomerFilter, *, is_descending: bool, after: int | None, limit: int
) -> list[ListedCustomer]:
    """At most `limit` customers by id, beyond `after`."""
    return await CUSTOMERS_BY_ID[is_descending].all(db, after, *msgspec.structs.astuple(chosen), limit)


async def customers_by_email(
    db: Connection, chosen: CustomerFilter, *, is_descending: bool, after: str | None, limit: int
) -> list[ListedCustomer]:
    """At most `limit` customers by their address in the database's lower case, beyond the address `after`."""
    return await CUSTOMERS_BY_EMAIL[is_descending].all(db, after, *msgspec.structs.astuple(chosen), limit)


async def customers_by_spent(
    db: Connection,
    chosen: CustomerFilter,
    *,
    is_descending: bool,
    after: tuple[int | None, int | None],
    limit: int,
) -> list[ListedCustomer]:
    """At most `limit` customers by this month's spending, beyond `after`: the spending and the id of the last one."""
    spent, customer_id = after
    return await CUSTOMERS_BY_SPENT[is_descending].all(db, spent, *msgspec.structs.astuple(chosen), limit, customer_id)
