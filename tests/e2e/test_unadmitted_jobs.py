"""Jobs without an admission: they watch and bill whatever has become of the key, the customer and the caps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.reports.reconcile import reconcile
from kaixu.store.pool import open_pool
from tests.support.money import customer, virtual_key
from tests.support.operators import admin_token
from tests.support.process import Process
from tests.vendors.stage import database, gateway

PLUGIN = """
import msgspec
from kaixu.plugin import Again, Free, Integration, Job, Operation, Operator, PerCall, hookimpl

class Order(msgspec.Struct):
    id: str
    job: str = "watch.watch"
    fails: bool = False

class Started(msgspec.Struct):
    job: str

async def begin(call):
    async with call.db() as db:
        await db.execute("insert into push (id) values ($1)", call.body.id)
        await db.hold("plan", key=call.body.id, for_s=3600)
        return Started(str(await db.enqueue(call.body.job, call.body, key=call.body.id)))

async def publish(call):
    async with call.db() as db:
        await db.execute("update push set is_live = true where id = $1", call.body.id)
        woken = [await db.wake(name, key=call.body.id, customer_id=call.body.customer_id) for name in NAMES]
        return Started(str(woken))

class Publish(msgspec.Struct):
    id: str
    customer_id: int

async def watch(call):
    async with call.db() as db:
        if not await db.fetchval("select is_live from push where id = $1", call.body.id):
            raise Again(3600)
        if call.body.fails:
            raise LookupError("on purpose")
        await db.charge("plan", key=call.body.id)
        await db.enqueue("watch.clean", call.body, key=call.body.id)
    return Started(f"{call.customer_id} {call.key_id}")

async def clean(call):
    async with call.db() as db:
        await db.execute("update push set is_clean = true where id = $1", call.body.id)
    return call.body

async def give_back(call):
    async with call.db() as db:
        await db.release("plan", key=call.body.id)
        await db.execute("update push set is_clean = true where id = $1", call.body.id)

NAMES = ("watch.watch", "watch.admitted")

@hookimpl
def register_integrations(register):
    free = Free("billed when it is live")
    register(Integration(
        "watch",
        [
            Operation("watch.begin", begin, Order, free, holds=["plan"]),
            Operation("watch.publish", publish, Publish, free, auth=Operator(customer="customer_id")),
        ],
        jobs=[
            Job("watch.watch", watch, Order, free, admission="none", on_failed=give_back, retry=ONCE),
            Job("watch.admitted", watch, Order, free, retry=ONCE),
            Job("watch.clean", clean, Order, free, admission="none"),
        ],
        charges=[PerCall("plan")], schema="tables",
    ))

