"""An integration's operations as clients see them: admitted, bounded, billed; and what its plugin cannot do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import pytest

from kaixu.store.pool import open_pool
from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Process
from tests.vendors.stage import database, gateway

PLUGIN = """
import asyncio
from typing import Annotated, Any
import msgspec
from kaixu.plugin import (
    Again, Free, Integration, Job, NotFound, Operation, Options, PerCall, PerUnit, Retry, Schedule, hookimpl,
)
from uuid import UUID

class MineOptions(Options):
    greeting: str = "hello"

class Say(msgspec.Struct, forbid_unknown_fields=True):
    words: Annotated[str, msgspec.Meta(max_length=100)] = ""
    times: int = 1

class Said(msgspec.Struct):
    said: Any = None

KEPT = []

async def say(call):
    return Said(f"{call.options.greeting} {call.body.words}")

async def count(call):
    call.count("word", call.body.times)
    return Said(call.body.times)

async def size(call):
    return Said("x")

async def fail(call):
    if call.body.words == "not found":
        raise NotFound("there is no such thing")
    raise ValueError("the plugin's secret")

async def hang(call):
    await asyncio.sleep(3600)

async def sql(call):
    async with call.db() as db:
        return Said([dict(row) for row in await db.fetch(call.body.words)] if call.body.times == 1
                    else await db.execute(call.body.words))

async def keep(call):
    KEPT.append(call)
    return Said()

async def use_kept(call):
    old = KEPT.pop()
    errors = []
    for what in (lambda: old.count("word", 1), lambda: old.db(), lambda: old.enqueue("mine.work", Say("x"))):
        try:
            result = what()
            if result is not None:
                await result
            errors.append("none")
        except Exception as error:
            errors.append(type(error).__name__)
    return Said(errors)

async def later(call):
    async with call.db() as db:
        await db.execute("insert into note (words) values ($1)", call.body.words)
        job = await db.enqueue("mine.work", call.body, key=call.body.words or None)
        if call.body.times == 13:
            raise NotFound("changed its mind")
    return Said(str(job))

async def work(call):
    async with call.db() as db:
        tries = await db.fetchval("update note set tries = tries + 1 where words = $1 returning tries", call.body.words)
    await call.progress(1, 2)
    if tries < call.body.times:
        raise RuntimeError("not yet")
    return Said(call.customer_id)

class Order(msgspec.Struct):
    job: str
    words: str
    times: int = 1
    key: str | None = None
    serial: str | None = None

async def start(call):
    order = call.body
    async with call.db() as db:
        return Said([str(await db.enqueue(order.job, Say(order.words, at), key=order.key, serial=order.serial))
                     for at in range(order.times)])

async def look(call):
    async with call.db() as db:
        return Said(await db.job(UUID(call.body.words)))

async def cancel(call):
    async with call.db() as db:
        return Said(await db.cancel(UUID(call.body.words)))

async def poll(call):
    async with call.db() as db:
        tries = await db.fetchval("update note set tries = tries + 1 where words = $1 returning tries", call.body.words)
        if tries is None:
            tries = await db.fetchval("insert into note (words) values ($1) returning tries", call.body.words)
    if call.body.words == "for ever":
        raise Again(3600)
    if tries < 3:
        raise Again(0.01)
    return Said(call.attempt)

async def doomed(call):
    raise RuntimeError("always")

async def bury(call):
    async with call.db() as db:
        tries = await db.fetchval("update note set tries = tries + 1 where words = $1 returning tries", call.body.words)
        await db.execute("insert into note (words) values ($1)",
                         f"{call.body.words}: {call.error} {call.attempt} {call.customer_id}")
        await db.enqueue("mine.work", Say("after the end"))
    if call.body.words == "handled late" and not KEPT:
        KEPT.append(call)
        raise RuntimeError("what it has written is rolled back")

async def tick(call):
    async with call.db() as db:
        await db.execute("insert into note (words) values ('tick')")
        await db.enqueue("mine.tock", Say())

async def tock(call):
    async with call.db() as db:
        await db.execute("insert into note (words) values ($1)", f"tock for {call.customer_id}, {call.key_id}")
    return Said()

