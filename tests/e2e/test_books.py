"""Books and charges by key of an integration, through a gateway: caps, bills, reports, and what a plugin cannot do."""

from __future__ import annotations

import asyncio
import json
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
import asyncio
from typing import Any
import msgspec
from kaixu.plugin import (
    Again, Book, Failure, Free, HoldRefused, Integration, Job, Monthly, Operation, Operator, Options, PerCall, PerUnit,
    hookimpl,
)

class ShipOptions(Options):
    cap: float = 100.0

class ShipCustomer(msgspec.Struct):
    cap: float | None = None
    pricing: str = ""

class Ask(msgspec.Struct):
    key: str = "k"
    charge: str = "deploy"
    units: int = 1
    sql: str = ""
    customer_id: int = 0
    text: str = ""

class Reply(msgspec.Struct):
    said: Any = None

async def hold(call):
    async with call.db() as db:
        await db.execute("insert into shipped (key) values ($1) on conflict do nothing", call.body.key)
        await db.hold(call.body.charge, key=call.body.key, units=call.body.units, for_s=3600)
    return Reply("held")

async def bill(call):
    async with call.db() as db:
        await db.charge(call.body.charge, key=call.body.key, units=call.body.units)
    return Reply("billed")

async def release(call):
    async with call.db() as db:
        await db.release(call.body.charge, key=call.body.key)
    return Reply("released")

async def month(call):
    return Reply(await call.book("ships"))

async def caught(call):
    try:
        return await hold(call)
    except HoldRefused as error:
        return Reply(error.needs_nusd)

async def statement(call):
    async with call.db() as db:
        return Reply(await db.fetch(call.body.sql))

left = []

async def leave_open(call):
    async def later(db):
        async with db as opened:
            await opened.charge("deploy", key="after the end")
            left[0].set()
            await left[1].wait()
    left[:] = [asyncio.Event(), asyncio.Event(), None]
    left[2] = asyncio.ensure_future(later(call.db()))
    await left[0].wait()
    left.append(call)
    return Reply("left")

async def come_back(call):
    left[1].set()
    said = [type(one).__name__ for one in await asyncio.gather(left[2], return_exceptions=True)]
    try:
        left[3].db()
    except Exception as error:
        said.append(type(error).__name__)
    try:
        await left[3].book("ships")
    except Exception as error:
        said.append(type(error).__name__)
    return Reply(said)

async def undeclared(call):
    async with call.db() as db:
        await db.hold(call.body.charge, key="k", for_s=10)
    return Reply()

async def submit(call):
    async with call.db() as db:
        return Reply(str(await db.enqueue("ship.work", call.body)))

async def work(call):
    async with call.db() as db:
        await db.hold("deploy", key=call.body.key, for_s=3600)
    async with call.db() as db:
        await db.charge("deploy", key=call.body.key)
    return Reply("done")

async def count(call):
    call.count("letter", len(call.body.text))
    if call.body.text.startswith("too many"):
        call.count("letter", 1)
    return Reply(len(call.body.text))

async def failing(call):
    call.count("letter", 3)
    raise Failure(409, "NOT_NOW", "not now")

def full(facts):
    spent, asked = facts.month.spent_nusd, facts.asked_nusd
    fields = {"spent": spent, "asked": asked, "charge": facts.charge, "left": facts.left_nusd}
    return Failure(402, "SHIP_CAP", f"{facts.month.book} is full", fields=fields)

