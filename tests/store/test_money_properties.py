"""Money as properties: for any sequence of events, no cap is exceeded and all money adds up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kaixu.metering.identity import new_ticket
from kaixu.store import admission
from kaixu.store.admission import FREE, Ask, Settlement, Verdict
from kaixu.store.pool import prepare_connection
from kaixu.store.rollups import fill_usage, fold_usage
from tests.conftest import with_database
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.rollups import assert_folded_rollups_agree, assert_rollups_agree, fill_in
from tests.support.size import examples

OWNER = uuid4()

#: Some books: all of them share one cap.
BOOKS = ("ai", "push", "another")

#: Apps and end users of calls.
TAGS = (None, "one", "two")


def make_ask(
    key_id: int,
    most: int,
    least: int | None = None,
    *,
    book: str = "ai",
    install_id: str | None = None,
    app_id: str | None = None,
    end_user: str | None = None,
) -> Ask:
    """A request to admit a call that may cost `most`."""
    return Ask(
        new_ticket(),
        None,
        None,
        key_id,
        install_id,
        None,
        0,
        "chat",
        "up",
        "up",
        "m",
        book,
        1,
        most,
        most if least is None else least,
        "r",
        app_id,
        None,
        end_user,
        7 + most // 7,
        7 + most // 14,
    )


def settlement(ask: Ask, verdict: Verdict, cost: int, end_reason: str = "complete") -> Settlement:
    """The settlement of an admitted call."""
    assert verdict.customer_id is not None
    assert verdict.key_id is not None
    assert verdict.chain_id is not None
    return Settlement(
        ask.ticket, verdict.customer_id, verdict.key_id, verdict.chain_id, verdict.month, ask.book, "chat", "up", "m", 1,
        None, "r", datetime.now(UTC), 1, end_reason, "provider", cost, cost // 2, 3, 4, 0, 0, 0, None,
        app_id=ask.app_id, end_user=ask.end_user,
    )  # fmt: skip


class Story:
    """Two customers with two keys each, and everything that can happen to their calls."""

    #: How calls may be refused.
    refusals: tuple[str, ...] = ("CAP_REACHED",)

    def __init__(self, pool: Any, keys: list[int]) -> None:
        self.pool = pool
        self.keys = keys
        self.open: list[tuple[Ask, Verdict]] = []
        self.settled: list[Settlement] = []

    async def act(self, step: tuple[str, int, int]) -> None:
        """One step: its kind, and two numbers that each kind uses in its own way."""
        kind, choice, amount = step
        if kind == "admit":
            asks = [
                make_ask(
                    self.keys[(choice + at) % len(self.keys)],
                    amount,
                    amount // 2,
                    book=BOOKS[(amount + at) % 3],
                    app_id=TAGS[(amount + choice) % 3],
                    end_user=TAGS[(amount // 3 + at) % 3],
                )
                for at in range(1 + choice % 3)
            ]
            if amount % 5 == 0:  # an operation that is free, among the others
                asks.append(make_ask(self.keys[choice % len(self.keys)], 0, FREE, end_user=TAGS[choice % 3]))
            verdicts = await admission.admit(self.pool, asks, owner=OWNER, lifetime_s=60, default_rpm=10**6)
            self.open += [
                (one, verdict) for one, verdict in zip(asks, verdicts, strict=True) if verdict.refused is None
            ]
            for one, verdict in zip(asks, verdicts, strict=True):
                assert verdict.refused in (None, *self.refusals)
                assert one.least_nusd != FREE or verdict.refused != "CAP_REACHED"
                if verdict.granted_nusd is not None:
                    assert one.least_nusd <= verdict.granted_nusd <= one.most_nusd
        elif kind in ("settle", "release") and self.open:
            count = 1 + amount % min(3, len(self.open))
            group = []
            for _ in range(count):
                ask, verdict = self.open.pop(choice % len(self.open))
                cost = amount % ((verdict.granted_nusd or 0) + 1)
                if choice % 4 == 3:  # the vendor reports more than was held
                    cost += amount * choice
                group.append(settlement(ask, verdict, cost, "released" if kind == "release" else "complete"))
            assert {one.first_time for one in await admission.settle(self.pool, group)} <= {kind == "settle"}
            self.settled += group
        elif kind == "replay" and self.settled:
            again = [self.settled[choice % len(self.settled)]]
            assert [one.first_time for one in await admission.settle(self.pool, again)] == [False]
        elif kind == "expire" and self.open:
            ask, verdict = self.open[choice % len(self.open)]
            await self.pool.execute(
                "update kaixu.reservation set expires_at = now() - interval '1 s' where ticket = $1",
                ask.ticket,
            )
            await admission.expire(self.pool, charge=bool(amount % 2))
        elif kind == "crash" and self.open:
            # A crash loses the last admissions; other calls are admitted before the holds are restored, or they never are.
            lost = self.open[-1 - choice % 3 :]
            await admission.release(self.pool, [ask.ticket for ask, _ in lost])
            await self.act(("admit", choice, amount))
            holds = [msgspec.convert(hold_of(ask, verdict), admission.Hold) for ask, verdict in lost]
            if amount % 3:
                await admission.reserve_again(self.pool, holds, owner=OWNER, lifetime_s=60)
        elif kind == "fold":
            await fold_usage(self.pool, most=1 + amount % 4)
        elif kind == "fill":
            await fill_usage(self.pool, most=1 + amount % 4)
        elif kind == "upgrade":
            # Everything until now was written by the last release, which knew no roll-ups.
            await self.pool.execute("update kaixu.usage_event set rolled_up = null")
            await self.pool.execute(
                "truncate kaixu.usage_change, kaixu.usage_series, kaixu.usage_quarter, kaixu.usage_day"
            )
            await self.pool.execute(
                """
                update kaixu.rollup_state
                   set next_id = 0, end_id = coalesce((select max(id) from kaixu.usage_event), 0), filled_at = null,
                       fill_began_at = now() - interval '1 hour'
                """
            )
        elif kind == "forget" and self.open:
            # A crash of the database loses an admission as a whole.
            ask, verdict = self.open[choice % len(self.open)]
            if await admission.release(self.pool, [ask.ticket]):
                holds = [msgspec.convert(hold_of(ask, verdict), admission.Hold)]
                if amount % 2:
                    await admission.reserve_again(self.pool, holds, owner=OWNER, lifetime_s=60)
                    await admission.reserve_again(self.pool, holds, owner=OWNER, lifetime_s=60)
                else:
                    del self.open[choice % len(self.open)]

    async def check(self) -> None:
        """All books together stay within every cap; in each, events equal the spend and reservations the holds."""
        assert await over_cap(self.pool) == []
        await assert_books_balance(self.pool, reservations=None)
        await assert_rollups_agree(self.pool)

    async def check_folded(self) -> None:
        """The same when older events are filled in and all is folded."""
        await fill_in(self.pool)
        await assert_folded_rollups_agree(self.pool)


async def over_cap(db: Any) -> list[Any]:
    """The customers, keys and end users that have exceeded their cap with all their books."""
    over: list[Any] = await db.fetch(
        """
        select 'customer', c.id, sum(m.spent_nusd + m.held_nusd - m.extra_nusd) - c.monthly_cap_nusd as over
          from kaixu.customer_month m join kaixu.customer c on c.id = m.customer_id
         group by c.id, m.month
        having sum(m.spent_nusd + m.held_nusd - m.extra_nusd) > c.monthly_cap_nusd
        union all
        select 'key', k.id, sum(m.spent_nusd + m.held_nusd) - k.monthly_cap_nusd
          from kaixu.key_month m join kaixu.virtual_key k on k.chain_id = m.chain_id
         group by k.id, m.month
        having sum(m.spent_nusd + m.held_nusd) > k.monthly_cap_nusd
        union all
        select 'end user', m.customer_id, m.spent_nusd + m.held_nusd - coalesce(u.monthly_cap_nusd, c.end_user_cap_nusd)
          from kaixu.end_user_month m
          join kaixu.customer c on c.id = m.customer_id
          left join kaixu.end_user_cap u on u.customer_id = m.customer_id and u.end_user = m.end_user
         where m.spent_nusd + m.held_nusd > coalesce(u.monthly_cap_nusd, c.end_user_cap_nusd)
        """
    )
    return over


def hold_of(ask: Ask, verdict: Verdict) -> dict[str, Any]:
    """The reservation of an admitted call."""
    return {
        "ticket": ask.ticket, "customer_id": verdict.customer_id, "key_id": verdict.key_id, "chain_id": verdict.chain_id,
        "month": verdict.month, "book": ask.book, "held_nusd": verdict.granted_nusd, "operation": "chat", "provider": "up",
        "model": "m", "price_id": 1, "install_id": None, "request_id": "r", "app_id": ask.app_id, "build_id": None,
        "end_user": ask.end_user,
    }  # fmt: skip


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["admit", "admit", "settle", "release", "replay", "expire", "forget", "crash", "fold", "fill", "upgrade"]
        ),
        st.integers(0, 50),
        st.integers(0, 700),
    ),
    max_size=25,
)


@given(steps=STEPS)
@example(steps=[("admit", 2, 163), ("expire", 1, 0), ("admit", 2, 438), ("settle", 0, 163)])
@example(steps=[("admit", 0, 300), ("admit", 0, 301), ("settle", 3, 300), ("settle", 3, 300)])
@settings(max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_interleaving_keeps_every_cap_and_the_sums(
    server_dsn: str, template: str, steps: list[tuple[str, int, int]]
) -> None:
    async def run_story() -> None:
        connection = await asyncpg.connect(with_database(server_dsn, template))
        await prepare_connection(connection)
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute("create temp table empty (x int)")
            keys = []
            for cap in (1000, 2500):
                customer_id = await customer(connection, cap_nusd=cap, end_user_cap_nusd=None if cap == 2500 else 700)
                await connection.execute("insert into kaixu.end_user_cap values ($1, 'two', 500)", customer_id)
                keys += [
                    (await virtual_key(connection, customer_id, monthly_cap_nusd=limit))[0] for limit in (None, 600)
                ]
            one_connection = OneConnection(connection)
            story = Story(one_connection, keys)
            for step in steps:
                await story.act(step)
                await story.check()
            await story.check_folded()
        finally:
            await transaction.rollback()
            await connection.close()

    asyncio.run(run_story())


class OneConnection:
    """A pool of one connection inside one transaction: what happens in it is undone afterwards."""

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


async def test_concurrent_groups_never_deadlock_and_never_pass_a_cap(pool: asyncpg.Pool) -> None:
    keys = []
    for _ in range(4):
        customer_id = await customer(pool, cap_nusd=5_000)
        keys += [(await virtual_key(pool, customer_id, monthly_cap_nusd=3_000))[0] for _ in range(2)]

    async def worker(seed: int) -> None:
        for round_ in range(12):
            asks = [
                make_ask(keys[(seed * 7 + round_ * 3 + at * 5) % len(keys)], 100 + at, book=BOOKS[(seed + at) % 3])
                for at in range(8)
            ]
            verdicts = await admission.admit(pool, asks, owner=OWNER, lifetime_s=60, default_rpm=10**6)
            group = [
                settlement(ask, verdict, (seed + at) % 100, "complete" if at % 4 else "released")
                for at, (ask, verdict) in enumerate(zip(asks, verdicts, strict=True))
                if verdict.refused is None
            ]
            if group:
                await admission.settle(pool, group[::-1])

    async def watch() -> None:
        while True:
            assert await over_cap(pool) == []
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(worker(seed) for seed in range(8)))
    watching.cancel()
    await asyncio.wait([watching])
    assert watching.cancelled(), watching.exception()
    await assert_books_balance(pool)


@pytest.mark.parametrize(
    ("charge", "end_reason", "spent"),
    [(False, "complete", 40), (True, "complete", 40), (True, "released", 0), (False, "released", 0)],
    ids=["released-then-true", "charged-then-true", "charged-then-released", "released-then-released"],
)
async def test_a_late_settlement_replaces_the_event_of_the_reaper_once(
    pool: asyncpg.Pool, charge: bool, end_reason: str, spent: int
) -> None:
    customer_id = await customer(pool, cap_nusd=1_000)
    key_id, _ = await virtual_key(pool, customer_id)
    ask = make_ask(key_id, 100)
    (verdict,) = await admission.admit(pool, [ask], owner=OWNER, lifetime_s=60, default_rpm=100)
    await pool.execute("update kaixu.reservation set expires_at = now() - interval '1 s'")
    (lost,) = await admission.expire(pool, charge=charge)
    assert lost.cost_nusd == (100 if charge else 0)
    for _ in range(2):
        await admission.settle(pool, [settlement(ask, verdict, 40, end_reason)])
        assert await pool.fetchval("select spent_nusd from kaixu.customer_month") == spent
        await assert_books_balance(pool)


async def test_a_settlement_without_a_reservation_is_written_all_the_same(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool))
    ask = make_ask(key_id, 100)
    (verdict,) = await admission.admit(pool, [ask], owner=OWNER, lifetime_s=60, default_rpm=100)
    await pool.execute("delete from kaixu.reservation")
    await pool.execute("update kaixu.customer_month set held_nusd = 0")
    await pool.execute("update kaixu.key_month set held_nusd = 0")
    (settled,) = await admission.settle(pool, [settlement(ask, verdict, 70)])
    assert (settled.first_time, settled.customer_spent_nusd, settled.customer_held_nusd) == (True, 70, 0)
    await assert_books_balance(pool)


@pytest.mark.parametrize("whose", ["customer", "key"])
async def test_books_are_capped_together(pool: asyncpg.Pool, whose: str) -> None:
    customer_id = await customer(pool, cap_nusd=100 if whose == "customer" else 10**6)
    key_id, _ = await virtual_key(pool, customer_id, monthly_cap_nusd=None if whose == "customer" else 100)
    asks = [make_ask(key_id, 60), make_ask(key_id, 60, 30, book="push"), make_ask(key_id, 1, book="another")]
    together = await admission.admit(pool, asks, owner=OWNER, lifetime_s=60, default_rpm=100)
    verdicts = {one.ticket: one for one in together}
    # Within a group books are admitted by name: "ai" first, then "another".
    assert [(verdicts[one.ticket].refused, verdicts[one.ticket].granted_nusd) for one in asks] == [
        (None, 60), (None, 39), (None, 1)
    ]  # fmt: skip
    for book in BOOKS:
        (verdict,) = await admission.admit(
            pool, [make_ask(key_id, 1, book=book)], owner=OWNER, lifetime_s=60, default_rpm=100
        )
        assert (verdict.refused, verdict.scope) == ("CAP_REACHED", whose)
        assert (verdict.customer_held_nusd, verdict.key_held_nusd) == (100, 100)
    # The vendor reports more than was held: it is billed as far as all books leave room.
    (settled,) = await admission.settle(pool, [settlement(asks[1], verdicts[asks[1].ticket], 1_000)])
    assert (settled.key_spent_nusd, settled.key_held_nusd) == (39, 61)
    assert (settled.customer_spent_nusd, settled.customer_held_nusd) == (39, 61)
    # Lost holds are restored as far as all books leave room.
    await admission.release(pool, [asks[0].ticket])
    await admission.admit(pool, [make_ask(key_id, 50, book="push")], owner=OWNER, lifetime_s=60, default_rpm=100)
    hold = msgspec.convert(hold_of(asks[0], verdicts[asks[0].ticket]), admission.Hold)
    assert await admission.reserve_again(pool, [hold], owner=OWNER, lifetime_s=60) == 1
    assert await pool.fetchval("select held_nusd from kaixu.reservation where ticket = $1", hold.ticket) == 10
    await assert_books_balance(pool, reservations=None)
    assert await over_cap(pool) == []


async def test_a_top_up_raises_the_cap_of_all_books_once(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, cap_nusd=100)
    key_id, _ = await virtual_key(pool, customer_id)
    await pool.execute(
        "select kaixu.top_up('once', $1, date_trunc('month', now() at time zone 'UTC')::date, 50, 'test')", customer_id
    )
    granted = []
    for book in (*BOOKS, *BOOKS):
        (verdict,) = await admission.admit(
            pool, [make_ask(key_id, 70, 1, book=book)], owner=OWNER, lifetime_s=60, default_rpm=100
        )
        granted.append(verdict.granted_nusd)
        assert verdict.customer_cap_nusd == 150
    assert granted == [70, 70, 10, None, None, None]


class Gateways:
    """Two connections that work concurrently, like two gateways."""

    def __init__(self, dsn: str, keys: list[int]) -> None:
        self.dsn = dsn
        self.keys = keys

    async def work(self, seed: int) -> None:
        connection = await asyncpg.connect(self.dsn)
        await prepare_connection(connection)
        story = Story(OneConnection(connection), self.keys)
        try:
            for round_ in range(40):
                kind = ("admit", "settle", "admit", "crash", "settle", "release", "expire")[(seed + round_) % 7]
                await story.act((kind, seed * 5 + round_ * 3, (seed * 131 + round_ * 97) % 700))
                assert await over_cap(connection) == []
        finally:
            await connection.close()


async def test_two_gateways_never_pass_a_cap_with_several_books_by_one_nano_dollar(
    dsn: str, pool: asyncpg.Pool
) -> None:
    customer_id = await customer(pool, cap_nusd=2_000)
    keys = [(await virtual_key(pool, customer_id, monthly_cap_nusd=limit))[0] for limit in (None, 600, 900)]
    gateways = Gateways(dsn, keys)
    await asyncio.gather(gateways.work(1), gateways.work(2))
    assert await over_cap(pool) == []
    await assert_books_balance(pool, reservations=None)
    assert await pool.fetchval("select count(distinct book) from kaixu.usage_event") == 3


async def test_a_cap_of_nothing_lets_only_operations_through_that_are_free(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool, cap_nusd=0))
    (verdict,) = await admission.admit(pool, [make_ask(key_id, 0)], owner=OWNER, lifetime_s=60, default_rpm=100)
    assert (verdict.refused, verdict.scope) == ("CAP_REACHED", "customer")
    free = make_ask(key_id, 0, FREE)
    (verdict,) = await admission.admit(pool, [free], owner=OWNER, lifetime_s=60, default_rpm=100)
    assert (verdict.refused, verdict.granted_nusd) == (None, 0)
    await admission.settle(pool, [settlement(free, verdict, 0)])
    await assert_books_balance(pool)


@pytest.mark.parametrize(
    ("of_customer", "of_key", "extra", "scope"),
    [
        ({"day_cap_nusd": 0}, {}, 0, "day"),
        ({"end_user_cap_nusd": 0}, {}, 0, "end_user"),
        ({}, {"monthly_cap_nusd": 0}, 0, "key"),
        ({}, {"day_cap_nusd": 0}, 0, "key_day"),
        ({}, {"limits": {"up/m": {"day_cap_nusd": 0}}}, 0, "model_day"),
        ({}, {"group": 0}, 0, "group"),
        ({}, {}, -50, None),
    ],
    ids=["day", "end-user", "key", "key-day", "model-day", "group", "debt"],
)
async def test_no_cap_refuses_an_operation_that_is_free_and_its_rates_count(
    pool: asyncpg.Pool, of_customer: dict[str, Any], of_key: dict[str, Any], extra: int, scope: str | None
) -> None:
    customer_id = await customer(pool, **of_customer)
    if of_key.pop("group", None) is not None:
        of_key = {
            "group_id": await pool.fetchval(
                "insert into kaixu.key_group (customer_id, name, monthly_cap_nusd) values ($1, 'g', 0) returning id",
                customer_id,
            )
        }
    key_id, _ = await virtual_key(pool, customer_id, rpm_limit=3, **of_key)
    if extra:
        await pool.execute(
            "insert into kaixu.customer_month (customer_id, month, extra_nusd)"
            " values ($1, date_trunc('month', now() at time zone 'UTC')::date, $2)",
            customer_id,
            extra,
        )

    async def refusal(least: int) -> tuple[str | None, str | None]:
        ask = make_ask(key_id, 0, least, end_user="ada")
        (verdict,) = await admission.admit(pool, [ask], owner=OWNER, lifetime_s=60, default_rpm=100)
        return verdict.refused, verdict.scope

    plain = ("CAP_REACHED", scope) if scope else (None, None)  # who owes can call what costs nothing
    assert await refusal(0) == plain
    for _ in range(3 if scope else 2):
        assert await refusal(FREE) == (None, None)
    assert (await refusal(FREE))[0] == "RATE_LIMITED"


async def test_a_free_call_passes_where_the_cap_is_used_up(pool: asyncpg.Pool) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool, cap_nusd=100))
    first = make_ask(key_id, 100)
    (verdict,) = await admission.admit(pool, [first], owner=OWNER, lifetime_s=60, default_rpm=100)
    await admission.settle(pool, [settlement(first, verdict, 100)])
    (verdict,) = await admission.admit(pool, [make_ask(key_id, 0)], owner=OWNER, lifetime_s=60, default_rpm=100)
    assert verdict.refused is None


async def test_a_plain_hash_is_replaced_on_first_use(pool: asyncpg.Pool) -> None:
    import hashlib

    from kaixu.accounts.key_material import key_hash, legacy_hash

    key = "kx_live_" + "A" * 43
    key_id, _ = await virtual_key(pool, await customer(pool))
    await pool.execute(
        "update kaixu.virtual_key set key_hash = $1 where id = $2",
        hashlib.sha256(key.encode()).digest(),
        key_id,
    )
    hashed = key_hash("pepper", key)
    for _ in range(2):
        one = msgspec.structs.replace(
            make_ask(0, 1), key_id=None, key_hash=hashed, legacy_hash=legacy_hash(key), ticket=new_ticket()
        )
        (verdict,) = await admission.admit(pool, [one], owner=OWNER, lifetime_s=60, default_rpm=100)
        assert (verdict.refused, verdict.key_id) == (None, key_id)
        assert await pool.fetchval("select key_hash from kaixu.virtual_key where id = $1", key_id) == hashed


async def test_a_limit_holds_over_any_sixty_seconds_and_frees_when_they_have_passed(
    pool: asyncpg.Pool,
) -> None:
    key_id, _ = await virtual_key(pool, await customer(pool), rpm_limit=3)

    async def admitted() -> int:
        verdicts = await admission.admit(
            pool, [make_ask(key_id, 0) for _ in range(5)], owner=OWNER, lifetime_s=60, default_rpm=1
        )
        refused = [verdict for verdict in verdicts if verdict.refused]
        assert all(0 < (verdict.retry_after_s or 0) <= 61 for verdict in refused)
        return 5 - len(refused)

    async def wait(seconds: int) -> None:
        """Let time pass: move the counts of the window back."""
        await pool.execute(
            """
            update kaixu.rate_window
               set second_slot = second_slot - $1,
                   second_counts = (select array_agg(second_counts[((s + $1) % 61) + 1] order by s) from generate_series(0, 60) s)
            """,
            seconds,
        )

    assert await admitted() == 3
    await wait(30)
    assert await admitted() == 0
    await wait(32)
    assert await admitted() == 3


def test_tickets_are_uuid7_and_sort_by_time() -> None:
    tickets = [new_ticket() for _ in range(100)]
    assert {ticket.version for ticket in tickets} == {7}
    assert len(set(tickets)) == 100
    assert [ticket.int >> 80 for ticket in tickets] == sorted(ticket.int >> 80 for ticket in tickets)
    assert isinstance(tickets[0], UUID)


async def test_a_late_settlement_never_exceeds_a_cap_and_the_unbilled_rest_is_noted(pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool, cap_nusd=1_000)
    key_id, _ = await virtual_key(pool, customer_id, monthly_cap_nusd=600)
    late, other = make_ask(key_id, 163), make_ask(key_id, 438)
    (late_verdict,) = await admission.admit(pool, [late], owner=OWNER, lifetime_s=60, default_rpm=100)
    await pool.execute("update kaixu.reservation set expires_at = now() - interval '1 s'")
    await admission.expire(pool, charge=False)
    (verdict,) = await admission.admit(pool, [other], owner=OWNER, lifetime_s=60, default_rpm=100)
    assert verdict.refused is None
    for _ in range(2):
        await admission.settle(pool, [settlement(late, late_verdict, 163)])
        event = await pool.fetchrow("select cost_nusd, units from kaixu.usage_event")
        assert event is not None
        assert (event["cost_nusd"], event["units"]) == (162, {"unbilled_nusd": 1})
    month = await pool.fetchrow("select spent_nusd, held_nusd from kaixu.key_month")
    assert month is not None
    assert month["spent_nusd"] + month["held_nusd"] == 600
    await assert_books_balance(pool, reservations=1)