@hookimpl
def register_integrations(register):
    free = Free("a test")
    register(Integration(
        "mine", options=MineOptions, schema="tables",
        operations=[
            Operation("mine.say", say, Say, PerCall("say")),
            Operation("mine.count", count, Say, PerUnit("words", unit="word", most=1000, per=3)),
            Operation("mine.size", size, Say, PerUnit("bytes", unit="bytes_in", most=100)),
            Operation("mine.fail", fail, Say, PerCall("say")),
            Operation("mine.hang", hang, Say, PerCall("say"), timeout_s=0.3),
            Operation("mine.wait", hang, Say, PerCall("say")),
            Operation("mine.sql", sql, Say, free, role="deployer"),
            Operation("mine.keep", keep, Say, free),
            Operation("mine.use-kept", use_kept, Say, free),
            Operation("mine.later", later, Say, PerCall("say")),
            Operation("mine.start", start, Order, free),
            Operation("mine.look", look, Say, free),
            Operation("mine.cancel", cancel, Say, free),
        ],
        jobs=[
            Job("mine.work", work, Say, PerCall("work"), retry=Retry(attempts=3, first_wait_s=0.1)),
            Job("mine.tock", tock, Say, free),
            Job("mine.poll", poll, Say, PerCall("work"), retry=Retry(attempts=1), on_failed=bury),
            Job("mine.doomed", doomed, Say, free, retry=Retry(attempts=2, first_wait_s=0.1), on_failed=bury),
        ],
        schedules=[Schedule("mine.tick", tick, every_s=1, why_free="a test")],
    ))
"""
TABLES = (
    "create table note (id bigint generated always as identity, words text not null, tries integer not null default 0);"
)
CONFIG = """
gateway: {jobs: {workers: 4}}
integrations:
  mine:
    plugin: ./mine
    greeting: good day
    price: {say: 0.001, words: 0.01, bytes: 0.000001, work: 0.002}
