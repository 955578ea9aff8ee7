"""Credits, reactions and customers of an integration, on a gateway: each exactly once, whatever is repeated or killed."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.reports.reconcile import reconcile
from kaixu.store.pool import open_pool
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Process
from tests.support.size import size
from tests.vendors.stage import database, gateway

PLUGIN = """
import asyncio
import msgspec
from kaixu.plugin import (
    Crossing, Free, Integration, Job, Operation, Operator, PerCall, Reaction, Webhook, WebhookEvent, hookimpl,
)

class Payment(msgspec.Struct):
    id: str
    kind: str
    customer: int
    amount: int
    key: str

class Doing(msgspec.Struct):
    what: str = ""
    customer: int = 0
    amount: int = 1
    key: str = "k"
    month: str | None = None
    source: str | None = None
    text: str = ""

class Said(msgspec.Struct):
    text: str = ""

class Settings(msgspec.Struct):
    auto_topup_enabled: bool = False
    auto_topup_threshold_cents: int | None = None
    account: str | None = None

def verify(body, headers, options, now):
    event = msgspec.json.decode(body, type=Payment)
    return WebhookEvent(event.id, event.kind)

async def settle(call):
    event = msgspec.json.decode(call.body.body, type=Payment)
    async with call.db() as db:
        await db.execute("insert into payment (key, customer_id, amount) values ($1, $2, $3) on conflict do nothing",
                         event.key, event.customer, event.amount)
        await db.credit(event.customer, event.amount, key=event.key, reference=event.id)
        await asyncio.sleep(0.003)

async def thing(call):
    call.vendor_cost_nusd(4_000_000)
    return Said("done")

async def balance(call):
    async with call.db() as db:
        return Said(msgspec.json.encode(await db.balance()).decode())

async def do(call):
    body = call.body
    match body.what:
        case "credit":
            async with call.db() as db:
                await db.execute("insert into payment (key, customer_id, amount) values ($1, $2, $3)",
                                 f"row-{body.key}", body.customer, 0)
                await db.credit(body.customer, body.amount, key=body.key, month=body.month, source=body.source)
        case "forge":
            async with call.db() as db:
                return Said(str(await db.fetchval("select kaixu__plugin.credit(gen_random_uuid())")))
        case "write":
            async with call.db() as db:
                await db.execute("insert into kaixu.topup (idempotency_key, customer_id, month, amount_nusd)"
                                 " values ('mine', $1, '2026-11-01', 5)", body.customer)
        case "balance":
            async with call.db() as db:
                return Said(str((await db.balance(body.customer)).cap_nusd))
        case "find":
            found = await call.customers.get(body.customer) if body.customer else await call.customers.with_email(body.text)
            return Said("" if found is None else f"{found.id} {found.email} {found.plan_name} {found.monthly_cap_nusd}")
        case "create":
            return Said(str((await call.customers.create(body.text)).id))
        case "note":
            call.note("warn", "a payment was disputed", reference="dp_7")
        case "for":
            await call.enqueue("shop.later", Doing(text=body.text), customer_id=body.customer)
    return Said("done")

async def later(call):
    async with call.db() as db:
        await db.execute("insert into reacted (crossing, event, customer_id) values ($1, $2, $3)",
                         str(call.body.text), "later", call.customer_id)
    return Said()

async def noted(call):
    crossing = call.body
    assert isinstance(crossing, Crossing) and crossing.customer_id == call.customer_id
    if crossing.on == "customer_deleted":
        token = await call.secrets.get("token")
    async with call.db() as db:
        await db.execute(
            "insert into reacted (crossing, event, customer_id, balance, text) values ($1, $2, $3, $4, $5)"
            " on conflict do nothing", str(crossing.id), crossing.on, crossing.customer_id, crossing.balance_nusd,
            token if crossing.on == "customer_deleted" else None)
    if crossing.on == "balance_below" and crossing.balance_nusd < 0:
        assert await call.rearm(0.1)

async def keep_token(call):
    await call.secrets.put("token", call.body.text)
    return Said()

