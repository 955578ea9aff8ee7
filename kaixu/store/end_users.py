"""End users: the caps of their own, and their months."""

from __future__ import annotations

from datetime import date

import msgspec

from .query import Connection, Query


class EndUser(msgspec.Struct, frozen=True):
    """An end user of a customer: its own cap, if it has one, and this month's figures. Money is in nano-dollars."""

    customer_id: int
    end_user: str
    monthly_cap_nusd: int | None
    month: date
    calls: int
    spent_nusd: int
    held_nusd: int


END_USER = Query(
    EndUser,
    """
    select a.customer_id, a.end_user, u.monthly_cap_nusd, a.month, coalesce(m.calls, 0) as calls,
           coalesce(m.spent_nusd, 0) as spent_nusd, coalesce(m.held_nusd, 0) as held_nusd
      from (select $1::bigint as customer_id, $2::text as end_user,
                   date_trunc('month', now() at time zone 'UTC')::date as month) a
      left join kaixu.end_user_cap u on u.customer_id = a.customer_id and u.end_user = a.end_user
      left join kaixu.end_user_month m
        on m.customer_id = a.customer_id and m.month = a.month and m.end_user = a.end_user
    """,
)


async def end_user(db: Connection, customer_id: int, name: str) -> EndUser:
    """An end user, whether or not it has made calls."""
    found = await END_USER.one(db, customer_id, name)
    assert found is not None
    return found


async def set_end_user_cap(db: Connection, customer_id: int, name: str, cap_nusd: int | None) -> None:
    """Give an end user a cap of its own; None: none. The caller has locked the customer's row."""
    if cap_nusd is None:
        await db.execute("delete from kaixu.end_user_cap where customer_id = $1 and end_user = $2", customer_id, name)
        return
    await db.execute(
        """
        insert into kaixu.end_user_cap (customer_id, end_user, monthly_cap_nusd)
        values ($1, $2, $3)
        on conflict (customer_id, end_user) do update set monthly_cap_nusd = excluded.monthly_cap_nusd
        """,
        customer_id,
        name,
        cap_nusd,
    )