"""
SAY, WORK = 1_000_000, 2_000_000


class House:
    """A gateway with the integration, and a customer."""

    def __init__(self, process: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> None:
        self.process = process
        self.http = http
        self.pool = pool
        self.customer_id = 0
        self.key = ""

    async def call(self, what: str, body: Any = None, key: str | None = None, **how: Any) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {key or self.key}"}
        url = f"{self.process.url}/v1/mine/{what}"
        async with self.http.post(url, json=body if body is not None else {}, headers=headers, **how) as response:
            return response.status, await response.json()

    async def notes(self, words: str) -> list[int]:
        rows = await self.pool.fetch("select tries from kaixu_mine.note where words = $1 order by id", words)
        return [row[0] for row in rows]

    async def job(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while True:
                row = await self.pool.fetchrow(
                    "select * from kaixu.job where kind = 'mine.work' order by created_at desc limit 1"
                )
                if row is not None and row["completed_at"] is not None:
                    return dict(row)
                await asyncio.sleep(0.05)


def written(folder: Path, plugin: str = PLUGIN, tables: str = TABLES) -> None:
    (folder / "mine" / "tables").mkdir(parents=True, exist_ok=True)
    (folder / "mine" / "__init__.py").write_text(plugin)
    (folder / "mine" / "tables" / "0001_notes.sql").write_text(tables)


@pytest.fixture
async def house(tmp_path: Path, dsn: str, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> AsyncIterator[House]:
    home = tmp_path / "gateway"
    written(home)
    process = Process(home, dsn, CONFIG)
    await process.start()
    made = House(process, http, pool)
    made.customer_id = await customer(pool)
    made.key = (await virtual_key(pool, made.customer_id))[1]
    yield made
    assert await process.stop() == 0


async def test_an_operation_is_metered_by_what_it_declares(house: House) -> None:
    assert await house.call("say", {"words": "there"}) == (200, {"said": "good day there"})
    assert await house.call("count", {"times": 7}) == (200, {"said": 7})
    assert (await house.call("size", {"words": "x" * 20}))[0] == 200
    events = await house.pool.fetch(
        "select operation, provider, model, cost_nusd, usage_source, vendor_cost_known, units from kaixu.usage_event order by id"
    )
    assert [event["usage_source"] for event in events] == ["counted", "plugin", "counted"]
    assert not any(event["vendor_cost_known"] for event in events)
    assert [(event["operation"], event["provider"], event["model"]) for event in events] == [
        (f"mine.{what}", "mine", f"mine.{what}") for what in ("say", "count", "size")
    ]
    sizes = events[2]["units"]
    assert [event["cost_nusd"] for event in events] == [SAY, 23_333_333, sizes["bytes_in"] * 1000]
    assert (events[1]["units"]["word"], sizes["calls"], sizes["bytes_out"]) == (7, 1, 12)
    spent, held = await spent_and_held(house.pool, house.customer_id)
    assert held == 0
    await assert_books_balance(house.pool)
    proven = await house.process.command("reconcile")
    assert proven.returncode == 0, proven.stdout
    used = await house.pool.fetchrow("select spent_nusd, vendor_cost_nusd, uncosted_nusd from kaixu.customer_month")
    assert tuple(used or ()) == (spent, 0, spent)  # nobody knows what they cost the operator


async def test_caps_rates_roles_and_allowlists_hold_as_for_any_call(house: House) -> None:
    _, poor = await virtual_key(house.pool, house.customer_id, monthly_cap_nusd=SAY - 1)
    assert (await house.call("say", key=poor))[1]["code"] == "CAP_REACHED"
    _, slow = await virtual_key(house.pool, house.customer_id, rpm_limit=1)
    assert [(await house.call("say", key=slow))[0] for _ in range(2)] == [200, 429]
    _, small = await virtual_key(house.pool, house.customer_id, role="viewer")
    assert (await house.call("sql", key=small))[1]["code"] == "ROLE_TOO_LOW"
    _, other = await virtual_key(house.pool, house.customer_id, allowed_providers=["elsewhere"])
    assert (await house.call("say", key=other))[1]["code"] == "PROVIDER_NOT_ALLOWED"
    _, one = await virtual_key(house.pool, house.customer_id, allowed_models={"mine": ["mine.count"]})
    assert [(await house.call(what, key=one))[0] for what in ("count", "say")] == [200, 403]
    assert (await house.call("say", key="kx_live_" + "x" * 43))[0] == 401


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A gateway with the integration, for tests that need none of their own."""
    home = tmp_path_factory.mktemp("mine")
    written(home)
    with database(server_dsn, pristine) as dsn, gateway(home, dsn, CONFIG) as process:
        yield process


@pytest.fixture
async def guest(shared: Process, http: aiohttp.ClientSession) -> AsyncIterator[House]:
    """A customer of this test's own there."""
    pool = await open_pool(shared.environment["DATABASE_URL"])
    made = House(shared, http, pool)
    made.customer_id = await customer(pool)
    made.key = (await virtual_key(pool, made.customer_id))[1]
    yield made
    await pool.close()


@pytest.mark.parametrize(
    ("what", "body", "status", "code"),
    [
        ("say", {"words": 3}, 422, "INVALID_FIELD"),
        ("say", {"words": "x" * 101}, 422, "INVALID_FIELD"),
        ("say", {"other": 1}, 422, "INVALID_FIELD"),
        ("say", [], 422, "INVALID_FIELD"),
        ("count", {"times": 1001}, 413, "TOO_LARGE"),
        ("count", {"times": -1}, 502, "INTEGRATION_FAILED"),
        ("size", {"words": "x" * 100}, 413, "TOO_LARGE"),
        ("fail", {"words": "not found"}, 404, "NOT_FOUND"),
        ("fail", {}, 502, "INTEGRATION_FAILED"),
        ("hang", {}, 504, "OPERATION_TIMEOUT"),
        ("sya", {}, 404, "NOT_FOUND"),
        ("", {}, 404, "NOT_FOUND"),
    ],
    ids=[
        "wrong-type",
        "too-long",
        "unknown-field",
        "no-object",
        "too-much",
        "less-than-nothing",
        "too-large",
        "plugin-refuses",
        "plugin-fails",
        "plugin-hangs",
        "misspelled",
        "no-operation",
    ],
)
async def test_what_goes_wrong_is_said_clearly_and_costs_nothing(
    guest: House, what: str, body: Any, status: int, code: str
) -> None:
    answered, said = await guest.call(what, body)
    assert (answered, said["error"]["code"] if isinstance(said["error"], dict) else said["code"]) == (status, code)
    assert "secret" not in str(said)
    assert await spent_and_held(guest.pool, guest.customer_id) == (0, 0)
    await assert_books_balance(guest.pool)


