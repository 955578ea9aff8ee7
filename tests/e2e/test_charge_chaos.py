"""Charges that outlive their ticket, while everything dies: each is billed once or released once, and no cap is passed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import aiohttp
import asyncpg

from kaixu.reports.reconcile import differences
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.pool import open_pool
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Process
from tests.support.size import size

from .test_crashes import kill_postgres, own_postgres

__all__ = ["own_postgres"]

SEED = 20_261_129
DEPLOY = 500
BASE = 1000

#: The last character of a key says what becomes of it. A forgotten one is not ended by anybody: its hold expires.
PLUGIN = """
import asyncio
import msgspec
from kaixu.plugin import Book, Free, Integration, Job, Monthly, Operation, PerCall, Retry, hookimpl

class ShipCustomer(msgspec.Struct):
    cap: float | None = None

class Ship(msgspec.Struct):
    key: str

class Reply(msgspec.Struct):
    known: bool = False

async def start(call):
    key = call.body.key
    async with call.db() as db:
        tag = await db.execute("insert into ship (key) values ($1) on conflict do nothing", key)
        if tag != "INSERT 0 1":
            return Reply(known=True)
        await asyncio.sleep(0.002)
        await db.hold("deploy", key=key, for_s=2 if key.endswith("f") else 3600)
        await db.enqueue("ship.end", call.body, key=key)
    return Reply()

async def end(call):
    await asyncio.sleep(0.05)
    key = call.body.key
    async with call.db() as db:
        await db.execute("update ship set ended = ended + 1 where key = $1", key)
        if key.endswith("b"):
            await db.charge("deploy", key=key)
        if key.endswith("r"):
            await db.release("deploy", key=key)
    return Reply()

async def failed(call):
    await end(call)

@hookimpl
def register_integrations(register):
    free = Free("a test")
    register(Integration(
        "ship", [Operation("ship.start", start, Ship, free, holds=["deploy"])], customer=ShipCustomer, schema="tables",
        books=[Book("ships", cap="cap")], charges=[PerCall("deploy", book="ships"), Monthly("base", book="ships")],
        jobs=[Job("ship.end", end, Ship, free, on_failed=failed, retry=Retry(attempts=50, first_wait_s=0.1, most_wait_s=1))],
    ))
"""
CONFIG = """
gateway: {reservation_s: 3, jobs: {workers: 4, lease_s: 1.5, most_waiting: 1000}}
integrations:
  ship: {plugin: ./ship, price: {deploy: 0.0000005, base: 0.000001}}
