"""Three gateways on one Postgres through PgBouncer in transaction mode: all that is exact stays exact."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from kaixu.store.events import write_events
from kaixu.store.pool import open_pool
from tests.conftest import with_database
from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.monitor import event, follow
from tests.support.operators import insert_session
from tests.support.pgbouncer import LOOKUP, PASSWORD, ROLE, PgBouncer, prepare
from tests.support.process import Client, Process
from tests.support.size import size
from tests.support.vendor import INPUT_TOKENS, Vendor

pytestmark = pytest.mark.asyncio(loop_scope="module")

COST_NUSD = INPUT_TOKENS * 1000 + 8 * 2000
BUDGET_FOR = 8

CONFIG = """
gateway:
  reservation_s: 3
  jobs: {{workers: 4, lease_s: 2}}
  database: {{money: 4, general: 4, searches: 2, reports: 2}}
lanes:
  up:
    plugin: openai
    base_url: {vendor}
    api_key: vendor-key
    retries: 0
    models:
      ok: {{type: chat, price: {{input: 1, output: 2}}}}
      stream-8-0: {{type: chat, price: {{input: 1, output: 2}}}}
      stream-8-50: {{type: chat, price: {{input: 1, output: 2}}}}
      stream-200-20: {{type: chat, price: {{input: 1, output: 2}}}}
integrations:
  pooled: {{plugin: ./pooled/__init__.py, price: {{note: 0.002}}}}
"""

PLUGIN = """
import msgspec
from kaixu.plugin import Free, Integration, Job, Operation, PerCall, Schedule, hookimpl

class Note(msgspec.Struct):
    text: str = ""

class Accepted(msgspec.Struct):
    job_id: str

class Notes(msgspec.Struct):
    texts: list[str]

async def submit(call):
    return Accepted(str(await call.enqueue("pooled.note", call.body)))

async def note(call):
    async with call.db() as db:
        await db.execute("insert into notes (customer_id, text) values ($1, $2)", call.customer_id, call.body.text)
        rows = await db.fetch("select text from notes where customer_id = $1 order by id", call.customer_id)
    return Notes([row["text"] for row in rows])

async def tick(call):
    async with call.db() as db:
        await db.execute("insert into ticks default values")

@hookimpl
def register_integrations(register):
    register(Integration(
        "pooled",
        [Operation("pooled.submit", submit, Note, Free("a test"))],
        jobs=[Job("pooled.note", note, Note, PerCall("note"))],
        schedules=[Schedule("pooled.tick", tick, every_s=1, why_free="a test")],
        schema="schema",
    ))
"""

TABLES = """
create table notes (id bigint generated always as identity primary key, customer_id bigint not null, text text not null);
create table ticks (at timestamptz not null default now());
"""


#: What a gateway asks of a session that is its own.
SESSION = (
    "idle_in_transaction_session_timeout,statement_timeout,hnsw.ef_search,hnsw.iterative_scan,hnsw.max_scan_tuples"
)


class Fleet:
    """The gateways, what is before and behind them, and a connection past the pooler."""

    def __init__(self, folder: Path, dsn: str, vendor: Vendor) -> None:
        self.folder = folder
        self.dsn = dsn
        self.vendor = vendor
        self.bouncer = PgBouncer(folder / "pgbouncer", dsn)
        self.gateways = []
        for at in range(3):
            home = folder / f"gateway{at}"
            (home / "pooled" / "schema").mkdir(parents=True)
            (home / "pooled" / "__init__.py").write_text(PLUGIN)
            (home / "pooled" / "schema" / "0001_notes.sql").write_text(TABLES)
            config = CONFIG.format(vendor=vendor.url)
            self.gateways.append(Process(home, self.bouncer.dsn, config, KAIXU_POOLER="true"))
        self.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self.pool: asyncpg.Pool

    async def start(self) -> None:
        """Start everything; the first gateway migrates through the pooler."""
        self.bouncer.start()
        await asyncio.gather(*(gateway.start() for gateway in self.gateways))
        self.pool = await open_pool(self.dsn)
        await insert_session(self.pool)

    async def stop(self) -> None:
        """Stop everything."""
        for gateway in self.gateways:
            assert await gateway.stop() == 0, gateway.log.read_text()
        await self.http.close()
        await self.pool.close()
        self.bouncer.kill()

    def client(self, at: int, key: str) -> Client:
        """A caller of one of the gateways."""
        return Client(self.http, self.gateways[at % 3].url, key)

    async def caller(self, **fields: Any) -> tuple[int, str]:
        """A customer's id, and a key."""
        customer_id = await customer(self.pool, **fields)
        return customer_id, (await virtual_key(self.pool, customer_id))[1]

    async def until(self, sql: str, *args: object, is_: object = True) -> None:
        """Wait until a query's only value is this."""
        async with asyncio.timeout(60):
            while await self.pool.fetchval(sql, *args) != is_:
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(server_dsn: str) -> AsyncIterator[Fleet]:
    """Shared by the module: each test leaves three running gateways and a running pooler."""
    folder = Path(tempfile.mkdtemp(prefix="kaixu-pooled-"))  # pytest's own folders are closed to PgBouncer's user
    folder.chmod(0o755)
    name = f"kaixu_pooled_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(server_dsn)
    await connection.execute(f"create database {name}")
    dsn = with_database(server_dsn, name)
    vendor = Vendor()
    await vendor.start()
    await prepare(dsn)
    fleet = Fleet(folder, dsn, vendor)
    try:
        await fleet.start()
        yield fleet
        await fleet.stop()
    finally:
        for gateway in fleet.gateways:
            if gateway.process is not None:
                gateway.kill()
        fleet.bouncer.kill()
        await vendor.stop()
        await connection.execute(f"drop database {name} with (force)")
        await connection.execute(f"drop role kaixu_pooled_plugin, {ROLE}, {LOOKUP}")
        await connection.close()
        shutil.rmtree(folder)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_sixty_calls_at_once_never_pass_a_budget_for_eight(fleet: Fleet, streamed: bool) -> None:
    cap = COST_NUSD * BUDGET_FOR
    customer_id, key = await fleet.caller(cap_nusd=cap)

    async def call(at: int) -> int:
        client = fleet.client(at, key)
        return (await (client.stream if streamed else client.chat)("stream-8-0", max_tokens=8))[0]

    admitted = 0
    for _ in range(BUDGET_FOR + 1):
        statuses = await asyncio.gather(*(call(at) for at in range(size(60, 300))))
        assert set(statuses) <= {200, 402}
        admitted += statuses.count(200)
        spent, held = await spent_and_held(fleet.pool, customer_id)
        assert spent <= cap
        assert held == 0
        if statuses.count(200) == 0:
            break
    assert admitted >= 1
    assert spent <= admitted * COST_NUSD
    await assert_books_balance(fleet.pool)