@hookimpl
def register_integrations(register):
    free = Free("a test")
    letters = PerUnit("letter", unit="letter", most=lambda body: len(body.text) or 1, book="ships")
    register(Integration(
        "ship", options=ShipOptions, customer=ShipCustomer, schema="tables",
        books=[Book("ships", title="Ships", cap="cap", version="pricing", refused=full), Book("letters")],
        charges=[
            PerCall("deploy", book="ships"), PerUnit("gib", unit="bytes", per=1000, book="ships"), PerCall("page"),
        ],
        operations=[
            Operation("ship.hold", hold, Ask, free, holds=["deploy", "gib", "page"]),
            Operation("ship.caught", caught, Ask, free, holds=["deploy"]),
            Operation("ship.bill", bill, Ask, free),
            Operation("ship.release", release, Ask, free),
            Operation("ship.month", month, Ask, free),
            Operation("ship.statement", statement, Ask, free),
            Operation("ship.leave", leave_open, Ask, free),
            Operation("ship.back", come_back, Ask, free),
            Operation("ship.undeclared", undeclared, Ask, free),
            Operation("ship.submit", submit, Ask, free),
            Operation("ship.count", count, Ask, letters, on_failure="release"),
            Operation("ship.failing", failing, Ask, letters, on_failure="charge_counted"),
            Operation("ship.admin", bill, Ask, free, auth=Operator()),
        ],
        jobs=[Job("ship.work", work, Ask, free, holds=["deploy"])],
    ))
    register(Integration(
        "rival", schema="tables",
        charges=[PerCall("deploy")],
        operations=[
            Operation("rival.statement", statement, Ask, free), Operation("rival.release", release, Ask, free),
            Operation("rival.bill", bill, Ask, free),
        ],
    ))
"""
CONFIG = """
gateway: {jobs: {workers: 2, lease_s: 1.5}}
integrations:
  ship:
    plugin: ./ship
    cap: 0.000002
    price: {deploy: 0.0000005, gib: 0.000001, page: 0.00000007, letter: 0.00000001}
    price_versions: {friends: {deploy: 0.0000001, gib: 0, page: 0}}
  rival: {plugin: ./ship, price: {deploy: 0.0000001}}
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

    async def figures(self) -> tuple[int, int]:
        """What is spent and held in the book."""
        status, month = await self.ask("ship.month")
        assert status == 200, month
        return month["spent_nusd"], month["held_nusd"]


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    home = tmp_path_factory.mktemp("ship")
    (home / "ship" / "tables").mkdir(parents=True)
    (home / "ship" / "__init__.py").write_text(PLUGIN)
    (home / "ship" / "tables" / "0001_shipped.sql").write_text("create table shipped (key text primary key);")
    with database(server_dsn, pristine) as dsn, gateway(home, dsn, CONFIG) as process:
        yield process


@pytest.fixture
async def pool(shared: Process) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(shared.environment["DATABASE_URL"])
    yield pool
    await pool.close()


async def new_caller(shared: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool, **fields: Any) -> Caller:
    owner = await customer(pool, cap_nusd=1000, **fields)
    return Caller(http, shared.url, pool, owner, (await virtual_key(pool, owner))[1])


