"""A call alone is decided and settled as in a group: `admit_one` and `settle_one` do what `admit_v2` and `settle_v2` do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kaixu.metering.identity import new_ticket
from kaixu.store import admission
from kaixu.store.admission import ADMIT, FREE, FREE_UNCOUNTED, SETTLE, VENDOR_COST, Ask, Settled, Settlement, Verdict
from kaixu.store.pool import prepare_connection
from tests.conftest import with_database
from tests.support.money import customer, virtual_key
from tests.support.size import examples

OWNER = uuid4()

#: What customers and keys may be like; the rest is as usual.
CUSTOMERS: tuple[dict[str, Any], ...] = (
    {},
    {"cap_nusd": 900},
    {"cap_nusd": 0},
    {"max_devices_per_key": 2},
    {"require_install_id": True},
    {"allowed_providers": ["up"], "allowed_models": {"up": ["m"]}},
    {"allowed_providers": ["other"]},
    {"allowed_models": {"*": ["another"]}},
    {"end_user_cap_nusd": 500},
    {"is_active": False},
    {"day_cap_nusd": 800},
    {"tpm_limit": 90},
)
KEYS: tuple[dict[str, Any], ...] = (
    {},
    {"monthly_cap_nusd": 700},
    {"monthly_cap_nusd": 0},
    {"rpm_limit": 3},
    {"rpd_limit": 3},
    {"max_devices": 1},
    {"role": "viewer"},
    {"allowed_providers": ["up", "second"]},
    {"expires_at": datetime.now(UTC) - timedelta(days=1)},
    {"revoked_at": datetime.now(UTC)},
    {"tpm_limit": 60},
)

#: Everything that both ways write, without ids, times and tickets.
WRITTEN = {
    "customer_month": """select book, spent_nusd, held_nusd, extra_nusd, vendor_cost_nusd, uncosted_nusd, calls,
                                input_tokens, output_tokens, has_own_cap
                           from kaixu.customer_month where customer_id = $1 order by book""",
    "key_month": """select book, spent_nusd, held_nusd, vendor_cost_nusd, uncosted_nusd, calls, input_tokens, output_tokens
                      from kaixu.key_month where customer_id = $1 order by book""",
    "app_month": """select app_id, book, spent_nusd, vendor_cost_nusd, uncosted_nusd, calls, input_tokens, output_tokens
                      from kaixu.app_month where customer_id = $1 order by app_id, book""",
    "end_user_month": """select end_user, spent_nusd, held_nusd, calls, input_tokens, output_tokens
                           from kaixu.end_user_month where customer_id = $1 order by end_user""",
    "reservation": """select book, held_nusd, granted_nusd, operation, provider, model, price_id, install_id, request_id,
                             app_id, build_id, end_user, most_tokens, is_limited
                        from kaixu.reservation where customer_id = $1 order by request_id""",
    "usage_event": """select book, operation, provider, model, price_id, cost_nusd, vendor_cost_nusd, vendor_cost_known,
                             input_tokens, output_tokens, units, usage_source, end_reason, install_id, request_id,
                             duration_ms, granted_nusd, app_id, build_id, end_user, rolled_up
                        from kaixu.usage_event where customer_id = $1 order by request_id""",
    "usage_change": """select provider, model, deployment, book, calls, errors, input_tokens, output_tokens, spent_nusd,
                              vendor_cost_nusd, uncosted_nusd, latency_class
                         from kaixu.usage_change where customer_id = $1 order by spent_nusd, input_tokens, deployment""",
    "rate_window": """select (select sum(s) from unnest(second_counts) s) as minute,
                             (select sum(s) from unnest(ten_minute_counts) s) as day, last_seen_install_id
                        from kaixu.rate_window where customer_id = $1""",
    "device": """select install_id, last_seen_agent, revoked_at is null as is_seated
                   from kaixu.device where customer_id = $1 order by install_id""",
    "limit_use": """select regexp_replace(subject, '[0-9]+', 'N') as subject, day_spent_nusd
                      from kaixu.limit_use where customer_id = $1 order by 1""",
}


class Twin:
    """A customer with one key, whose calls are all sent alone, or all as groups of one."""

    def __init__(self, db: Any, customer_id: int, key_id: int, *, is_alone: bool) -> None:
        self.db = db
        self.customer_id = customer_id
        self.key_id = key_id
        self.is_alone = is_alone
        self.open: list[tuple[Ask, Verdict]] = []
        self.settled: list[Settlement] = []

    async def admit(self, ask: Ask) -> dict[str, Any]:
        """The verdict, without what differs between twins."""
        ask = msgspec.structs.replace(ask, ticket=new_ticket(), key_id=self.key_id)
        if self.is_alone:
            [verdict] = await admission.admit(self.db, [ask], owner=OWNER, lifetime_s=60, default_rpm=50)
        else:
            columns = ADMIT.columns([ask], without=("facts",), asked="requested_provider")
            [verdict] = await ADMIT.all(self.db, *columns, OWNER, 60, 50)
        assert (verdict.ticket, verdict.customer_id, verdict.key_id) == (ask.ticket, self.customer_id, self.key_id)
        if verdict.refused is None:
            self.open.append((ask, verdict))
        # A wait ends with a second or a slot of ten minutes, so twins may wait for one second more or less.
        left_out = {"ticket", "customer_id", "key_id", "chain_id", "key_last4", "admitted_at", "retry_after_s"}
        return {name: value for name, value in msgspec.structs.asdict(verdict).items() if name not in left_out}

    async def settle(self, settlement: Settlement) -> dict[str, Any]:
        """The answer, without its ticket."""
        if self.is_alone:
            [settled] = await admission.settle(self.db, [settlement])
        else:
            columns = SETTLE.columns([settlement], without=("vendor_cost_known",))
            columns[VENDOR_COST] = [settlement.vendor_cost_nusd if settlement.vendor_cost_known else None]
            [settled] = await SETTLE.all(self.db, *columns)
        assert settled.ticket == settlement.ticket
        self.settled.append(settlement)
        return {name: getattr(settled, name) for name in Settled.__struct_fields__ if name != "ticket"}

    async def act(self, step: tuple[str, int, int], at: int) -> Any:
        """One step: its kind, and two numbers that each kind uses in its own way. What it answered."""
        kind, choice, amount = step
        if kind == "admit":
            return await self.admit(ask_of(choice, amount, at))
        if kind == "settle" and self.open:
            return await self.settle(settlement_of(*self.open.pop(choice % len(self.open)), choice, amount))
        if kind == "again" and self.settled:
            return await self.settle(self.settled[choice % len(self.settled)])
        if kind == "expire" and self.open:
            ask, _ = self.open[choice % len(self.open)]
            await self.db.execute(
                "update kaixu.reservation set expires_at = now() - interval '1 s' where ticket = $1", ask.ticket
            )
            await admission.expire(self.db, charge=bool(amount % 2))
        if kind == "forget" and self.open:
            await admission.release(self.db, [self.open[choice % len(self.open)][0].ticket])
        if kind == "restore" and self.settled:  # a hold that came back after its call was settled
            await admission.reserve_again(self.db, [hold_of(self.settled[-1])], owner=OWNER, lifetime_s=60)
        if kind == "watch":
            await self.db.execute(
                "update kaixu.customer set is_watched = not is_watched where id = $1", self.customer_id
            )
        return None

    async def written(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that is in the tables about the customer."""
        return {
            name: [tuple(row) for row in await self.db.fetch(sql, self.customer_id)] for name, sql in WRITTEN.items()
        }


