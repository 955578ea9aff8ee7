"""Limits as properties: for any sequence of events no day is passed, and days and windows say what their calls say."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kaixu.reports.reconcile import LIMIT_DAYS
from kaixu.store.pool import prepare_connection
from tests.conftest import with_database
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.size import examples

from .test_money_properties import OneConnection, Story

#: What each call of a story uses, see `settlement` there.
USED_TOKENS = 7

USED = """
    with subjects as (
        select c.id as customer_id, 'customer' as subject, c.day_cap_nusd, c.tpm_limit, null::bigint[] as chains
          from kaixu.customer c
        union all
        select k.customer_id, 'key:' || k.chain_id, k.day_cap_nusd, k.tpm_limit, array[k.chain_id] from kaixu.virtual_key k
        union all
        select k.customer_id, 'model:' || k.chain_id || ':up/m', (k.limits #>> '{up/m,day_cap_nusd}')::bigint,
               (k.limits #>> '{up/m,tpm}')::integer, array[k.chain_id]
          from kaixu.virtual_key k
        union all
        select g.customer_id, 'group:' || g.id, g.day_cap_nusd, g.tpm_limit,
               array(select k.chain_id from kaixu.virtual_key k where k.group_id = g.id)
          from kaixu.key_group g
    )
    select distinct s.customer_id, s.subject, u.day_spent_nusd + h.held_nusd as day, s.day_cap_nusd, t.tokens + h.tokens as tokens,
           s.tpm_limit
      from subjects s
      join kaixu.limit_use u using (customer_id, subject)
     cross join lateral (select coalesce(sum(r.held_nusd), 0) as held_nusd, coalesce(sum(r.most_tokens), 0) as tokens
                           from kaixu.reservation r
                          where r.customer_id = s.customer_id and (s.chains is null or r.chain_id = any (s.chains))) h
     cross join lateral (select coalesce(sum(x), 0) as tokens from unnest(u.token_counts) x) t
     where u.day = (now() at time zone 'UTC')::date
"""

OVER_DAY = f"select * from ({USED}) u where u.day > u.day_cap_nusd or ($1 and u.tokens > u.tpm_limit)"

#: Where the limits are while they are switched off.
LIMITED = {
    "customer": "day_cap_nusd, tpm_limit",
    "virtual_key": "day_cap_nusd, tpm_limit, limits",
    "key_group": "day_cap_nusd, tpm_limit",
}

OVER_GROUP = """
    select g.id, sum(m.spent_nusd + m.held_nusd), g.monthly_cap_nusd
      from kaixu.key_group g
      join kaixu.virtual_key k on k.group_id = g.id
      join kaixu.key_month m on m.chain_id = k.chain_id
     group by g.id
    having sum(m.spent_nusd + m.held_nusd) > g.monthly_cap_nusd
"""


class LimitStory(Story):
    """Calls of customers with limits of every kind. Holds that a crash forgot, others may have taken meanwhile."""

    refusals = ("CAP_REACHED", "RATE_LIMITED")
    windows_hold = True

    async def act(self, step: tuple[str, int, int]) -> None:
        """One step, as of calls without limits, and changes of groups."""
        kind, choice, amount = step
        if kind in ("expire", "crash", "forget"):
            self.windows_hold = False
        if kind == "move":
            await self.move(self.keys[choice % len(self.keys)], amount % 2 == 0)
        elif kind == "switch":
            await self.switch([*LIMITED][choice % len(LIMITED)])
        elif kind == "admit":
            before = await self.used()
            await super().act(step)
            for subject, (day, cap, tokens, most_tokens) in (await self.used()).items():
                if subject in before:
                    day_before, _, tokens_before, _ = before[subject]
                    # What was let in while a limit was off may be over it; then nothing more is let in.
                    assert cap is None or day <= max(cap, day_before), subject
                    if self.windows_hold and most_tokens is not None:
                        assert tokens <= max(most_tokens, tokens_before), subject
        else:
            await super().act(step)

    async def used(self) -> dict[tuple[int, str], tuple[int, int | None, int, int | None]]:
        """Today's money of each subject with what is held of it, and its cap; the same in tokens of the minute."""
        return {(row[0], row[1]): tuple(row)[2:] for row in await self.pool.fetch(USED)}

    async def switch(self, table: str) -> None:
        """Switch the limits of customers, keys or groups off, or on again."""
        columns = LIMITED[table]
        if table in self.switched_off:
            for row in self.switched_off.pop(table):
                marks = ", ".join(f"${at}" for at in range(2, len(row) + 1))
                await self.pool.execute(f"update kaixu.{table} set ({columns}) = row({marks}) where id = $1", *row)
        else:
            self.switched_off[table] = await self.pool.fetch(f"select id, {columns} from kaixu.{table}")
            nulls = ", ".join("null" for _ in columns.split(","))
            await self.pool.execute(f"update kaixu.{table} set ({columns}) = row({nulls})")
            self.days_hold = False

    async def move(self, key_id: int, into: bool) -> None:
        """Move a key into the group of its customer, or out of it."""
        await self.pool.execute(
            """
            update kaixu.virtual_key k
               set group_id = case when $2 then (select g.id from kaixu.key_group g where g.customer_id = k.customer_id) end
             where k.id = $1
            """,
            key_id,
            into,
        )
        await self.pool.execute("update kaixu.limit_use set day = null where subject like 'group:%'")
        self.windows_hold = False
        # A group may be over its caps when a key with its spending comes in; then nothing more is let in.
        self.groups_hold = False

    groups_hold = True
    days_hold = True

    def __init__(self, pool: Any, keys: list[int]) -> None:
        super().__init__(pool, keys)
        self.switched_off: dict[str, list[Any]] = {}

    async def check(self) -> None:
        """No day and no window holds more than its limit, and each day is the sum of its events."""
        over = [row for row in await self.pool.fetch(OVER_DAY, self.windows_hold) if self.counts(row["subject"])]
        assert not self.days_hold or [tuple(row) for row in over] == []
        if self.groups_hold:
            assert [tuple(row) for row in await self.pool.fetch(OVER_GROUP)] == []
        assert await LIMIT_DAYS.all(self.pool, None) == []
        await assert_books_balance(self.pool, reservations=None)

    def counts(self, subject: str) -> bool:
        """Whether a subject's limits must hold."""
        return self.groups_hold or not subject.startswith("group")


#: Every limit is switched off; twice: and on again.
OFF = [("switch", table, 0) for table in range(3)]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["admit", "admit", "admit", "settle", "release", "replay", "expire", "forget", "crash", "move", "switch"]
        ),
        st.integers(0, 50),
        st.integers(0, 700),
    ),
    max_size=25,
)