"""

CUSTOMERS = 5


async def test_each_charge_is_billed_once_or_released_once_whatever_dies(
    own_postgres: tuple[EmbeddedPostgres, str], tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Seeded: charges of five customers on two gateways; gateways and Postgres are killed, keys revoked, caps lowered."""
    embedded, dsn = own_postgres
    choice = random.Random(SEED)
    count, kills = size(75, 500), size(4, 16)
    gateways = [Process(prepared(tmp_path / f"gateway{at}"), dsn, CONFIG) for at in range(2)]
    await gateways[0].start()
    await gateways[1].start()
    pool = await open_pool(dsn)
    proof = Proof(pool)
    try:
        share = count // CUSTOMERS
        for at in range(CUSTOMERS):
            owner = await customer(pool)
            keys = [await virtual_key(pool, owner) for _ in range(2)]
            # Two of five have no room for all.
            await proof.admit(owner, DEPLOY * (share if at < 3 else share // 2) + BASE, [key for _, key in keys])
        names = [f"{at}{choice.choice('bbbbbrrf')}" for at in range(count)]
        places = asyncio.Semaphore(12)

        async def ship(at: int) -> None:
            owner = proof.owners[at % CUSTOMERS]
            async with places, asyncio.timeout(120):
                while True:  # a client tries again what was not answered
                    gateway, key = choice.choice(gateways), choice.choice(proof.keys[owner])
                    try:
                        async with http.post(
                            f"{gateway.url}/v1/ship/start",
                            json={"key": names[at]},
                            headers={"authorization": f"Bearer {key}"},
                        ) as response:
                            if response.status in (200, 402):
                                proof.answers[names[at]] = response.status
                                return
                            assert response.status in (401, 500, 502, 503, 504), await response.text()
                    except (aiohttp.ClientError, ConnectionError):
                        pass
                    await asyncio.sleep(0.05)

        watching = asyncio.ensure_future(proof.watch())
        shipping = []
        every = count // (kills + 1)
        for at in range(count):
            shipping.append(asyncio.ensure_future(ship(at)))
            if at % every == every - 1 and at // every < kills:
                await asyncio.sleep(choice.uniform(0.1, 0.6))
                await one_death(choice, at // every, embedded, gateways, pool)
                await proof.change(choice, at // every)
        await asyncio.gather(*shipping)
        await ended(pool)
        watching.cancel()
        await proof.check()
    finally:
        for gateway in gateways:
            gateway.kill()
        pool.terminate()


def prepared(folder: Path) -> Path:
    """A gateway's folder with the plugin."""
    (folder / "ship" / "tables").mkdir(parents=True)
    (folder / "ship" / "__init__.py").write_text(PLUGIN)
    (folder / "ship" / "tables" / "0001_ship.sql").write_text(
        "create table ship (key text primary key, ended integer not null default 0);"
    )
    return folder


async def one_death(
    choice: random.Random, turn: int, embedded: EmbeddedPostgres, gateways: list[Process], pool: asyncpg.Pool
) -> None:
    """Kill Postgres each fourth time, else a gateway; and start it again."""
    if turn % 4 == 2:
        kill_postgres(embedded)
        await asyncio.sleep(choice.uniform(0.1, 0.5))
        await asyncio.to_thread(embedded.revive)
        await pool.expire_connections()
        return
    victim = choice.choice(gateways)
    victim.kill()
    await asyncio.sleep(choice.uniform(0.0, 0.3))
    await victim.start()


async def ended(pool: asyncpg.Pool) -> None:
    """Wait until every job, every handler of a failed one and every hold has ended."""
    async with asyncio.timeout(120):
        while True:
            try:
                if not await pool.fetchval(
                    "select (select count(*) from kaixu.job where completed_at is null or failure_due_at is not null)"
                    " + (select count(*) from kaixu.keyed_charge where state = 'held')"
                    " + (select count(*) from kaixu.reservation)"
                ):
                    return
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                pass
            await asyncio.sleep(0.1)


class Proof:
    """What must be true at any moment, and at the end."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.owners: list[int] = []
        self.keys: dict[int, list[str]] = {}
        self.most: dict[int, int] = {}  # what may be spent and held from now on
        self.answers: dict[str, int] = {}
        self.passed: list[str] = []
        self.looks = 0

    async def admit(self, owner: int, cap_nusd: int, keys: list[str]) -> None:
        """A customer with a cap of the book."""
        self.owners.append(owner)
        self.keys[owner] = keys
        await self.set_cap(owner, cap_nusd)

    async def set_cap(self, owner: int, cap_nusd: int) -> None:
        """Change a cap: what is held and spent already may stay."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.fetch(
                "select refused from kaixu.set_integration_settings(p_customer_id => $1, p_integration => 'ship',"
                " p_changes => $2, p_reset => '{}', p_unique => '{}')",
                owner,
                {"cap": cap_nusd / 1e9},
            )
            used = await connection.fetchval(USED, owner)
        self.most[owner] = max(cap_nusd, used or 0)

    async def change(self, choice: random.Random, turn: int) -> None:
        """Revoke a key, or lower a cap to half."""
        owner = self.owners[turn % len(self.owners)]
        async with asyncio.timeout(30):
            while True:
                try:
                    if turn % 2:
                        await self.set_cap(owner, self.most[owner] // 2)
                    elif len(self.keys[owner]) > 1:
                        key = self.keys[owner].pop(choice.randrange(2))
                        await self.pool.execute(
                            "update kaixu.virtual_key set revoked_at = now() where customer_id = $1 and key_last4 = $2",
                            owner,
                            key[-4:],
                        )
                    return
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await asyncio.sleep(0.1)

    async def watch(self) -> None:
        """Look at every cap, again and again. A limit that was lowered while this looked is not compared."""
        while True:
            for owner in self.owners:
                most = self.most[owner]
                try:
                    used = await self.pool.fetchval(USED, owner)
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    continue
                self.looks += 1
                if used is not None and used > most:
                    self.passed.append(f"{used} of {most}")
            await asyncio.sleep(0.02)

    async def check(self) -> None:
        """Every accepted charge has ended as its name says, once, with its row; every refused one has left nothing."""
        assert (self.passed, self.looks > 50) == ([], True)
        rows = {row["key"]: row["ended"] for row in await self.pool.fetch("select key, ended from kaixu_ship.ship")}
        assert {key for key, status in self.answers.items() if status == 200} == set(rows)
        assert min(rows.values()) == 1, "a job may run again if its worker was killed after its transaction"
        charges = await self.pool.fetch(
            "select k.key, k.state, count(e.ticket) as events, coalesce(sum(e.cost_nusd), 0)::bigint as nusd"
            "  from kaixu.keyed_charge k left join kaixu.usage_event e on e.ticket = k.ticket"
            " where not k.is_monthly group by 1, 2"
        )
        states = {"b": ("charged", 1, DEPLOY), "r": ("released", 0, 0), "f": ("expired", 0, 0)}
        assert {row["key"]: (row["state"], row["events"], row["nusd"]) for row in charges} == {
            key: states[key[-1]] for key in rows
        }
        kinds = Counter(row["state"] for row in charges)
        assert set(kinds) == {"charged", "released", "expired"}
        assert 402 in self.answers.values(), "some were refused by the cap"
        billed = await self.pool.fetch(
            "select customer_id, sum(cost_nusd)::bigint as nusd from kaixu.usage_event"
            " where model = 'base' group by customer_id having count(*) <> 1 or sum(cost_nusd) <> $1",
            BASE,
        )
        assert billed == [], "the month's charge is billed once"
        await assert_books_balance(self.pool)
        async with self.pool.acquire() as connection:
            assert await differences(connection, None) == []


USED = """
    select sum(spent_nusd + held_nusd)::bigint from kaixu.customer_month where customer_id = $1 and book = 'ships'
"""