def ask_of(choice: int, amount: int, at: int) -> Ask:
    """A request: the numbers choose what is special about it. `at` tells it from the others of its twin."""
    free = amount % 23 == 0
    return Ask(
        uuid4(), None, None, None, (None, None, "one", "two")[choice % 4], "agent", (0, 0, 0, 1)[choice // 4 % 4],
        "chat" if amount % 19 else "job:chat", "up" if amount % 17 else "", "up" if amount % 5 else "second", "m",
        "ai" if amount % 13 else "push", 7, 0 if free else amount, (FREE, FREE_UNCOUNTED)[choice % 2] if free else amount // 2,
        f"r{at:03}", (None, None, "app")[choice % 3], "build", (None, None, None, "user")[choice % 4], 10 + amount // 20,
        5, "",
    )  # fmt: skip


def settlement_of(ask: Ask, verdict: Verdict, choice: int, amount: int) -> Settlement:
    """How a call ended; one in three costs more than was held for it."""
    assert verdict.customer_id is not None
    assert verdict.key_id is not None
    assert verdict.chain_id is not None
    granted = verdict.granted_nusd or 0
    cost = amount if choice % 3 == 0 else amount % (granted + 1)
    units = (None, {"call": {"deployment": "d"}}, {"images": 2})[amount % 3]
    return Settlement(
        ask.ticket, verdict.customer_id, verdict.key_id, verdict.chain_id, verdict.month, ask.book, ask.operation,
        ask.provider, ask.model, ask.price_id, ask.install_id, ask.request_id, datetime.now(UTC), 30 * amount,
        ("complete", "complete", "client_gone", "released", "upstream_error")[choice % 5], "provider", cost, cost // 2,
        amount // 3, amount // 7, 1, 2, 3, units, choice % 4 != 3, ask.app_id, ask.build_id, ask.end_user,
    )  # fmt: skip


def hold_of(settlement: Settlement) -> admission.Hold:
    """The reservation that a settled call may have had."""
    names = set(admission.Hold.__struct_fields__) & set(Settlement.__struct_fields__)
    return admission.Hold(**{name: getattr(settlement, name) for name in names}, held_nusd=settlement.cost_nusd)


@given(
    customer_at=st.integers(0, len(CUSTOMERS) - 1) | st.just(0),
    key_at=st.integers(0, len(KEYS) - 1) | st.just(0),
    steps=st.lists(
        st.tuples(
            st.sampled_from(
                ["admit", "admit", "admit", "settle", "settle", "again", "expire", "forget", "restore", "watch"]
            ),
            st.integers(0, 60),
            st.integers(0, 500),
        ),
        min_size=1,
        max_size=16,
    ),
)
@example(customer_at=0, key_at=0, steps=[("admit", 0, 100), ("settle", 1, 50), ("admit", 2, 101), ("settle", 3, 400)])
@example(customer_at=0, key_at=0, steps=[("admit", 2, 100), ("settle", 1, 50), ("restore", 0, 0), ("again", 0, 0)])
@example(customer_at=3, key_at=5, steps=[("admit", 0, 100), ("admit", 0, 101), ("admit", 2, 100), ("settle", 7, 1)])
@example(customer_at=0, key_at=3, steps=[("admit", 0, 7)] * 5)
@example(customer_at=0, key_at=4, steps=[("admit", 0, 7)] * 5)
@settings(max_examples=examples(90), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_call_alone_is_decided_and_settled_as_in_a_group(
    server_dsn: str, template: str, customer_at: int, key_at: int, steps: list[tuple[str, int, int]]
) -> None:
    asyncio.run(compare(with_database(server_dsn, template), CUSTOMERS[customer_at], KEYS[key_at], steps))


async def compare(
    dsn: str, customer_is: dict[str, Any], key_is: dict[str, Any], steps: list[tuple[str, int, int]]
) -> None:
    """The same story for both twins, step by step; what it wrote is undone."""
    connection = await asyncpg.connect(dsn)
    await prepare_connection(connection)
    transaction = connection.transaction()
    await transaction.start()
    try:
        twins = []
        for is_alone in (True, False):
            customer_id = await customer(connection, **{"cap_nusd": 2_000, **customer_is})
            key_id, _ = await virtual_key(connection, customer_id, **key_is)
            twins.append(Twin(OneConnection(connection), customer_id, key_id, is_alone=is_alone))
        for at, step in enumerate(steps):
            alone, grouped = [await twin.act(step, at) for twin in twins]
            assert alone == grouped, step
            alone, grouped = [await twin.written() for twin in twins]
            assert alone == grouped, step
    finally:
        await transaction.rollback()
        await connection.close()


class OneConnection:
    """A pool of one connection inside one transaction."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.fetch, self.fetchrow = connection.fetch, connection.fetchrow
        self.fetchval, self.execute = connection.fetchval, connection.execute

    def acquire(self) -> OneConnection:
        return self

    async def __aenter__(self) -> Any:
        return self.connection

    async def __aexit__(self, *_: object) -> None:
        return None