async def test_a_client_that_leaves_is_not_billed_where_nothing_was_asked_of_anybody(house: House) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await house.call("wait", timeout=aiohttp.ClientTimeout(total=0.5))
    async with asyncio.timeout(10):
        while await house.pool.fetchval("select count(*) from kaixu.reservation"):
            await asyncio.sleep(0.02)
    assert await spent_and_held(house.pool, house.customer_id) == (0, 0)


@pytest.mark.parametrize(
    "sql",
    [
        "select * from kaixu.customer",
        'select * from "kaixu".customer',
        "select * from kaixu . virtual_key",
        "update kaixu.customer set monthly_cap_nusd = 0",
        "reset role",
        "reset/**/role",
        "set/**/role postgres",
        "do $$ begin execute 're' || 'set role'; end $$",
        "select * from kaixu/**/.customer",
        "select query_to_xml('select set_con' || 'fig(''role'', ''none'', true)', false, false, '')",
        "set role postgres",
        "set local role none",
        "set session authorization default",
        "select set_config('role', 'none', true)",
        "discard all",
        "select 1; select 2",
        "do $$ begin execute 'select * from ka' || 'ixu.customer'; end $$",
        "create table public.mine (id int)",
        "copy note to program 'id'",
        "select pg_read_file('/etc/passwd')",
        "create function f() returns int language sql security definer as 'select 1'",
    ],
    ids=[
        "core-table",
        "quoted",
        "spaced",
        "update",
        "reset-role",
        "reset-comment",
        "set-comment",
        "reset-in-pieces",
        "schema-comment",
        "query-to-xml",
        "set-role",
        "set-local-role",
        "session-user",
        "set-config",
        "discard",
        "two-statements",
        "select-in-pieces",
        "public-table",
        "copy-program",
        "read-file",
        "security-definer",
    ],
)
async def test_a_plugin_s_statements_reach_nothing_but_its_own_tables(guest: House, sql: str) -> None:
    before = await guest.pool.fetch("select * from kaixu.customer")
    for times in (1, 2):
        status, said = await guest.call("sql", {"words": sql[:100], "times": times})
        assert (status, said["code"]) == (502, "INTEGRATION_FAILED"), said
    assert await guest.pool.fetch("select * from kaixu.customer") == before


async def test_its_own_tables_it_may_use_as_it_likes(house: House) -> None:
    assert (await house.call("sql", {"words": "insert into note (words) values ('a')", "times": 2}))[1] == {
        "said": "INSERT 0 1"
    }
    assert (await house.call("sql", {"words": "select words, current_user::text as who from note where words = 'a'"}))[1] == {
        "said": [{"words": "a", "who": "kaixu_mine_plugin"}]
    }  # fmt: skip


async def test_what_is_kept_of_a_call_is_dead_when_it_was_settled(house: House) -> None:
    assert (await house.call("keep"))[0] == 200
    assert (await house.call("use-kept"))[1] == {"said": ["RuntimeError", "TicketClosed", "TicketClosed"]}