@given(steps=STEPS)
@example(steps=[("admit", 0, 300), ("admit", 0, 301), ("settle", 3, 300), ("settle", 3, 300)])
@example(steps=[("admit", 2, 163), ("expire", 1, 1), ("admit", 2, 438), ("settle", 0, 163), ("replay", 0, 0)])
@example(steps=[("move", 0, 1), ("admit", 0, 100), *OFF, ("admit", 0, 700), *OFF, ("admit", 0, 700), ("expire", 1, 1)])
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_interleaving_keeps_every_limit_and_its_sums(
    server_dsn: str, template: str, steps: list[tuple[str, int, int]]
) -> None:
    async def run_story() -> None:
        connection: Any = await asyncpg.connect(with_database(server_dsn, template))
        await prepare_connection(connection)
        transaction = connection.transaction()
        await transaction.start()
        try:
            keys = []
            for day_cap in (1500, None):
                customer_id = await customer(connection, day_cap_nusd=day_cap, tpm_limit=300)
                group_id = await connection.fetchval(
                    """
                    insert into kaixu.key_group (customer_id, name, monthly_cap_nusd, day_cap_nusd, tpm_limit)
                    values ($1, 'team', 1400, 1200, 250) returning id
                    """,
                    customer_id,
                )
                limits = {"up/m": {"tpm": 150, "day_cap_nusd": 700}}
                for fields in ({"day_cap_nusd": 900, "tpm_limit": 200}, {"limits": limits}):
                    keys += [(await virtual_key(connection, customer_id, group_id=group_id, **fields))[0]]
            story = LimitStory(OneConnection(connection), keys)
            for step in steps:
                await story.act(step)
                await story.check()
        finally:
            await transaction.rollback()
            await connection.close()

    asyncio.run(run_story())
