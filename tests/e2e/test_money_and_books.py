"""Credit, debt and reactions of an integration beside its book with a cap of its own, through one gateway."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.reports.reconcile import differences
from kaixu.store.pool import open_pool
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Process
from tests.vendors.stage import database, gateway

PLUGIN = """
from typing import Any
import msgspec
from kaixu.plugin import Book, Free, Integration, Operation, Options, PerCall, Reaction, hookimpl

class MintOptions(Options):
    cap: float = 0.00001

class MintCustomer(msgspec.Struct):
    cap: float | None = None
    below_nusd: int | None = None

class BareCustomer(msgspec.Struct):
    cap: float | None = None

class Ask(msgspec.Struct):
    row: str = ""
    credits: list[tuple[int, int, str]] = []
    holds: list[tuple[str, str]] = []
    bills: list[tuple[str, str]] = []

class Reply(msgspec.Struct):
    said: Any = None

async def do(call):
    async with call.db() as db:
        if call.body.row:
            await db.execute("insert into done (key, customer_id) values ($1, $2)", call.body.row, call.customer_id)
            await db.execute("insert into payment (key, customer_id) values ($1, $2)", call.body.row, call.customer_id)
        # In an order of the caller's: what is booked first is not decided by it.
        for charge, key in call.body.holds:
            await db.hold(charge, key=key, for_s=3600)
        for charge, key in call.body.bills:
            await db.charge(charge, key=key)
        for who, amount, key in call.body.credits:
            await db.credit(who, amount, key=key)
    return Reply("done")

async def work(call):
    return Reply("done")

async def balance(call):
    async with call.db() as db:
        return Reply(msgspec.to_builtins(await db.balance()))

async def react(call):
    crossing = call.body
    async with call.db() as db:
        await db.execute(
            "insert into reacted (id, event, customer_id, figures) values ($1, $2, $3, $4)",
            str(crossing.id), crossing.on, crossing.customer_id, msgspec.json.encode(crossing).decode())

def offer(name, book):
    free = Free("a test")
    return [
        Operation(f"{name}.do", do, Ask, free, holds=["own", "shared"]),
        Operation(f"{name}.press", work, Ask, PerCall("press", book=book)),
        Operation(f"{name}.pay", work, Ask, PerCall("pay")),
        Operation(f"{name}.balance", balance, Ask, free),
    ]

@hookimpl
def register_integrations(register):
    for name, book_name, more in (
        ("mint", "coins", dict(
            schema="tables", customer=MintCustomer, keeps=["payment"],
            reactions=[
                Reaction("balance_below", react, "a test", threshold="below_nusd"),
                Reaction("cap_warned", react, "a test"), Reaction("customer_deleted", react, "a test"),
            ],
        )),
        ("bare", "notes", dict(customer=BareCustomer)),
    ):
        register(Integration(
            name, offer(name, book_name), options=MintOptions, grants={"credit", "customers"},
            books=[Book(book_name, title=book_name.title(), cap="cap")],
            charges=[PerCall("own", book=book_name), PerCall("shared")], **more,
        ))
"""
TABLES = """
create table done (key text primary key, customer_id bigint not null);
create table payment (key text primary key, customer_id bigint not null);
create table reacted (id text primary key, event text, customer_id bigint, figures text);
"""
#: In nano-dollars.
PRICE = 1000
CONFIG = """
gateway: {jobs: {workers: 2}, rollover: true}
integrations:
  mint:
    plugin: ./mint
    price: {own: 0.000001, shared: 0.000001, press: 0.000001, pay: 0.000001}
    grants: [credit, customers]
  bare:
    plugin: ./mint
    price: {own: 0.000001, shared: 0.000001, press: 0.000001, pay: 0.000001}
    grants: [credit, customers]