async def test_a_job_is_there_together_with_the_rows_or_not_at_all_and_is_billed_when_it_has_run(house: House) -> None:
    assert (await house.call("later", {"words": "gone", "times": 13}))[0] == 404
    assert await house.notes("gone") == []
    status, _ = await house.call("later", {"words": "done"})
    assert status == 200
    job = await house.job()
    assert (job["status"], job["customer_id"], job["done"], job["total"]) == ("succeeded", house.customer_id, 1, 2)
    assert b"done" not in job["payload"]
    assert await house.pool.fetchval("select count(*) from kaixu.job where kind = 'mine.work'") == 1
    assert await spent_and_held(house.pool, house.customer_id) == (SAY + WORK, 0)
    events = await house.pool.fetch("select operation, model from kaixu.usage_event order by id")
    assert [tuple(event) for event in events] == [("mine.later", "mine.later"), ("job:mine.work", "mine.work")]
    await assert_books_balance(house.pool)


async def test_a_job_that_fails_is_tried_again_and_billed_once(house: House) -> None:
    await house.call("later", {"words": "third time", "times": 3})
    job = await house.job()
    assert (job["status"], await house.notes("third time")) == ("succeeded", [3])
    await house.call("later", {"words": "never", "times": 100})
    job = await house.job()
    assert (job["status"], job["error_code"], await house.notes("never")) == ("failed", "INTEGRATION_FAILED", [3])
    assert await spent_and_held(house.pool, house.customer_id) == (2 * SAY + WORK, 0)


async def test_the_same_key_is_the_same_job(house: House) -> None:
    said = [(await house.call("later", {"words": "once"}))[1]["said"] for _ in range(3)]
    assert len(set(said)) == 1


async def test_a_job_that_has_no_room_under_a_cap_is_blocked_until_it_is_raised(house: House) -> None:
    poor_id, poor = await virtual_key(house.pool, house.customer_id, monthly_cap_nusd=SAY)
    assert (await house.call("later", {"words": "dear"}, key=poor))[0] == 200
    async with asyncio.timeout(20):
        while await house.pool.fetchval("select pause from kaixu.job where kind = 'mine.work'") != "blocked":
            await asyncio.sleep(0.05)
    row = await house.pool.fetchrow("select status, attempts, error_code, run_after > now() as later from kaixu.job")
    assert tuple(row or ()) == ("queued", 0, "CAP_REACHED", True)
    assert await spent_and_held(house.pool, house.customer_id) == (SAY, 0)
    listed = await house.process.command("jobs", "list", "--status", "blocked", "--json")
    assert '"status": "blocked"' in listed.stdout
    raised = await house.process.command("keys", "change", str(poor_id), "--cap", "1")
    assert raised.returncode == 0, raised.stderr
    assert (await house.job())["status"] == "succeeded"  # the raised cap has woken it
    assert await spent_and_held(house.pool, house.customer_id) == (SAY + WORK, 0)


async def test_a_schedule_runs_on_its_own_and_costs_nobody(house: House) -> None:
    async with asyncio.timeout(20):
        while len(await house.notes("tick")) < 2 or not await house.notes("tock for None, None"):
            await asyncio.sleep(0.05)
    rows = await house.pool.fetch("select status, customer_id from kaixu.job where kind in ('mine.tick', 'mine.tock')")
    assert {row["customer_id"] for row in rows} == {None}
    assert await spent_and_held(house.pool, house.customer_id) == (0, 0)


async def test_a_reload_swaps_options_and_prices(house: House) -> None:
    house.process.config.write_text(CONFIG.replace("good day", "farewell").replace("say: 0.001", "say: 0.005"))
    assert (await house.process.command("reload")).returncode == 0
    assert (await house.call("say"))[1] == {"said": "farewell "}
    assert (await spent_and_held(house.pool, house.customer_id))[0] == 5 * SAY


@pytest.mark.parametrize(
    ("tables", "why"),
    [
        ("create table note (id bigint); select * from kaixu.customer;", "names the schema `kaixu`"),
        ("set role postgres;", "changes roles"),
        ("set /* a comment */ role postgres;", "changes roles"),
        ("create table note (id bigint); commit; select 1;", "ends its transaction"),
        ("create tabel note (id bigint);", "failed: syntax error"),
        ("create table public.note (id bigint);", "permission denied"),
    ],
)
async def test_an_integration_whose_tables_cannot_be_made_is_off_and_says_why(
    tmp_path: Path, dsn: str, http: aiohttp.ClientSession, pool: asyncpg.Pool, tables: str, why: str
) -> None:
    home = tmp_path / "gateway"
    written(home, tables=tables)
    process = Process(home, dsn, CONFIG)
    await process.start()
    house = House(process, http, pool)
    house.key = (await virtual_key(pool, await customer(pool)))[1]
    status, said = await house.call("say")
    assert (status, said["error"]["code"] if isinstance(said["error"], dict) else said["code"]) == (
        503,
        "PLUGIN_FAILED",
    )
    assert why in process.log.read_text()
    assert await process.stop() == 0