async def opened(options):
    global OPENED
    OPENED = True

def reaction(on, **more):
    return Reaction(on, noted, "a test", **more)

def offer(name):
    prefix = lambda what: f"{name}.{what}"
    return [
        Operation(prefix("do"), do, Doing, Free("a test")),
        Operation(prefix("operate"), do, Doing, Free("a test"), auth=Operator(customer="customer")),
    ]

@hookimpl
def register_integrations(register):
    from kaixu.plugin import Secret
    register(Integration(
        "shop",
        [*offer("shop"), Operation("shop.thing", thing, Said, PerCall("thing")),
         Operation("shop.balance", balance, Said, Free("reads")), Operation("shop.keep", keep_token, Said, Free("a test"))],
        jobs=[Job("shop.later", later, Doing, Free("a test"))],
        schema="tables", grants={"credit", "customers"}, customer=Settings, unique=["account"], open=opened,
        secrets=[Secret("token", title="A token")], keeps=["payment"],
        webhooks=[Webhook("events", verify, settle, types=("paid", "refunded"))],
        reactions=[
            reaction("balance_below", threshold="auto_topup_threshold_cents", enabled="auto_topup_enabled"),
            reaction("cap_warned"), reaction("cap_reached"), reaction("customer_created"), reaction("customer_deleted"),
        ],
    ))
    register(Integration("till", offer("till"), schema="tables", grants={"credit"}))
    register(Integration("poor", offer("poor"), schema="tables"))
"""
GREEDY = """
from kaixu.plugin import Integration, hookimpl

@hookimpl
def register_integrations(register):
    register(Integration("greedy", [], grants=["credit", "mail"]))
"""
TABLES = """
create table payment (key text primary key, customer_id bigint not null, amount bigint not null);
create table reacted (crossing text primary key, event text, customer_id bigint, balance bigint, text text);
"""
CONFIG = """
gateway: {jobs: {workers: 8, lease_s: 1.5}}
integrations:
  shop: {plugin: ./shop, price: {thing: 0.01}, grants: [credit, customers]}
  till: {plugin: ./shop, grants: [credit]}
  poor: {plugin: ./shop}
  greedy: {plugin: ./greedy.py, grants: [mail]}