"""


class Caller:
    """A customer with a key."""

    def __init__(self, http: aiohttp.ClientSession, url: str, pool: asyncpg.Pool, customer_id: int, key: str) -> None:
        self.http = http
        self.url = url
        self.pool = pool
        self.id = customer_id
        self.headers = {"authorization": f"Bearer {key}"}

    async def ask(self, operation: str, **body: Any) -> tuple[int, Any]:
        path = f"/v1/{operation.replace('.', '/')}"
        async with self.http.post(self.url + path, json=body, headers=self.headers) as response:
            reply = await response.json()
            return response.status, reply.get("said", reply)

    async def refused(self, operation: str, **body: Any) -> tuple[int, str, str | None]:
        """Status, code and scope of what must be refused."""
        status, reply = await self.ask(operation, **body)
        return status, reply["code"], reply.get("scope")

    async def credited(self) -> int:
        total: int = await self.pool.fetchval(
            "select coalesce(sum(amount_nusd), 0)::bigint from kaixu.topup where customer_id = $1", self.id
        )
        return total

    async def months(self) -> dict[bool, tuple[int, int]]:
        """What is spent and held in books with a cap of their own (True), and in all others."""
        rows = await self.pool.fetch(
            "select has_own_cap, sum(spent_nusd)::bigint as spent, sum(held_nusd)::bigint as held"
            "  from kaixu.customer_month where customer_id = $1 group by 1",
            self.id,
        )
        return {row["has_own_cap"]: (row["spent"], row["held"]) for row in rows}

    async def reacted(self, event: str, count: int) -> list[dict[str, Any]]:
        """What it was told of an event: at least so often, and once no job of its is left."""
        async with asyncio.timeout(30):
            while True:
                left = await self.pool.fetchval(
                    "select exists (select from kaixu.cap_check) or exists"
                    " (select from kaixu.job where completed_at is null and customer_id = $1)",
                    self.id,
                )
                rows = await self.pool.fetch(
                    "select figures from kaixu_mint.reacted where customer_id = $1 and event = $2", self.id, event
                )
                if len(rows) >= count and not left:
                    return [json.loads(row["figures"]) for row in rows]
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    home = tmp_path_factory.mktemp("mint")
    (home / "mint" / "tables").mkdir(parents=True)
    (home / "mint" / "__init__.py").write_text(PLUGIN)
    (home / "mint" / "tables" / "0001_tables.sql").write_text(TABLES)
    with database(server_dsn, pristine) as dsn, gateway(home, dsn, CONFIG) as process:
        yield process


@pytest.fixture
async def pool(shared: Process) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(shared.environment["DATABASE_URL"])
    yield pool
    await assert_books_balance(pool, reservations=None)
    async with pool.acquire() as connection:
        assert await differences(connection, None) == []
    await pool.close()


async def new_caller(
    shared: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool, cap_nusd: int, **more: Any
) -> Caller:
    owner = await customer(pool, cap_nusd=cap_nusd, **more)
    return Caller(http, shared.url, pool, owner, (await virtual_key(pool, owner))[1])


@pytest.mark.parametrize("name", ["mint", "bare"])
async def test_a_debt_refuses_what_draws_on_the_customers_cap_and_not_a_book_with_its_own(
    name: str, shared: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    caller = await new_caller(shared, http, pool, 100 * PRICE)
    assert (await caller.ask(f"{name}.do", credits=[(caller.id, -5, f"taken-{caller.id}")]))[0] == 200
    refused = await caller.refused(f"{name}.do", holds=[("shared", "a")])
    assert refused[:2] == (402, "HOLD_REFUSED")
    assert await caller.refused(f"{name}.pay") == (402, "CAP_REACHED", "debt")
    assert await caller.ask(f"{name}.do", holds=[("own", "a")]) == (200, "done")
    assert await caller.ask(f"{name}.press") == (200, "done")
    assert await caller.ask(f"{name}.do", bills=[("own", "a")]) == (200, "done")
    assert await caller.months() == {True: (2 * PRICE, 0), False: (0, 0)}
    for at in range(8):
        assert (await caller.ask(f"{name}.press"))[0] == 200, at
    assert await caller.refused(f"{name}.press") == (402, "CAP_REACHED", "book")  # its own cap holds as ever
    paid = (caller.id, 5, f"paid-{caller.id}")
    assert await caller.ask(f"{name}.do", holds=[("shared", "a")], credits=[paid]) == (200, "done")
    assert await caller.ask(f"{name}.pay") == (200, "done")
    assert await caller.months() == {True: (10 * PRICE, 0), False: (PRICE, PRICE)}


@pytest.mark.parametrize("name", ["mint", "bare"])
async def test_credits_and_charges_of_one_transaction_are_all_done_or_none(
    name: str, shared: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    caller = await new_caller(shared, http, pool, 1)
    other = await new_caller(shared, http, pool, 0)
    row = {"row": f"row-{caller.id}"} if name == "mint" else {}
    credits = [(other.id, 70, f"other-{caller.id}"), (caller.id, PRICE - 2, f"mine-{caller.id}")]
    holds = [("own", "h"), ("shared", "h")]

    async def nothing() -> None:
        assert (await caller.credited(), await other.credited()) == (0, 0)
        assert await pool.fetchval("select count(*) from kaixu.keyed_charge where customer_id = $1", caller.id) == 0
        assert not any(held or spent for held, spent in (await caller.months()).values())
        assert await pool.fetchval("select count(*) from kaixu_mint.done where customer_id = $1", caller.id) == 0

    # One nano-dollar too little for the hold, an unknown customer, a charge with a key that another amount has used.
    assert (await caller.refused(f"{name}.do", holds=holds, credits=credits, **row))[:2] == (402, "HOLD_REFUSED")
    await nothing()
    unknown = [*credits, (10**9, 5, f"nobody-{caller.id}")]
    status, code, _ = await caller.refused(f"{name}.do", bills=[("own", "h")], credits=unknown, **row)
    assert (status, code) == (404, "UNKNOWN_CUSTOMER")
    await nothing()
    twice = [*credits, (caller.id, 9, f"mine-{caller.id}")]
    status, code, _ = await caller.refused(f"{name}.do", bills=[("shared", "h")], credits=twice, **row)
    assert (status, code) == (409, "IDEMPOTENCY_KEY_USED")
    await nothing()
    # What is credited makes room for what is held in the same transaction.
    enough = [credits[0], (caller.id, PRICE - 1, f"mine-{caller.id}")]
    for _ in range(2 if name == "bare" else 1):  # and once more it is the same
        assert await caller.ask(f"{name}.do", holds=holds, credits=enough, **row) == (200, "done")
    assert (await caller.credited(), await other.credited()) == (PRICE - 1, 70)
    assert await caller.months() == {True: (0, PRICE), False: (0, PRICE)}
    assert await caller.ask(f"{name}.do", bills=holds) == (200, "done")
    assert await caller.months() == {True: (PRICE, 0), False: (PRICE, 0)}


async def test_twenty_transactions_that_credit_each_other_and_hold_do_not_wait_in_a_circle(
    shared: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    """Seeded: each credits one or two other customers, above and below its own, and holds and bills for its own."""
    choice = random.Random(20_261_129)
    callers = [await new_caller(shared, http, pool, 10**6) for _ in range(4)]
    expected = {caller.id: 0 for caller in callers}
    for wave in range(3):
        asked = []
        for at in range(20):
            caller = callers[at % 4]
            others = choice.sample([one.id for one in callers if one is not caller], choice.choice((1, 2)))
            key = f"{wave}-{at}-{caller.id}"
            credits = [(who, choice.randint(1, 99), f"{key}-{who}") for who in [*others, *[caller.id] * (at % 2)]]
            for who, amount, _ in credits:
                expected[who] += amount
            name = "mint" if at % 3 else "bare"
            row = {"row": key} if name == "mint" else {}
            asked.append(
                caller.ask(f"{name}.do", credits=credits, holds=[("shared", key)], bills=[("shared", f"b{key}")], **row)
            )
        assert [status for status, _ in await asyncio.gather(*asked)] == [200] * 20
    assert {caller.id: await caller.credited() for caller in callers} == expected
    for caller in callers:
        assert await caller.months() == {False: (15 * PRICE, 15 * PRICE)}


async def test_a_book_with_its_own_cap_takes_nothing_of_credits_and_crosses_no_watch(
    shared: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    caller = await new_caller(shared, http, pool, 2 * PRICE, alert_thresholds=[50])
    await pool.execute(
        "update kaixu.virtual_key set monthly_cap_nusd = $2 where customer_id = $1", caller.id, 3 * PRICE
    )
    await pool.fetch(
        "select * from kaixu.set_integration_settings($1, 'mint', $2, '{}', '{}')", caller.id, {"below_nusd": 1500}
    )
    for at in range(5):
        if at == 3:  # what was spent before a day's cap was set is summed, what comes later is added
            await pool.execute("update kaixu.customer set day_cap_nusd = $2 where id = $1", caller.id, 3 * PRICE)
        assert (await caller.ask("mint.press"))[0] == 200
        assert (await caller.ask("mint.do", bills=[("own", f"b{at}")]))[0] == 200
    assert (await caller.refused("mint.press")) == (402, "CAP_REACHED", "book")
    assert await caller.reacted("balance_below", 0) == await caller.reacted("cap_warned", 0) == []
    _, balance = await caller.ask("mint.balance")
    assert (balance["spent_nusd"], balance["available_nusd"]) == (0, 2 * PRICE)
    assert (await caller.ask("mint.do", credits=[(caller.id, PRICE, f"c-{caller.id}")]))[0] == 200
    _, balance = await caller.ask("mint.balance")
    assert (balance["available_nusd"], balance["unspent_nusd"], balance["debt_nusd"]) == (3 * PRICE, PRICE, 0)
    alert = await pool.fetchval("select body from kaixu.alert where customer_id = $1 and type = 'TOPPED_UP'", caller.id)
    assert (alert["spent_nusd"], alert["cap_nusd"]) == (0, 3 * PRICE)
    for _ in range(2):
        assert (await caller.ask("mint.pay"))[0] == 200
    (below,) = await caller.reacted("balance_below", 1)
    assert (below["balance_nusd"], below["spent_nusd"], below["cap_nusd"]) == (PRICE, 2 * PRICE, 3 * PRICE)
    (warned,) = await caller.reacted("cap_warned", 1)
    assert (warned["threshold_pct"], warned["spent_nusd"], warned["cap_nusd"]) == (50, 2 * PRICE, 3 * PRICE)
    # One more has room under the caps of customer, key and day, and no other.
    assert await caller.ask("mint.do", holds=[("shared", "last")]) == (200, "done")
    assert (await caller.refused("mint.do", holds=[("shared", "none")]))[:2] == (402, "HOLD_REFUSED")
    assert await caller.months() == {True: (10 * PRICE, 0), False: (2 * PRICE, PRICE)}


async def test_unspent_credit_is_carried_whatever_a_book_with_its_own_cap_has_spent(
    shared: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    caller = await new_caller(shared, http, pool, 0)
    month = "(date_trunc('month', now() at time zone 'UTC') - interval '1 month')::date"
    await pool.fetch(
        f"select * from kaixu.top_up($1, $2, {month}, $3, 'manual')", f"before-{caller.id}", caller.id, 3 * PRICE
    )
    # Last month, as if calls had been made then: five in the book with its own cap, one that drew on the credit.
    for book, calls, has_own_cap in (("coins", 5, True), ("mint", 1, False)):
        await pool.execute(
            f"insert into kaixu.customer_month (customer_id, month, book, spent_nusd, has_own_cap) values ($1, {month}, $2, $3, $4)",
            caller.id, book, calls * PRICE, has_own_cap,
        )  # fmt: skip
    _, balance = await caller.ask("mint.balance")
    assert (balance["credit_nusd"], balance["carried_nusd"], balance["unspent_nusd"]) == (2 * PRICE,) * 3
    assert [(await caller.ask("mint.pay"))[0] for _ in range(3)] == [200, 200, 402]
    # The figures of last month have no calls behind them: they go, so that the books add up again.
    await pool.execute(
        f"update kaixu.customer_month set spent_nusd = 0 where customer_id = $1 and month = {month}", caller.id
    )


async def test_a_warned_cap_reacts_once_for_each_threshold(
    shared: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    caller = await new_caller(shared, http, pool, 10 * PRICE, alert_thresholds=[50, 80])
    for _ in range(4):
        assert (await caller.ask("mint.pay"))[0] == 200
    assert await caller.reacted("cap_warned", 0) == []
    statuses = await asyncio.gather(*(caller.ask("mint.pay") for _ in range(2)))
    assert [status for status, _ in statuses] == [200, 200]
    (first,) = await caller.reacted("cap_warned", 1)
    assert (first["threshold_pct"], first["cap_nusd"]) == (50, 10 * PRICE)
    assert first["month"] is not None
    for _ in range(3):
        assert (await caller.ask("mint.pay"))[0] == 200
    seen = await caller.reacted("cap_warned", 2)
    assert sorted(one["threshold_pct"] for one in seen) == [50, 80]
    assert len({one["id"] for one in seen}) == 2


async def test_a_deleted_customers_rows_go_from_the_tables_but_those_that_are_kept(
    shared: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    gone, stays = [await new_caller(shared, http, pool, 10**6) for _ in range(2)]
    for caller in (gone, stays):
        assert (await caller.ask("mint.do", row=f"deleted-{caller.id}"))[0] == 200
    done = await shared.command("customers", "delete", str(gone.id), "--yes")
    assert done.returncode == 0, done.stderr
    await gone.reacted("customer_deleted", 1)
    assert await shared.stop() == 0
    await shared.start()  # a gateway that starts goes on with deletions soon

    async def rows(table: str, caller: Caller) -> int:
        count: int = await pool.fetchval(f"select count(*) from kaixu_mint.{table} where customer_id = $1", caller.id)
        return count

    async with asyncio.timeout(30):
        while await rows("done", gone) or await rows("reacted", gone):
            await asyncio.sleep(0.05)
    assert await rows("payment", gone) == await rows("payment", stays) == await rows("done", stays) == 1
