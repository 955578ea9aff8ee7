"""Charges by key: held, billed once, released, whatever happens meanwhile; and every book adds up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kaixu.plugin.book import BookMonth, Monthly
from kaixu.plugin.operation import KeyedCharge, PerCall, PerUnit
from kaixu.reports.reconcile import differences
from kaixu.store import admission
from kaixu.store.books import book_month, expire_charges, take_books
from kaixu.store.charge_effects import ChargeEffects, Charging, NoRoom, apply_as_gateway, require_done
from kaixu.store.pool import prepare_connection
from kaixu.store.prices import version_of
from tests.conftest import with_database
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.size import examples

from .test_money_properties import OWNER, make_ask, settlement

CHARGES: dict[str, KeyedCharge] = {
    "deploy": PerCall("deploy", book="push"),
    "gib": PerUnit("gib", unit="bytes", per=4, book="push"),
    "base": Monthly("base", book="push"),
    "page": PerCall("page"),
}
PRICES = {
    "default": {"deploy": 100, "gib": 10, "base": 500, "page": 70},
    "cheap": {"deploy": 60, "gib": 4, "base": 0, "page": 30},
}
KINDS = {"deploy": ("call", "calls", 1), "gib": ("unit", "bytes", 4), "base": ("month", "months", 1),
         "page": ("call", "calls", 1)}  # fmt: skip


async def declare(pool: Any, prices: Mapping[str, Mapping[str, int]] = PRICES, **book: Any) -> str | None:
    """The book `push`, and the prices of its charges, as a gateway stores them."""
    rows = []
    for version, listed in prices.items():
        for charge, nusd in listed.items():
            kind, unit, per = KINDS[charge]
            rates = {charge: nusd, **({f"per_{unit}": per} if kind == "unit" else {})}
            rows.append(
                {"version": version, "charge": charge, "book": CHARGES[charge].book, "kind": kind, "unit": unit,
                 "per": per, "price_nusd": nusd, "price_id": await version_of(pool, "push", charge, rates, None)}
            )  # fmt: skip
    one = {
        "name": "push", "title": "Pushes", "has_own_cap": True, "cap_setting": "cap", "default_cap_nusd": 10_000,
        "version_setting": "pricing", **book,
    }  # fmt: skip
    return await take_books(pool, "push", [one], rows)


class Customer:
    """A customer with one key, and transactions of an integration in its name."""

    def __init__(self, pool: Any, customer_id: int, key_id: int) -> None:
        self.pool = pool
        self.id = customer_id
        self.key_id = key_id

    async def do(self, *effects: Sequence[Any], key_id: int | None = None, at: datetime | None = None) -> None:
        """One transaction: each effect is its kind, charge, key and units. Raises `NoRoom`."""
        charging = Charging("push", CHARGES, frozenset(CHARGES), "r", self.id, key_id or self.key_id)
        gathered = ChargeEffects(charging)
        for kind, charge, key, *units in effects:
            if kind == "hold":
                gathered.hold(charge, key, units[0] if units else 1, 3600)
            elif kind == "charge":
                gathered.charge(charge, key, units[0] if units else 1, at)
            else:
                gathered.release(charge, key)

        async def apply(connection: Any) -> None:
            for whose, effects in gathered.take():
                require_done(await apply_as_gateway(connection, whose, effects), whose)

        if isinstance(self.pool, asyncpg.Connection):
            async with self.pool.transaction():
                await apply(self.pool)
        else:
            async with self.pool.acquire() as connection, connection.transaction():
                await apply(connection)

    async def month(self, book: str = "push", month: date | None = None) -> BookMonth:
        return await book_month(self.pool, self.id, book, month)

    async def figures(self, book: str = "push") -> tuple[int, int]:
        """What is spent and held."""
        month = await self.month(book)
        return month.spent_nusd, month.held_nusd

    async def set(self, **values: Any) -> None:
        """Settings of the customer."""
        await self.pool.fetch(
            "select refused from kaixu.set_integration_settings(p_customer_id => $1, p_integration => 'push',"
            " p_changes => $2, p_reset => '{}', p_unique => '{}')",
            self.id,
            values,
        )


@pytest.fixture
async def one(pool: asyncpg.Pool) -> Customer:
    assert await declare(pool) is None
    owner = await customer(pool, cap_nusd=1000)
    return Customer(pool, owner, (await virtual_key(pool, owner))[0])


async def test_a_hold_is_billed_once_with_the_monthly_charge(one: Customer) -> None:
    await one.do(("hold", "deploy", "a"))
    assert await one.figures() == (0, 600)
    await one.do(("hold", "deploy", "b"))
    assert await one.figures() == (0, 700)
    for _ in range(3):
        await one.do(("charge", "deploy", "a"))
        assert await one.figures() == (600, 100)
    await one.do(("release", "deploy", "b"))
    await one.do(("release", "deploy", "b"), ("release", "deploy", "a"), ("release", "deploy", "never"))
    month = await one.month()
    assert (month.spent_nusd, month.held_nusd, month.base_nusd, month.cap_nusd) == (600, 0, 500, 10_000)
    assert [(line.charge, line.count, line.units, line.nusd) for line in month.lines] == [
        ("base", 1, 1, 500),
        ("deploy", 1, 1, 100),
    ]
    events = await one.pool.fetch(
        "select operation, provider, model, units, cost_nusd from kaixu.usage_event order by 1"
    )
    assert [tuple(row) for row in events] == [
        ("push.base", "push", "base", {"months": 1}, 500),
        ("push.deploy", "push", "deploy", {"calls": 1}, 100),
    ]
    await assert_books_balance(one.pool)
    assert await differences(one.pool, None) == []


async def test_a_hold_sets_units_and_refuses_only_growth(one: Customer) -> None:
    await one.set(cap=0.0000008)  # 800 nano-dollars
    await one.do(("hold", "gib", "a", 80))
    assert await one.figures() == (0, 700)
    await one.do(("hold", "gib", "a", 120))
    assert await one.figures() == (0, 800)
    with pytest.raises(NoRoom) as refused:
        await one.do(("hold", "gib", "a", 121))
    facts = refused.value.refused
    assert (facts.asked_nusd, facts.cap_nusd, facts.spent_nusd, facts.held_nusd) == (3, 800, 0, 800)
    await one.set(cap=0)
    await one.do(("hold", "gib", "a", 40))  # lowering always works
    assert await one.figures() == (0, 600)
    with pytest.raises(NoRoom):
        await one.do(("hold", "gib", "b", 0))  # a cap of 0 refuses
    await one.set(cap=None)
    await one.do(("hold", "gib", "b", 10**9))
    await assert_books_balance(one.pool)


async def test_a_refused_hold_takes_back_what_came_before_it(one: Customer) -> None:
    await one.set(cap=0.00000065)
    with pytest.raises(NoRoom):
        await one.do(("charge", "deploy", "done"), ("hold", "deploy", "a"), ("hold", "deploy", "b"))
    assert await one.figures() == (0, 0)
    assert not await one.pool.fetchval("select count(*) from kaixu.keyed_charge")


async def test_a_book_with_its_own_cap_leaves_the_customers_cap_alone(one: Customer) -> None:
    await one.do(("hold", "deploy", "a"), ("charge", "deploy", "b"))
    [verdict] = await admission.admit(one.pool, [make_ask(one.key_id, 1000)], owner=OWNER, lifetime_s=60, default_rpm=9)
    assert (verdict.refused, verdict.customer_spent_nusd, verdict.customer_held_nusd) == (None, 0, 1000)
    with pytest.raises(NoRoom) as refused:
        await one.do(("hold", "page", "a"))  # in the book "ai": under the customer's cap
    assert refused.value.refused.cap_nusd == 1000
    await assert_books_balance(one.pool, reservations=1)


async def test_a_hold_in_a_shared_book_counts_for_calls(one: Customer) -> None:
    await one.do(("hold", "page", "a"))
    asks = [make_ask(one.key_id, 931), make_ask(one.key_id, 930)]
    verdicts = [(await admission.admit(one.pool, [ask], owner=OWNER, lifetime_s=60, default_rpm=9))[0] for ask in asks]
    assert [verdict.refused for verdict in verdicts] == ["CAP_REACHED", None]


async def test_a_call_in_a_book_with_its_own_cap_is_decided_by_that(one: Customer) -> None:
    await one.set(cap=0.0000009)
    await one.do(("hold", "deploy", "a"))
    asks = [
        make_ask(one.key_id, 5000, book="push"),
        make_ask(one.key_id, 200, book="push"),
        make_ask(one.key_id, 101, book="push"),
    ]
    verdicts = await admission.admit(one.pool, asks, owner=OWNER, lifetime_s=60, default_rpm=9)
    assert [(verdict.refused, verdict.scope) for verdict in verdicts] == [
        ("CAP_REACHED", "book"),
        (None, None),
        ("CAP_REACHED", "book"),
    ]
    assert (verdicts[2].bound_limit, verdicts[2].bound_used, verdicts[2].bound_held) == (900, 0, 800)
    [settled] = await admission.settle(one.pool, [settlement(asks[1], verdicts[1], 700)])
    assert (settled.customer_spent_nusd, settled.key_spent_nusd) == (0, 0)
    assert await one.figures() == (300, 600), "what is beyond the hold is billed as far as there is room"
    await assert_books_balance(one.pool)


async def test_a_charge_is_billed_although_its_key_is_revoked_and_the_cap_lowered(one: Customer) -> None:
    await one.do(("hold", "deploy", "a"))
    await one.pool.execute("update kaixu.virtual_key set revoked_at = now()")
    await one.set(cap=0)
    other, _ = await virtual_key(one.pool, one.id)
    await one.do(("charge", "deploy", "a"), key_id=other)
    assert await one.figures() == (600, 0)
    assert await one.pool.fetchval("select bool_and(key_id = $1) from kaixu.usage_event", one.key_id)


async def test_an_expired_hold_is_free_and_may_still_be_charged(one: Customer) -> None:
    await one.do(("hold", "deploy", "a"), ("hold", "deploy", "b"))
    await one.pool.execute("update kaixu.keyed_charge set expires_at = now() - interval '1 s' where charge = 'deploy'")
    assert await expire_charges(one.pool) == 2
    assert await one.figures() == (0, 0), "the monthly charge, too"
    await one.set(cap=0.00000055)
    await one.do(("charge", "deploy", "a"))
    assert await one.figures() == (550, 0), "only as far as there is room"
    assert await one.pool.fetchval("select sum((units ->> 'unbilled_nusd')::bigint) from kaixu.usage_event") == 50
    assert await differences(one.pool, None) == []


async def test_a_charge_counts_in_the_month_of_its_time(one: Customer) -> None:
    last = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).date().replace(day=1)
    await one.do(("hold", "deploy", "a"))
    await one.do(("charge", "deploy", "a"), at=datetime(last.year, last.month, 28, 12, tzinfo=UTC))
    assert await one.figures() == (0, 0)
    month = await one.month(month=last)
    assert (month.spent_nusd, month.base_nusd) == (600, 500)
    await one.do(("charge", "deploy", "a"))
    assert await one.figures() == (0, 0)
    assert await differences(one.pool, None) == []


async def test_a_price_list_counts_from_the_next_month_on(one: Customer) -> None:
    await one.set(pricing="cheap")
    await one.do(("charge", "deploy", "a"))
    await one.set(pricing="nothing of this name")
    await one.do(("charge", "deploy", "b"))
    month = await one.month()
    assert (month.pricing_version, month.spent_nusd) == ("cheap", 120)
    edited = {**PRICES, "cheap": {**PRICES["cheap"], "deploy": 61}}
    assert await declare(one.pool, edited) == "cheap"
    assert await declare(one.pool, {**PRICES, "default": {**PRICES["default"], "deploy": 90}}) is None


async def test_keys_of_one_customer_are_nothing_to_another(one: Customer) -> None:
    owner = await customer(one.pool)
    other = Customer(one.pool, owner, (await virtual_key(one.pool, owner))[0])
    await one.do(("hold", "deploy", "a"))
    await other.do(("release", "deploy", "a"))
    await other.do(("charge", "deploy", "a"))
    assert (await one.figures(), await other.figures()) == ((0, 600), (600, 0))
    with pytest.raises(ValueError, match="no key"):
        await other.do(("hold", "deploy", "b"), key_id=one.key_id)


async def test_deleting_a_customer_gives_back_what_is_held(one: Customer) -> None:
    await one.do(("hold", "deploy", "a"))
    await one.pool.fetch("select kaixu.begin_deletion(p_customer_id => $1, p_actor => 'test')", one.id)
    assert await one.figures() == (0, 0)
    with pytest.raises(Exception, match="deleted"):
        await one.do(("charge", "deploy", "a"))


async def test_many_at_once_never_pass_the_cap(one: Customer) -> None:
    await one.set(cap=0.000001)

    async def push(at: int) -> bool:
        try:
            await one.do(("hold", "deploy", f"k{at % 20}"))
        except NoRoom:
            return False
        return True

    done = await asyncio.gather(*(push(at) for at in range(40)))
    assert sum(done) == 10  # five keys, each twice
    assert await one.figures() == (0, 1000)
    await asyncio.gather(*(one.do(("charge", "deploy", f"k{at % 20}")) for at in range(40)))
    month = await one.month()
    assert (month.spent_nusd, month.held_nusd) == (1000, 0)
    await assert_books_balance(one.pool)


STEP = st.tuples(
    st.sampled_from(["hold", "charge", "release", "expire", "call", "settle", "cap", "version", "revoke"]),
    st.integers(0, 7),
    st.integers(0, 400),
)


@given(st.lists(STEP, min_size=1, max_size=30))
@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
def test_a_month_adds_up_in_every_book(server_dsn: str, template: str, steps: list[tuple[str, int, int]]) -> None:
    """Whatever happens to holds, charges and calls in books with and without caps of their own."""
    asyncio.run(story(with_database(server_dsn, template), steps))


async def story(dsn: str, steps: list[tuple[str, int, int]]) -> None:
    connection: Any = await asyncpg.connect(dsn)
    await prepare_connection(connection)
    outer = connection.transaction()
    await outer.start()
    try:
        await declare(connection)
        owner = await customer(connection, cap_nusd=1500)
        keys = [(await virtual_key(connection, owner))[0] for _ in range(2)]
        one = Customer(connection, owner, keys[0])
        calls: list[Any] = []
        caps = [10_000]
        charged: set[tuple[str, str]] = set()
        for kind, choice, amount in steps:
            charge, key = ("deploy", "gib", "page")[choice % 3], f"k{choice // 3}"
            units = amount if charge == "gib" else 1
            if kind in ("hold", "charge", "release"):
                try:
                    await one.do((kind, charge, key, *([] if kind == "release" else [units])), key_id=keys[amount % 2])
                    if kind == "charge":
                        charged.add((charge, key))
                except NoRoom:
                    assert kind == "hold"
            elif kind == "expire":
                await connection.execute(
                    "update kaixu.keyed_charge set expires_at = now() - interval '1 s'"
                    " where key = $1 and customer_id = $2",
                    key,
                    owner,
                )
                await connection.fetch("select kaixu.expire_charges(p_most => 100)")
            elif kind == "call":
                ask = make_ask(keys[amount % 2], amount, amount // 2, book=("ai", "push", "another")[choice % 3])
                [verdict] = await admission.admit(connection, [ask], owner=OWNER, lifetime_s=60, default_rpm=10**6)
                if verdict.refused is None:
                    calls.append((ask, verdict))
            elif kind == "settle" and calls:
                ask, verdict = calls.pop(choice % len(calls))
                await admission.settle(connection, [settlement(ask, verdict, amount)])
            elif kind == "cap":
                await one.set(cap=amount * 1e-8)
                caps.append(amount * 10)
            elif kind == "version":
                await one.set(pricing=("cheap", "default", "")[choice % 3])
            elif kind == "revoke":
                await connection.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", keys[1])
            month = await one.month()
            assert month.spent_nusd + month.held_nusd <= max(caps)
            assert sum(line.nusd for line in month.lines) == month.spent_nusd
            assert sum(await one.figures("ai")) + sum(await one.figures("another")) <= 1500
            await assert_books_balance(connection, reservations=None)
        rows = await connection.fetch(
            "select k.charge, k.key, count(*) as count from kaixu.keyed_charge k"
            " join kaixu.usage_event e on e.ticket = k.ticket"
            " where k.customer_id = $1 and not k.is_monthly group by 1, 2",
            owner,
        )
        assert {(row["charge"], row["key"]): row["count"] for row in rows} == dict.fromkeys(charged, 1)
        assert [
            one for one in await differences(connection, None) if one.what != "event" or one.figure != "cost_nusd"
        ] == []
    finally:
        await outer.rollback()
        await connection.close()