async def test_batches_and_jobs_of_an_integration_with_tables_run_once(fleet: Fleet) -> None:
    customer_id, key = await fleet.caller()
    client = fleet.client(0, key)
    lines = [
        {
            "custom_id": str(at),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "up/ok", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 20},
        }
        for at in range(20)
    ]
    form = aiohttp.FormData({"purpose": "batch"})
    form.add_field("file", "\n".join(map(json.dumps, lines)).encode(), filename="lines.jsonl")
    async with fleet.http.post(f"{client.url}/v1/files", data=form, headers=client.headers) as response:
        file_id = (await response.json())["id"]
    batch = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    async with fleet.http.post(f"{client.url}/v1/batches", json=batch, headers=client.headers) as response:
        assert response.status == 200, await response.text()
    for at in range(9):
        one = fleet.client(at, key)
        body = {"text": f"note {at}"}
        async with fleet.http.post(f"{one.url}/v1/pooled/submit", json=body, headers=one.headers) as response:
            assert response.status == 200, await response.text()
    count = (
        "select count(*) from kaixu.usage_event where customer_id = $1 and end_reason = 'complete' and cost_nusd > 0"
    )
    await fleet.until(count, customer_id, is_=29)
    notes = await fleet.pool.fetch("select text from kaixu_pooled.notes where customer_id = $1", customer_id)
    assert sorted(row["text"] for row in notes) == [f"note {at}" for at in range(9)]
    await fleet.until("select count(*) > 1 from kaixu_pooled.ticks")
    spent, held = await spent_and_held(fleet.pool, customer_id)
    assert (spent, held) == (20 * (INPUT_TOKENS * 1000 + 4 * 2000) + 9 * 2_000_000, 0)
    await assert_books_balance(fleet.pool)


async def test_each_role_has_connections_of_its_own_and_none_keeps_a_lock_or_a_setting(fleet: Fleet) -> None:
    roles = await fleet.pool.fetch(
        "select distinct usename::text as name from pg_stat_activity where datname = current_database()"
        " and application_name like 'kaixu%'"
    )
    assert {ROLE, "kaixu_pooled_plugin"} <= {row["name"] for row in roles}
    # A lock of a session would stay with the pooler's connection after its gateway has gone.
    await fleet.until(
        "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())",
        is_=0,
    )
    looked = await asyncpg.connect(fleet.bouncer.dsn, statement_cache_size=0)
    try:
        for name in ("statement_timeout", "search_path", "work_mem", "maintenance_work_mem", "lock_timeout"):
            default = await fleet.pool.fetchval("select boot_val from pg_settings where name = $1", name)
            assert await looked.fetchval("select setting from pg_settings where name = $1", name) == default, name
    finally:
        await looked.close()


async def test_the_monitor_and_a_reload_work_without_a_session(fleet: Fleet) -> None:
    async with follow(fleet.http, fleet.gateways[1].url) as viewer:
        await write_events(fleet.pool, [event("through the pooler")])
        await viewer.until(lambda one: "through the pooler" in one.words)
    for gateway in fleet.gateways:
        done = await gateway.command("reload")
        assert done.returncode == 0, done.stderr
    _, key = await fleet.caller()
    assert [(await fleet.client(at, key).chat())[0] for at in range(3)] == [200] * 3