async def status_of(guest: House, job_id: str, status: str) -> dict[str, Any]:
    """The job as its plugin sees it, when it has this status."""
    async with asyncio.timeout(20):
        while True:
            reply, body = await guest.call("look", {"words": job_id})
            assert reply == 200, body
            if body["said"]["status"] == status:
                return dict(body["said"])
            await asyncio.sleep(0.05)


async def test_a_job_that_asks_again_uses_no_attempt_and_is_billed_once(guest: House) -> None:
    [job_id] = (await guest.call("start", {"job": "mine.poll", "words": "a poll"}))[1]["said"]
    view = await status_of(guest, job_id, "succeeded")
    assert (view["attempts"], view["next_at"], view["error"]) == (0, None, None)
    assert await guest.pool.fetchval("select tries from kaixu_mine.note where words = 'a poll'") == 3
    assert await spent_and_held(guest.pool, guest.customer_id) == (WORK, 0)
    await assert_books_balance(guest.pool)


async def test_a_job_that_waits_holds_nothing_and_can_be_cancelled_by_its_plugin(guest: House) -> None:
    [job_id] = (await guest.call("start", {"job": "mine.poll", "words": "for ever"}))[1]["said"]
    view = await status_of(guest, job_id, "waiting")
    assert view["next_at"] is not None
    assert await spent_and_held(guest.pool, guest.customer_id) == (0, 0)
    _, stranger = await virtual_key(guest.pool, await customer(guest.pool))
    for what in ("look", "cancel"):
        assert (await guest.call(what, {"words": job_id}, key=stranger))[0] == 404
    assert (await guest.call("cancel", {"words": job_id}))[1]["said"]["status"] == "cancelled"
    await buried(guest, f"for ever: JOB_CANCELLED 0 {guest.customer_id}")


async def buried(guest: House, words: str) -> None:
    async with asyncio.timeout(20):
        while not await guest.notes(words):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("words", ["handled at once", "handled late"])
async def test_the_failure_of_a_job_is_handled_once_with_its_rows(guest: House, words: str) -> None:
    [job_id] = (await guest.call("start", {"job": "mine.doomed", "words": words}))[1]["said"]
    await status_of(guest, job_id, "failed")
    await buried(guest, f"{words}: INTEGRATION_FAILED 2 {guest.customer_id}")
    async with asyncio.timeout(20):
        while await guest.pool.fetchval("select failure_due_at from kaixu.job where id = $1", UUID(job_id)):
            await asyncio.sleep(0.05)
    assert len(await guest.notes(f"{words}: INTEGRATION_FAILED 2 {guest.customer_id}")) == 1
    jobs = await guest.pool.fetchval(
        "select count(*) from kaixu.job where kind = 'mine.work' and customer_id = $1", guest.customer_id
    )
    assert jobs == 1  # what was enqueued when it failed is rolled back, too


async def test_jobs_in_a_line_run_one_after_the_other(guest: House) -> None:
    order = {"job": "mine.poll", "words": "in a line", "times": 3, "serial": f"line of {guest.customer_id}"}
    ids = [UUID(one) for one in (await guest.call("start", order))[1]["said"]]
    for job_id in ids:
        await status_of(guest, str(job_id), "succeeded")
    rows = await guest.pool.fetch(
        "select id, started_at, completed_at from kaixu.job where id = any ($1::uuid[]) order by started_at", ids
    )
    assert [row["id"] for row in rows] == ids
    assert all(before["completed_at"] <= after["started_at"] for before, after in pairwise(rows))