@pytest.fixture
async def caller(shared: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> Caller:
    return await new_caller(shared, http, pool)


async def test_held_with_the_plugins_rows_and_billed_once(caller: Caller) -> None:
    assert await caller.ask("ship.hold", key="a1") == (200, "held")
    assert await caller.figures() == (0, 500)
    for _ in range(2):
        assert await caller.ask("ship.bill", key="a1") == (200, "billed")
    assert await caller.figures() == (500, 0)
    assert await caller.ask("ship.hold", key="a2", charge="gib", units=1500) == (200, "held")
    assert await caller.ask("ship.release", key="a2", charge="gib") == (200, "released")
    status, month = await caller.ask("ship.month")
    assert (status, month["pricing_version"], month["cap_nusd"], month["held_nusd"]) == (200, "default", 2000, 0)
    assert [(line["charge"], line["count"], line["nusd"]) for line in month["lines"]] == [("deploy", 1, 500)]
    await assert_books_balance(caller.pool, reservations=None)
    assert await differences_of(caller.pool) == []


async def differences_of(pool: asyncpg.Pool) -> list[Any]:
    async with pool.acquire() as connection:
        return await differences(connection, None)


async def test_a_refused_hold_has_the_books_error_and_leaves_nothing(caller: Caller) -> None:
    for at in range(4):
        assert (await caller.ask("ship.hold", key=f"b{at}"))[0] == 200
    status, reply = await caller.ask("ship.hold", key="b5")
    assert (status, reply["code"], reply["error"]) == (402, "SHIP_CAP", "ships is full")
    assert (reply["spent"], reply["asked"], reply["charge"], reply["left"]) == (0, 500, "deploy", 0)
    assert not await caller.pool.fetchval("select count(*) from kaixu_ship.shipped where key = 'b5'")
    assert await caller.ask("ship.caught", key="b6") == (200, 500)
    status, reply = await caller.ask("ship.hold", key="b7", charge="page", units=1)
    assert (status, reply) == (200, "held"), "another book has another cap"


async def test_the_customers_setting_is_the_cap_and_names_the_price_list(caller: Caller) -> None:
    await caller.pool.execute(
        "insert into kaixu.integration_setting values ($1, 'ship', $2)",
        caller.id,
        {"cap": 0.0000001, "pricing": "friends"},
    )
    assert (await caller.ask("ship.hold", key="c1"))[0] == 200
    _, month = await caller.ask("ship.month")
    assert (month["pricing_version"], month["cap_nusd"], month["held_nusd"]) == ("friends", 100, 100)
    assert (await caller.ask("ship.hold", key="c2"))[0] == 402


async def test_a_metered_operation_reserves_what_its_input_says(caller: Caller) -> None:
    assert await caller.ask("ship.count", text="hello") == (200, 5)
    assert await caller.figures() == (50, 0)
    status, reply = await caller.ask("ship.count", text="too many letters")
    assert (status, reply["code"]) == (413, "TOO_LARGE")
    status, reply = await caller.ask("ship.count", text="x" * 300)
    assert (status, reply["code"]) == (402, "CAP_REACHED")
    assert "book" in reply["error"]
    assert await caller.figures() == (50, 0)
    own, other = await caller.pool.fetchrow(
        "select sum(spent_nusd) filter (where has_own_cap), coalesce(sum(spent_nusd) filter (where not has_own_cap), 0)"
        " from kaixu.customer_month where customer_id = $1",
        caller.id,
    )  # type: ignore[misc]
    assert (own, other) == (50, 0)


async def test_a_job_without_room_waits_and_runs_when_there_is(caller: Caller) -> None:
    for at in range(4):
        await caller.ask("ship.hold", key=f"d{at}")
    _, job_id = await caller.ask("ship.submit", key="d9")
    await until(caller.pool, "select pause = 'blocked' from kaixu.job where id = $1::text::uuid", job_id)
    await caller.ask("ship.release", key="d0")  # the job is woken by it: alone it would wait for five minutes
    await until(caller.pool, "select status = 'succeeded' from kaixu.job where id = $1::text::uuid", job_id)
    assert await caller.figures() == (500, 1500)


async def until(pool: asyncpg.Pool, sql: str, *args: Any) -> None:
    async with asyncio.timeout(30):
        while not await pool.fetchval(sql, *args):
            await asyncio.sleep(0.05)


async def test_reports_show_the_book_beside_the_customers_cap(caller: Caller, shared: Process) -> None:
    await caller.ask("ship.bill", key="e1")
    await caller.ask("ship.hold", key="e2")
    async with caller.http.get(f"{caller.url}/api/user-summary", headers=caller.headers) as response:
        month = (await response.json())["month"]
    assert (month["customer_spent_usd"], month["available_usd"]) == ("0.00", "0.000001")
    shown = json.loads((await shared.command("usage", "show", str(caller.id), "--json")).stdout)
    book = next(row for row in shown["books"] if row["book"] == "ships")
    assert (book["cap_usd"], book["spent_usd"], book["held_usd"]) == ("0.000002", "0.0000005", "0.0000005")
    reconciled = await shared.command("reconcile")
    assert reconciled.returncode == 0, reconciled.stdout
    plugins = json.loads((await shared.command("plugins", "--json")).stdout)
    prices = {offer["name"]: offer["price"] for plugin in plugins for offer in plugin["offers"]}
    assert "holds `deploy`: 0.0000005 USD a call, from the book `ships`" in prices["ship.caught"]


# What a hostile plugin tries.


async def test_one_customer_cannot_touch_what_is_held_for_another(
    caller: Caller, shared: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    other = await new_caller(shared, http, pool)
    await caller.ask("ship.hold", key="f1")
    await other.ask("ship.release", key="f1")
    assert (await caller.figures(), await other.figures()) == ((0, 500), (0, 0))
    await other.ask("ship.bill", key="f1")
    assert (await caller.figures(), await other.figures()) == ((0, 500), (500, 0))


async def test_another_integration_cannot_touch_it(caller: Caller) -> None:
    await caller.ask("ship.hold", key="g1")
    await caller.ask("rival.release", key="g1")
    await caller.ask("rival.bill", key="g1")
    assert await caller.figures() == (0, 500)
    assert (
        await caller.pool.fetchval(
            "select sum(cost_nusd) from kaixu.usage_event where customer_id = $1 and provider = 'rival'", caller.id
        )
        == 100
    )


@pytest.mark.parametrize(
    "sql",
    [
        "select * from kaixu__plugin.apply_charges('00000000-0000-0000-0000-000000000000')",
        "select * from kaixu.apply_charges('ship', 1, 1, null, null, null, 'r', '[]')",
        "select kaixu.free_charge(ticket, 'released') from kaixu.keyed_charge",
        "insert into kaixu.charge_note (id, integration, customer_id, request_id, effects)"
        " values (gen_random_uuid(), 'ship', 1, 'r', '[]')",
        "select id from kaixu.charge_note",
        "update kaixu.keyed_charge set held_nusd = 0",
    ],
)
async def test_statements_of_a_plugin_reach_no_charge(caller: Caller, sql: str) -> None:
    await caller.ask("ship.hold", key="h1")
    status, reply = await caller.ask("ship.statement", sql=sql)
    assert (status, reply["code"]) == (502, "INTEGRATION_FAILED")
    assert await caller.figures() == (0, 500)


async def test_a_note_works_once_for_its_own_integration_and_for_a_minute(caller: Caller) -> None:
    effects = [{"place": 0, "kind": "charge", "charge": "deploy", "key": "stolen", "units": 1, "at": None}]

    async def note(minutes: int = 0, integration: str = "ship") -> str:
        made: str = await caller.pool.fetchval(
            "insert into kaixu.charge_note (id, integration, customer_id, key_id, request_id, effects, made_at)"
            " select gen_random_uuid(), $1, c.id, k.id, 'r', $2, now() - make_interval(mins => $3)"
            " from kaixu.customer c join kaixu.virtual_key k on k.customer_id = c.id where c.id = $4 returning id::text",
            integration,
            effects,
            minutes,
            caller.id,
        )
        return f"select * from kaixu__plugin.apply_charges('{made}')"

    assert (await caller.ask("rival.statement", sql=await note()))[0] == 502
    assert (await caller.ask("ship.statement", sql=await note(2)))[0] == 502
    once = await note()
    assert (await caller.ask("ship.statement", sql=once))[0] == 200
    assert (await caller.ask("ship.statement", sql=once))[0] == 502
    assert await caller.figures() == (500, 0)


async def test_nothing_is_charged_after_the_calls_end(caller: Caller) -> None:
    assert await caller.ask("ship.leave") == (200, "left")
    assert await caller.ask("ship.back") == (200, ["TicketClosed", "TicketClosed", "TicketClosed"])
    assert await caller.figures() == (0, 0)
    assert not await caller.pool.fetchval("select count(*) from kaixu.charge_note where customer_id = $1", caller.id)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("ship.undeclared", {"charge": "deploy"}),
        ("ship.hold", {"charge": "nothing"}),
        ("ship.hold", {"key": ""}),
        ("ship.hold", {"key": "x" * 201}),
        ("ship.hold", {"charge": "deploy", "units": 2}),
        ("ship.hold", {"charge": "gib", "units": -1}),
        ("ship.hold", {"charge": "gib", "units": 10**12 + 1}),
    ],
)
async def test_what_cannot_be_held_is_the_plugins_error(caller: Caller, operation: str, body: dict[str, Any]) -> None:
    status, reply = await caller.ask(operation, **body)
    assert (status, reply["code"]) == (502, "INTEGRATION_FAILED")


async def test_an_operator_bills_by_the_key_of_the_hold_only(caller: Caller, shared: Process) -> None:
    login = {"password": shared.environment["ADMIN_PASSWORD"]}
    async with caller.http.post(f"{caller.url}/api/admin-login", json=login) as response:
        token = (await response.json())["token"]

    async def bill(key: str) -> int:
        body = {"customer_id": caller.id, "key": key}
        headers = {"authorization": f"Bearer {token}"}
        async with caller.http.post(f"{caller.url}/v1/ship/admin", json=body, headers=headers) as response:
            return response.status

    await caller.ask("ship.hold", key="i1")
    assert (await bill("i1"), await bill("i2")) == (200, 502)
    assert await caller.figures() == (500, 0)