async def test_a_gateway_that_is_killed_leaves_no_hold_behind(fleet: Fleet) -> None:
    customer_id, key = await fleet.caller()
    before = fleet.vendor.delivered
    calls = [asyncio.ensure_future(fleet.client(0, key).stream("stream-200-20")) for _ in range(5)]
    async with asyncio.timeout(60):
        while fleet.vendor.delivered < before + 50:
            await asyncio.sleep(0.02)
    fleet.gateways[0].kill()
    await asyncio.gather(*calls, return_exceptions=True)
    assert (await fleet.client(1, key).chat())[0] == 200
    await fleet.until(
        "select count(*) from kaixu.usage_event where customer_id = $1 and end_reason = 'lost'", customer_id, is_=5
    )
    assert (await spent_and_held(fleet.pool, customer_id))[1] == 0
    await assert_books_balance(fleet.pool)
    await fleet.gateways[0].start()


@pytest.mark.parametrize(
    ("setting", "told", "password", "message"),
    [
        ("pool_mode = statement", "true", None, "the pooler runs in statement mode"),
        ("ignore_startup_parameters = " + SESSION, "false", None, "DATABASE_URL leads to a pooler"),
        ("max_client_conn = 1", "true", None, "no more connections allowed (max_client_conn)"),
        ("pool_mode = transaction", "true", "wrong", "the pooler refuses us"),
    ],
    ids=["statement-mode", "not-told", "too-few-clients", "wrong-password"],
)
async def test_a_pooler_with_wrong_settings_is_said(
    fleet: Fleet, setting: str, told: str, password: str | None, message: str
) -> None:
    pooler = PgBouncer(fleet.folder / uuid4().hex, fleet.dsn, more=setting)
    pooler.start()
    try:
        if told == "false":  # another client's statement is in the pooler's connection
            other = await asyncpg.connect(pooler.dsn)
            await other.fetchval("select $1::integer", 1)
            await other.close()
        dsn = pooler.dsn if password is None else pooler.dsn.replace(PASSWORD, password)
        ran = await fleet.gateways[0].command("check", DATABASE_URL=dsn, KAIXU_POOLER=told)
    finally:
        pooler.kill()
    assert ran.returncode == 1
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


async def test_a_pooler_that_is_killed_under_load_loses_nothing_and_bills_nothing_twice(fleet: Fleet) -> None:
    customer_id, key = await fleet.caller()
    answered: list[str] = []
    refused: list[tuple[int, str | None]] = []
    is_over = False

    async def call(at: int) -> None:
        number = 0
        while not is_over:
            number += 1
            request_id = f"{customer_id}-{at}-{number}"
            client = fleet.client(at, key)
            body = {
                "provider": "up",
                "model": "stream-8-50",
                "messages": [{"role": "user", "content": "hello"}],
                "max_tokens": 8,
            }
            headers = client.headers | {"x-kaixu-request-id": request_id}
            async with fleet.http.post(f"{client.url}/api/gateway-chat", json=body, headers=headers) as response:
                await response.read()
                if response.status == 200:
                    answered.append(request_id)
                else:
                    refused.append((response.status, response.headers.get("retry-after")))
                    await asyncio.sleep(0.1)

    async def until_more(seen: list[Any], count: int) -> None:
        wanted = len(seen) + count
        async with asyncio.timeout(60):
            while len(seen) < wanted:
                await asyncio.sleep(0.02)

    clients = [asyncio.ensure_future(call(at)) for at in range(12)]
    try:
        for _ in range(size(1, 10)):
            await until_more(answered, 24)
            fleet.bouncer.kill()
            await until_more(refused, 12)
            fleet.bouncer.start()
            await until_more(answered, 24)
    finally:
        is_over = True
        await asyncio.gather(*clients)
    assert {status for status, _ in refused} == {503}
    assert None not in {retry for _, retry in refused}
    for gateway in fleet.gateways:
        async with asyncio.timeout(60):
            while True:
                async with fleet.http.get(f"{gateway.url}/api/health") as response:
                    if "settlements wait in the spool" not in (await response.json())["why"]:
                        break
                await asyncio.sleep(0.1)
    await fleet.until("select count(*) from kaixu.reservation", is_=0)
    events = await fleet.pool.fetch(
        "select request_id, end_reason, cost_nusd from kaixu.usage_event where customer_id = $1", customer_id
    )
    billed = [row["request_id"] for row in events]
    assert len(billed) == len(set(billed))
    complete = {
        row["request_id"] for row in events if row["end_reason"] == "complete" and row["cost_nusd"] == COST_NUSD
    }
    assert set(answered) <= complete
    await assert_books_balance(fleet.pool)
    proven = await fleet.gateways[0].command("reconcile")
    assert proven.returncode == 0, proven.stdout