"""
THING = 10**7


def written(folder: Path) -> None:
    (folder / "shop" / "tables").mkdir(parents=True, exist_ok=True)
    (folder / "shop" / "__init__.py").write_text(PLUGIN)
    (folder / "greedy.py").write_text(GREEDY)
    (folder / "shop" / "tables" / "0001_tables.sql").write_text(TABLES)


class Shop:
    """Calls one gateway, and looks into its database."""

    def __init__(self, process: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> None:
        self.process = process
        self.http = http
        self.pool = pool

    async def call(self, key: str, path: str, /, **body: Any) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {key}"}
        async with self.http.post(f"{self.process.url}/v1/{path}", json=body, headers=headers) as response:
            return response.status, await response.json()

    async def send(self, event: dict[str, Any]) -> int:
        async with self.http.post(f"{self.process.url}/v1/shop/webhooks/events", json=event) as response:
            return response.status

    async def reacted(self, customer_id: int, event: str, count: int = 1) -> list[Any]:
        """Wait for so many reactions of a customer."""
        async with asyncio.timeout(30):
            while True:
                rows = await self.pool.fetch(
                    "select * from kaixu_shop.reacted where customer_id = $1 and event = $2", customer_id, event
                )
                if len(rows) >= count:
                    return list(rows)
                await asyncio.sleep(0.05)

    async def settled(self) -> None:
        """Wait until all jobs have ended."""
        async with asyncio.timeout(60):
            while await self.pool.fetchval("select count(*) from kaixu.job where completed_at is null"):
                await asyncio.sleep(0.05)

    async def topups(self, customer_id: int) -> dict[str, int]:
        rows = await self.pool.fetch(
            "select idempotency_key, amount_nusd from kaixu.topup where customer_id = $1", customer_id
        )
        return {row["idempotency_key"].rpartition(":")[2]: row["amount_nusd"] for row in rows}


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    home = tmp_path_factory.mktemp("money-in")
    written(home)
    with database(server_dsn, pristine) as dsn, gateway(home, dsn, CONFIG) as process:
        yield process


@pytest.fixture
async def shop(shared: Process, http: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    pool = await open_pool(shared.environment["DATABASE_URL"])
    yield Shop(shared, http, pool)
    await pool.close()


async def key_of(shop: Shop, cap_nusd: int = 10**12) -> tuple[int, str]:
    customer_id = await customer(shop.pool, cap_nusd=cap_nusd)
    return customer_id, (await virtual_key(shop.pool, customer_id))[1]


async def test_an_integration_without_what_it_needs_is_off_and_says_so(shared: Process) -> None:
    plugins = json.loads((await shared.command("plugins", "--json")).stdout)
    text = json.dumps(plugins)
    assert "it needs `grants: [credit]` in its section of kaixu.yaml" in text


async def test_a_payment_is_credited_once_and_shown_everywhere(shop: Shop) -> None:
    customer_id, key = await key_of(shop, cap_nusd=0)
    assert (await shop.call(key, "shop/thing"))[1]["code"] == "CAP_REACHED"
    paid = {"kind": "paid", "customer": customer_id, "amount": 3 * THING, "key": f"pay-{customer_id}"}
    for at in range(3):  # a vendor tells of one payment in several events
        assert await shop.send(paid | {"id": f"e{customer_id}-{at}"}) == 200
    await shop.settled()
    assert await shop.topups(customer_id) == {f"pay-{customer_id}": 3 * THING}
    for _ in range(3):
        assert (await shop.call(key, "shop/thing"))[0] == 200
    assert (await shop.call(key, "shop/thing"))[1]["code"] == "CAP_REACHED"
    event = await shop.pool.fetchrow(
        "select vendor_cost_nusd, vendor_cost_known from kaixu.usage_event where customer_id = $1 limit 1", customer_id
    )
    assert tuple(event or ()) == (4_000_000, True)
    audit = await shop.pool.fetch(
        "select action, actor, meta from kaixu.audit_event where target = $1", f"customer:{customer_id}"
    )
    assert [(row["action"], row["actor"]) for row in audit] == [("TOPUP_SHOP", "integration:shop")]
    async with shop.pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []


async def test_who_has_a_cap_of_0_can_call_what_is_free_and_nothing_else(shop: Shop) -> None:
    _, key = await key_of(shop, cap_nusd=0)
    status, reply = await shop.call(key, "shop/balance")
    assert (status, json.loads(reply["text"])["available_nusd"]) == (200, 0)
    status, refused = await shop.call(key, "shop/thing")
    assert (status, refused["code"], refused["scope"]) == (402, "CAP_REACHED", "customer")


async def test_who_owes_credit_can_call_what_is_free_and_pay(shop: Shop) -> None:
    customer_id, key = await key_of(shop, cap_nusd=100 * THING)
    event = {"kind": "refunded", "customer": customer_id, "amount": -2 * THING, "key": f"taken-{customer_id}"}
    assert await shop.send(event | {"id": f"refund-{customer_id}"}) == 200
    await shop.settled()
    status, refused = await shop.call(key, "shop/thing")
    assert (status, refused["code"], refused["scope"]) == (402, "CAP_REACHED", "debt")
    assert "owes credit" in refused["error"]
    status, reply = await shop.call(key, "shop/balance")
    balance = json.loads(reply["text"])
    assert (status, balance["debt_nusd"], balance["available_nusd"], balance["unspent_nusd"]) == (200, 2 * THING, 0, 0)
    paid = {"kind": "paid", "customer": customer_id, "amount": 2 * THING, "key": f"paid-{customer_id}"}
    assert await shop.send(paid | {"id": f"paid-{customer_id}"}) == 200
    await shop.settled()
    assert (await shop.call(key, "shop/thing"))[0] == 200


@pytest.mark.parametrize(
    ("integration", "wrong"),
    [
        ("poor", {"what": "credit"}),
        ("poor", {"what": "find"}),
        ("poor", {"what": "balance", "customer": "other"}),
        ("poor", {"what": "for", "customer": "other"}),
        ("till", {"what": "credit", "customer": "other"}),
        ("till", {"what": "balance", "customer": "other"}),
        ("till", {"what": "create", "text": "new@example.com"}),
        ("shop", {"what": "credit", "amount": -(2**63)}),
        ("shop", {"what": "credit", "amount": 10**16 + 1}),
        ("shop", {"what": "credit", "amount": 0}),
        ("shop", {"what": "credit", "customer": 2**62}),
        ("shop", {"what": "credit", "customer": -1}),
        ("shop", {"what": "credit", "key": ""}),
        ("shop", {"what": "credit", "key": "x" * 201}),
        ("shop", {"what": "credit", "key": "a\u0000b"}),
        ("shop", {"what": "credit", "month": "2026-13"}),
        ("shop", {"what": "credit", "month": "2099-01"}),
        ("shop", {"what": "credit", "source": "manual"}),
        ("shop", {"what": "credit", "source": "rollover"}),
        ("shop", {"what": "credit", "source": "A b"}),
        ("shop", {"what": "forge"}),
        ("shop", {"what": "write"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(str(one)[:12] for one in value.values()),
)
async def test_what_is_not_granted_or_not_possible_credits_nothing(
    shop: Shop, integration: str, wrong: dict[str, Any]
) -> None:
    customer_id, key = await key_of(shop)
    other, _ = await key_of(shop)
    body = {"customer": customer_id, **wrong}
    if body["customer"] == "other":
        body["customer"] = other
    status, _ = await shop.call(key, f"{integration}/do", **body)
    assert status in (400, 404, 422, 502)
    assert await shop.topups(customer_id) == await shop.topups(other) == {}
    assert not await shop.pool.fetchval(
        "select count(*) from kaixu_shop.payment where customer_id in ($1, $2)", customer_id, other
    )


async def test_keys_of_one_integration_do_not_meet_those_of_another_or_of_operators(shop: Shop) -> None:
    customer_id, key = await key_of(shop)
    for integration in ("shop", "till"):
        assert (
            await shop.call(key, f"{integration}/do", what="credit", customer=customer_id, key=f"mine-{customer_id}")
        )[0] == 200
    rows = await shop.pool.fetch("select integration from kaixu.topup where customer_id = $1 order by 1", customer_id)
    assert [row["integration"] for row in rows] == ["shop", "till"]
    status, refused = await shop.call(
        key, "till/do", what="credit", customer=customer_id, key=f"mine-{customer_id}", amount=2
    )
    assert status in (409, 502), refused
    assert sum((await shop.topups(customer_id)).values()) == 1  # the sources have the same last part of their keys


async def test_a_month_that_is_over_credits_the_present_one_and_names_the_other(shop: Shop) -> None:
    customer_id, key = await key_of(shop)
    assert (
        await shop.call(key, "shop/do", what="credit", customer=customer_id, key=f"late-{customer_id}", month="2026-01")
    )[0] == 200
    row = await shop.pool.fetchrow(
        "select month = date_trunc('month', now() at time zone 'UTC')::date, named_month::text from kaixu.topup where customer_id = $1",
        customer_id,
    )
    assert tuple(row or ()) == (True, "2026-01-01")


async def test_granted_customers_are_found_and_created(shop: Shop) -> None:
    customer_id, key = await key_of(shop)
    email = f"made-{customer_id}@example.com"
    status, made = await shop.call(key, "shop/do", what="create", text=email)
    assert status == 200, made
    assert (await shop.call(key, "shop/do", what="find", text=email.upper()))[1]["text"].startswith(
        f"{made['text']} {email} "
    )
    assert (await shop.call(key, "shop/do", what="find", customer=10**9))[1]["text"] == ""
    assert (await shop.call(key, "shop/do", what="create", text=email))[0] == 409
    assert (await shop.call(key, "shop/do", what="create", text="no address"))[0] == 422
    await shop.reacted(int(made["text"]), "customer_created")
    row = await shop.pool.fetchrow(
        "select actor from kaixu.audit_event where action = 'CUSTOMER_CREATE' and target = $1",
        f"customer:{made['text']}",
    )
    assert row is not None
    assert row["actor"] == "integration:shop"


async def test_a_job_can_be_for_another_customer_and_is_not_shown_to_it(shop: Shop) -> None:
    _, key = await key_of(shop)
    other, other_key = await key_of(shop)
    assert (await shop.call(key, "shop/do", what="for", customer=other, text=f"for-{other}"))[0] == 200
    await shop.reacted(other, "later")
    job_id = await shop.pool.fetchval("select id from kaixu.job where customer_id = $1 and kind = 'shop.later'", other)
    headers = {"authorization": f"Bearer {other_key}"}
    async with shop.http.get(f"{shop.process.url}/api/gateway-job-status?id={job_id}", headers=headers) as response:
        assert response.status == 404
    assert (await shop.call(key, "shop/do", what="for", customer=10**9))[0] == 404


async def test_a_note_is_in_the_monitor(shop: Shop) -> None:
    customer_id, key = await key_of(shop)
    assert (await shop.call(key, "shop/do", what="note"))[0] == 200
    async with asyncio.timeout(10):
        while not (
            rows := await shop.pool.fetch(
                "select kind, level, provider, error_message, extra from kaixu.gateway_event where customer_id = $1",
                customer_id,
            )
        ):
            await asyncio.sleep(0.05)
    assert [(row["level"], row["provider"], row["error_message"]) for row in rows] == [
        ("warn", "shop", "a payment was disputed")
    ]
    assert rows[0]["extra"]["reference"] == "dp_7"


async def watch(shop: Shop, customer_id: int, cents: int) -> None:
    """Set a customer's threshold, as an operator does."""
    await shop.pool.fetch(
        "select * from kaixu.set_integration_settings($1, 'shop', $2, '{}', '{}')",
        customer_id,
        {"auto_topup_enabled": True, "auto_topup_threshold_cents": cents},
    )