from kaixu.plugin import Retry
ONCE = Retry(attempts=1)
"""
TABLES = "create table push (id text primary key, is_live bool not null default false, is_clean bool not null default false);"
CONFIG = "integrations: {watch: {plugin: ./watch, price: {plan: 1}}}\n"
PLAN = 10**9


class House:
    """Calls one gateway, and looks into its database."""

    def __init__(self, process: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> None:
        self.process = process
        self.http = http
        self.pool = pool

    async def ask(self, method: str, path: str, key: str | None = None, **body: Any) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {key or admin_token()}"}
        sent: Any = body if method == "POST" else None
        query = {} if method == "POST" else body
        async with self.http.request(
            method, self.process.url + path, json=sent, params=query, headers=headers
        ) as answer:
            return answer.status, await answer.json()

    async def until(self, sql: str, *args: Any) -> None:
        """Wait until a query finds something true."""
        async with asyncio.timeout(30):
            while not await self.pool.fetchval(sql, *args):
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    home = tmp_path_factory.mktemp("watch")
    (home / "watch" / "tables").mkdir(parents=True)
    (home / "watch" / "__init__.py").write_text(PLUGIN)
    (home / "watch" / "tables" / "0001_push.sql").write_text(TABLES)
    with database(server_dsn, pristine) as dsn, gateway(home, dsn, CONFIG) as process:
        yield process


@pytest.fixture
async def house(shared: Process, http: aiohttp.ClientSession) -> AsyncIterator[House]:
    pool = await open_pool(shared.environment["DATABASE_URL"])
    yield House(shared, http, pool)
    await pool.close()


PAUSED = "select status = 'queued' and pause = 'waiting' from kaixu.job where id::text = $1"


async def started(house: House, number: str, job: str = "watch.watch", **more: Any) -> tuple[int, int, str, str]:
    """A job that waits: its customer, the customer's key and that key's id."""
    customer_id = await customer(house.pool)
    key_id, key = await virtual_key(house.pool, customer_id, role="owner")
    status, reply = await house.ask("POST", "/v1/watch/begin", key, id=number, job=job, **more)
    assert status == 200, reply
    await house.until(PAUSED, reply["job"])
    return customer_id, key_id, key, reply["job"]


async def lose_everything(house: House, customer_id: int) -> None:
    """The key is revoked, the customer switched off, its cap is nothing."""
    await house.pool.execute("update kaixu.virtual_key set revoked_at = now() where customer_id = $1", customer_id)
    await house.pool.execute(
        "update kaixu.customer set is_active = false, monthly_cap_nusd = 0 where id = $1", customer_id
    )


async def publish(house: House, number: str, customer_id: int) -> None:
    """What was ordered is live: the job that waits for it looks again."""
    status, reply = await house.ask("POST", "/v1/watch/publish", id=number, customer_id=customer_id)
    assert status == 200, reply
    assert "True" in reply["job"]


async def test_it_bills_the_key_of_the_hold_after_key_customer_and_cap_are_gone(house: House) -> None:
    customer_id, key_id, _, job = await started(house, "one")
    await lose_everything(house, customer_id)
    await publish(house, "one", customer_id)
    await house.until("select is_clean from kaixu_watch.push where id = 'one'")
    row = await house.pool.fetchrow("select status, key_id from kaixu.job where id::text = $1", job)
    assert tuple(row or ()) == ("succeeded", None)
    event = await house.pool.fetchrow(
        "select key_id, cost_nusd from kaixu.usage_event where customer_id = $1 and model = 'plan'", customer_id
    )
    assert tuple(event or ()) == (key_id, PLAN)
    async with house.pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []


async def test_an_admitted_job_is_refused_there_and_bills_nothing(house: House) -> None:
    customer_id, _, _, job = await started(house, "two", "watch.admitted")
    await lose_everything(house, customer_id)
    await publish(house, "two", customer_id)
    await house.until("select status = 'failed' from kaixu.job where id::text = $1", job)
    state = "select state from kaixu.keyed_charge where customer_id = $1"
    assert await house.pool.fetchval(state, customer_id) == "held"


async def test_its_failure_is_handled_without_an_admission_too(house: House) -> None:
    customer_id, _, _, _ = await started(house, "three", fails=True)
    await lose_everything(house, customer_id)
    await publish(house, "three", customer_id)
    await house.until("select is_clean from kaixu_watch.push where id = 'three'")
    state = "select state from kaixu.keyed_charge where customer_id = $1"
    assert await house.pool.fetchval(state, customer_id) == "released"


async def test_its_customer_neither_sees_nor_cancels_it(house: House) -> None:
    customer_id, _, key, job = await started(house, "four")
    for method, path in (
        ("GET", "gateway-job-status"),
        ("GET", "gateway-job-result"),
        ("POST", "gateway-job-cancel"),
    ):
        status, reply = await house.ask(method, f"/api/{path}", key, id=job)
        assert (status, reply["code"]) == (404, "NOT_FOUND"), reply
    assert await house.pool.fetchval(PAUSED, job)
    assert not await house.pool.fetchval("select cancel_asked from kaixu.job where id::text = $1", job)
    # A job with an admission is the customer's own.
    _, _, other_key, own = await started(house, "five", "watch.admitted")
    status, reply = await house.ask("GET", "/api/gateway-job-status", other_key, id=own)
    assert (status, reply["job"]["status"]) == (200, "waiting")
    status, reply = await house.ask("POST", "/api/gateway-job-cancel", key, id=own)
    assert status == 404, reply
    status, reply = await house.ask("POST", "/api/gateway-job-cancel", other_key, id=own)
    assert (status, reply["job"]["status"]) == (200, "cancelled")
    assert customer_id


async def test_a_job_of_an_earlier_release_that_has_a_key_is_not_admitted_either(house: House) -> None:
    customer_id, key_id, _, job = await started(house, "six")
    await house.pool.execute("update kaixu.job set key_id = $2 where id::text = $1", job, key_id)
    await lose_everything(house, customer_id)
    await publish(house, "six", customer_id)
    await house.until("select is_clean from kaixu_watch.push where id = 'six'")
    assert await house.pool.fetchval("select status from kaixu.job where id::text = $1", job) == "succeeded"
