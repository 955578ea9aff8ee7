"""Make customers and keys in the database, and check that its money figures add up."""

from __future__ import annotations

from typing import Any

from kaixu.accounts.key_material import key_hash, new_key
from kaixu.store.query import Connection

from .process import SECRETS


async def customer(pool: Connection, *, cap_nusd: int = 10**12, **fields: Any) -> int:
    """A customer's id."""
    names = ["email", "monthly_cap_nusd", *fields]
    number = await pool.fetchval("select count(*) from kaixu.customer")
    marks = ", ".join(f"${at}" for at in range(1, len(names) + 1))
    made: int | None = None
    while made is None:  # another one may be made at the same time
        made = await pool.fetchval(
            f"insert into kaixu.customer ({', '.join(names)}) values ({marks}) on conflict ((lower(email))) do nothing returning id",
            *[f"customer{number}@example.com", cap_nusd, *fields.values()],
        )
        number += 1
    return made


async def virtual_key(pool: Connection, customer_id: int, **fields: Any) -> tuple[int, str]:
    """A key's id, and the key."""
    fields = {"rpm_limit": 100_000, **fields}
    key = new_key()
    names = ["customer_id", "key_hash", "key_last4", *fields]
    values = [customer_id, key_hash(SECRETS["KEY_PEPPER"], key), key[-4:], *fields.values()]
    marks = ", ".join(f"${at}" for at in range(1, len(values) + 1))
    made: int = await pool.fetchval(
        f"""
        with numbered as (select nextval(pg_get_serial_sequence('kaixu.virtual_key', 'id')) as id)
        insert into kaixu.virtual_key (id, chain_id, {", ".join(names)})
        select id, id, {marks} from numbered returning id
        """,
        *values,
    )
    return made, key


async def spent_and_held(pool: Connection, customer_id: int) -> tuple[int, int]:
    """The sums over a customer's months."""
    row = await pool.fetchrow(
        "select coalesce(sum(spent_nusd), 0)::bigint, coalesce(sum(held_nusd), 0)::bigint from kaixu.customer_month where customer_id = $1",
        customer_id,
    )
    assert row is not None
    return row[0], row[1]


async def assert_books_balance(pool: Connection, *, reservations: int | None = 0) -> None:
    """Every month equals the sum of its events and reservations; there are `reservations` reservations in all."""
    wrong = await pool.fetch(
        """
        with events as (
            select customer_id, chain_id, month, book, sum(cost_nusd) as spent, count(*) as calls,
                   sum(input_tokens) as input, sum(output_tokens) as output,
                   coalesce(sum(cost_nusd) filter (where not vendor_cost_known), 0) as uncosted
              from kaixu.usage_event group by 1, 2, 3, 4
        ), holds as (
            select customer_id, chain_id, month, book, sum(held_nusd) as held
              from (select customer_id, chain_id, month, book, held_nusd from kaixu.reservation
                     union all
                    select customer_id, chain_id, month, book, held_nusd from kaixu.keyed_charge where state = 'held') x
             group by 1, 2, 3, 4
        )
        select 'key' as what, m.chain_id as id, m.spent_nusd, e.spent, m.held_nusd, h.held, m.calls, e.calls
          from kaixu.key_month m
          left join events e using (chain_id, month, book)
          left join holds h using (chain_id, month, book)
         where m.spent_nusd <> coalesce(e.spent, 0) or m.held_nusd <> coalesce(h.held, 0)
            or m.calls <> coalesce(e.calls, 0) or m.input_tokens <> coalesce(e.input, 0)
            or m.output_tokens <> coalesce(e.output, 0) or m.uncosted_nusd <> coalesce(e.uncosted, 0)
        union all
        select 'customer', m.customer_id, m.spent_nusd, k.spent, m.held_nusd, k.held, m.calls, k.calls
          from kaixu.customer_month m
          left join (select customer_id, month, book, sum(spent_nusd) as spent, sum(held_nusd) as held, sum(calls) as calls,
                             sum(uncosted_nusd) as uncosted
                       from kaixu.key_month group by 1, 2, 3) k using (customer_id, month, book)
         where m.spent_nusd <> coalesce(k.spent, 0) or m.held_nusd <> coalesce(k.held, 0) or m.calls <> coalesce(k.calls, 0)
            or m.uncosted_nusd <> coalesce(k.uncosted, 0)
        """
    )
    assert [tuple(row) for row in wrong] == []
    if reservations is not None:
        assert await pool.fetchval("select count(*) from kaixu.reservation") == reservations