async def test_a_balance_reacts_once_each_time_it_falls_below_its_threshold(shop: Shop) -> None:
    customer_id, key = await key_of(shop, cap_nusd=60 * THING)
    await watch(shop, customer_id, 40)
    replies = await asyncio.gather(*(shop.call(key, "shop/thing") for _ in range(40)))
    assert {status for status, _ in replies} == {200}
    rows = await shop.reacted(customer_id, "balance_below")
    await shop.settled()
    assert len(await shop.reacted(customer_id, "balance_below")) == 1
    assert rows[0]["balance"] < 40 * THING
    paid = {
        "kind": "paid",
        "customer": customer_id,
        "amount": 30 * THING,
        "key": f"up-{customer_id}",
        "id": f"up-{customer_id}",
    }
    assert await shop.send(paid) == 200
    await shop.settled()  # 50 are left: armed again
    await asyncio.gather(*(shop.call(key, "shop/thing") for _ in range(20)))
    await shop.reacted(customer_id, "balance_below", 2)
    await shop.settled()
    assert len(await shop.reacted(customer_id, "balance_below")) == 2
    # A threshold that is set while the balance is below it reacts at once.
    await watch(shop, customer_id, 39)
    await shop.reacted(customer_id, "balance_below", 3)


async def test_a_reaction_can_ask_to_be_run_again(shop: Shop) -> None:
    customer_id, _ = await key_of(shop, cap_nusd=0)
    await shop.pool.fetch(
        "select * from kaixu.top_up($1, $2, date_trunc('month', now())::date, 1, 'manual')",
        f"x{customer_id}",
        customer_id,
    )
    event = {
        "kind": "refunded",
        "customer": customer_id,
        "amount": -5,
        "key": f"gone-{customer_id}",
        "id": f"gone-{customer_id}",
    }
    await watch(shop, customer_id, 0)
    assert await shop.send(event) == 200
    await shop.reacted(customer_id, "balance_below", 3)  # each one asks for the next, a tenth of a second later


