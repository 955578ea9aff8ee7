"""Credit as properties: whatever is credited, taken back, spent and carried, all months together add up."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

import asyncpg
import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kaixu.plugin.types import Usage
from kaixu.reports.reconcile import CARRIED, CUSTOMER_MONTHS, KEY_MONTHS
from kaixu.store.admission import Ask, Verdict
from kaixu.store.plugin_credits import GatheredCredits, balance_of, set_rollover, sweep_credit
from kaixu.store.pool import prepare_connection
from kaixu.store.rights import Rights
from tests.conftest import with_database
from tests.store.test_money_properties import OneConnection
from tests.support.calls import admit, settle
from tests.support.money import customer, virtual_key
from tests.support.months import next_month
from tests.support.size import examples

CAP = 20
ALL = Rights("shop", None, None, frozenset({"credit", "customers"}), "r")

STEP = st.tuples(
    st.sampled_from(["credit", "take", "call", "hold", "settle", "month", "repeat"]),
    st.integers(1, 30),
    st.integers(0, 30),
)


class Account:
    """One customer, and what its months should add up to, counted apart from the database."""

    def __init__(self, pool: Any, customer_id: int, key_id: int, *, rolls_over: bool) -> None:
        self.pool = pool
        self.customer_id = customer_id
        self.key_id = key_id
        self.rolls_over = rolls_over
        self.net = [0]  # credits less what was taken back, by month
        self.spent = [0]
        self.open: list[tuple[int, Ask, Verdict]] = []  # calls in flight, by the number of their month
        self.last: tuple[str, int] | None = None
        self.credits = 0

    async def book(self, key: str, amount: int) -> None:
        credits = GatheredCredits(ALL)
        credits.add(self.customer_id, amount, key=key, month=None, source=None, reference=None)
        await credits.book(self.pool)

    @property
    def left(self) -> int:
        """What is left of all credit; negative: debt."""
        left = 0
        for net, spent in zip(self.net, self.spent, strict=True):
            left = (left if self.rolls_over else min(left, 0)) + net - max(0, spent - CAP)
        return left

    async def act(self, kind: str, first: int, second: int) -> None:
        if kind in ("credit", "take"):
            self.credits += 1
            self.last = (f"k{self.credits}", first if kind == "credit" else -first)
            self.net[-1] += self.last[1]
            await self.book(*self.last)
        elif kind == "repeat" and self.last is not None:
            await self.book(*self.last)
        elif kind in ("call", "hold"):
            await self.call(first, second, ends=kind == "call")
        elif kind == "settle" and self.open:
            await self.end(self.open.pop(0), second)
        elif kind == "month":
            earlier = [one for one in self.open if one[0] < len(self.net) - 1]
            for one in earlier:
                await self.end(one, second)
            self.open = [one for one in self.open if one not in earlier]
            await sweep_credit(self.pool, most=10)  # or the corrections of a month would meet those of another
            await next_month(self.pool)
            self.open = [
                (month, ask, msgspec.structs.replace(verdict, month=(verdict.month - timedelta(days=1)).replace(day=1)))
                for month, ask, verdict in self.open
            ]
            self.net.append(0)
            self.spent.append(0)

    async def call(self, most: int, cost: int, *, ends: bool) -> None:
        ask, verdict = await admit(self.pool, self.key_id, most=most, least=1)
        if verdict.refused is not None:
            assert verdict.refused == "CAP_REACHED"
            balance = await balance_of(self.pool, self.customer_id)
            assert (verdict.scope == "debt") == (balance.credit_nusd < 0)
            assert balance.available_nusd == 0
            free, passed = await admit(self.pool, self.key_id, most=0)
            if verdict.scope == "debt":
                assert passed.refused is None
            if passed.refused is None:
                await settle(self.pool, free, passed, Usage(), cost=0)
            return
        if ends:
            await self.end((len(self.net) - 1, ask, verdict), cost)
        else:
            self.open.append((len(self.net) - 1, ask, verdict))

    async def end(self, call: tuple[int, Ask, Verdict], cost: int) -> None:
        month, ask, verdict = call
        await settle(self.pool, ask, verdict, Usage(), cost=min(cost, verdict.granted_nusd or 0))
        self.spent[month] += min(cost, verdict.granted_nusd or 0)

    async def check(self) -> None:
        """All money adds up, whatever has happened."""
        assert [
            one for query in (CUSTOMER_MONTHS, KEY_MONTHS, CARRIED) for one in await query.all(self.pool, None)
        ] == []
        assert await self.pool.fetchval("select coalesce(sum(amount_nusd), 0)::bigint from kaixu.topup") == sum(
            self.net
        )
        for month, _, verdict in self.open:
            assert month >= len(self.net) - 2, verdict

    async def check_at_rest(self) -> None:
        """Without calls in flight, what is left is what the months say, and what is over keeps only what it used."""
        for one in self.open:
            await self.end(one, 3)
        self.open = []
        await sweep_credit(self.pool, most=10)
        await self.check()
        balance = await balance_of(self.pool, self.customer_id)
        assert balance.unspent_nusd - balance.debt_nusd == self.left
        assert balance.spent_nusd == self.spent[-1]
        over = await self.pool.fetch(
            "select month, sum(extra_nusd)::bigint as extra from kaixu.customer_month where month < $1 group by month order by month",
            date.fromisoformat(balance.month + "-01"),
        )
        if self.rolls_over:
            used = [max(0, one - CAP) for one in self.spent[:-1]]
            assert [row["extra"] for row in over if row["extra"]] == [one for one in used if one]
        assert all(row["extra"] >= 0 for row in over)


@given(steps=st.lists(STEP, max_size=14), rolls_over=st.booleans())
@settings(
    max_examples=examples(60),
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_months_add_up_with_credits_debt_and_what_is_carried(
    server_dsn: str, template: str, steps: list[tuple[str, int, int]], rolls_over: bool
) -> None:
    async def story() -> None:
        connection = await asyncpg.connect(with_database(server_dsn, template))
        await prepare_connection(connection)
        transaction = connection.transaction()
        await transaction.start()
        try:
            await set_rollover(connection, rolls_over=rolls_over)
            customer_id = await customer(connection, cap_nusd=CAP)
            key_id, _ = await virtual_key(connection, customer_id)
            account = Account(OneConnection(connection), customer_id, key_id, rolls_over=rolls_over)
            for step in steps:
                await account.act(*step)
                await account.check()
            await account.check_at_rest()
        finally:
            await transaction.rollback()
            await connection.close()

    asyncio.run(story())