async def test_caps_and_customers_react(shop: Shop) -> None:
    customer_id, key = await key_of(shop, cap_nusd=10 * THING)
    for _ in range(10):
        assert (await shop.call(key, "shop/thing"))[0] == 200
    await asyncio.gather(*(shop.call(key, "shop/thing") for _ in range(5)))
    await shop.reacted(customer_id, "cap_reached")
    await shop.settled()
    assert len(await shop.reacted(customer_id, "cap_reached")) == 1
    assert (await shop.call(key, "shop/keep", text="a token of theirs"))[0] in (200, 402)


async def test_a_deleted_customer_leaves_no_rows_but_those_that_are_kept(shop: Shop) -> None:
    customer_id, key = await key_of(shop)
    assert (await shop.call(key, "shop/keep", text="their token at the vendor"))[0] == 200
    paid = {
        "kind": "paid",
        "customer": customer_id,
        "amount": 5,
        "key": f"kept-{customer_id}",
        "id": f"kept-{customer_id}",
    }
    assert await shop.send(paid) == 200
    await shop.settled()
    done = await shop.process.command("customers", "delete", str(customer_id), "--yes")
    assert done.returncode == 0, done.stderr
    rows = await shop.reacted(customer_id, "customer_deleted")
    assert rows[0]["text"] == "their token at the vendor"  # what is stored is still there when it reacts
    await shop.settled()
    assert await shop.pool.fetchval("select count(*) from kaixu_shop.payment where customer_id = $1", customer_id) == 1


async def test_whatever_is_repeated_reordered_or_killed_each_payment_is_credited_once(
    tmp_path: Path, dsn: str, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    """Seeded: payments and refunds, each told of by several events, sixteen at a time, while the gateway is killed."""
    choice = random.Random(20_261_130)
    written(tmp_path / "gateway")
    process = Process(tmp_path / "gateway", dsn, CONFIG)
    await process.start()
    shop = Shop(process, http, pool)
    customers = [await customer(pool, cap_nusd=10**12) for _ in range(5)]
    count = size(60, 600)
    expected: dict[int, dict[str, int]] = {one: {} for one in customers}
    events = []
    for at in range(count):
        who, amount = choice.choice(customers), choice.randint(1, 10**9)
        facts = [("paid", f"pay{at}", amount)] + ([("refunded", f"back{at}", -amount // 2)] if at % 3 == 0 else [])
        for kind, key, nusd in facts:
            expected[who][key] = nusd
            told = [{"id": f"{key}-{n}", "kind": kind, "customer": who, "amount": nusd, "key": key} for n in range(2)]
            events += [*told, choice.choice(told)]
    choice.shuffle(events)
    kills = {len(events) // 3, 2 * len(events) // 3}
    places = asyncio.Semaphore(16)

    async def deliver(event: dict[str, Any]) -> None:
        async with places, asyncio.timeout(120):
            while True:
                try:
                    if await shop.send(event) == 200:
                        return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)

    sending = []
    for at, event in enumerate(events):
        if at in kills:
            await asyncio.sleep(0.1)
            process.kill()
            await process.start()
        sending.append(asyncio.ensure_future(deliver(event)))
    await asyncio.gather(*sending)
    await shop.settled()
    for who, credits in expected.items():
        assert await shop.topups(who) == credits
        extra = await pool.fetchval(
            "select sum(extra_nusd)::bigint from kaixu.customer_month where customer_id = $1", who
        )
        assert (extra or 0) == sum(credits.values())
    paid = await pool.fetch("select key, amount from kaixu_shop.payment")
    assert {row["key"]: row["amount"] for row in paid} == {
        key: nusd for one in expected.values() for key, nusd in one.items()
    }
    assert (
        await pool.fetchval("select count(*) from kaixu.plugin_credit where made_at < now() - interval '6 minutes'")
        == 0
    )
    await assert_books_balance(pool)
    assert await process.stop() == 0
