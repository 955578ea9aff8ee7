"""What an integration can and cannot do in the database, whatever statements it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from kaixu.config.database_errors import MigrationError
from kaixu.plugin.errors import Conflict, DatabaseBusy, NotFound, TicketClosed, TooLarge, UpstreamTimeout
from kaixu.store import plugin_database, plugin_pool
from kaixu.store.failures import claim_failures
from kaixu.store.jobs import NewJob, insert_job
from kaixu.store.migrate import LOCK
from kaixu.store.plugin_database import PluginTransaction
from kaixu.store.plugin_databases import PluginDatabases
from kaixu.store.plugin_jobs import allow_job_access, store_plugin_job
from kaixu.store.plugin_login import STATEMENT_S, login_from_url
from kaixu.store.plugin_roles import login_problem
from kaixu.store.plugin_transaction import HandledBefore, NotAllowed
from kaixu.store.pool import open_pool
from tests.support.money import customer, virtual_key

TABLES = "create table note (id bigint generated always as identity primary key, words text unique);"
NAME = "guest"
ROLE = "kaixu_guest_plugin"


class Payload(msgspec.Struct):
    words: str = ""


class Guest:
    """An integration's database on a real Postgres."""

    def __init__(self, databases: PluginDatabases, pool: asyncpg.Pool, folder: Path) -> None:
        self.databases = databases
        self.pool = pool
        self.folder = folder
        self.customer_id: int | None = None
        self.open = True

    async def provide(self, url: str | None = None) -> None:
        async with self.pool.acquire() as connection:
            await self.databases.provide(connection, NAME, self.folder, url)

    def job(
        self, name: str, payload: msgspec.Struct, delay_s: float, key: str | None, serial: str | None = None
    ) -> NewJob:
        return NewJob(
            id=uuid4(), kind=name, customer_id=self.customer_id, key_id=None, install_id=None, request_id="r",
            payload=msgspec.json.encode(payload), provider=NAME, model=name, run_after_s=delay_s, unique_key=key,
            serial=serial, reports_failure=True,
        )  # fmt: skip

    @asynccontextmanager
    async def db(self) -> AsyncIterator[PluginTransaction]:
        opened = self.databases.transaction(
            NAME, has_tables=True, is_open=lambda: self.open, make_job=self.job, customer_id=self.customer_id
        )
        async with opened as transaction:
            assert isinstance(transaction, PluginTransaction)
            yield transaction

    async def raw(self, *statements: str) -> Any:
        """Run statements past the gateway's own check: only the database protects itself."""
        async with self.db() as db:
            return [await db._connection.execute(sql, timeout=3) for sql in statements]

    async def assert_clean(self) -> None:
        """The gateway and the plugin work, on connections without left-over state."""
        async with self.db() as db:
            theirs = await db._connection.fetchrow(STATE)
            assert await db.execute("insert into note (words) values ($1)", str(uuid4())) == "INSERT 0 1"
        ours = await self.pool.fetchrow(STATE)
        assert ours is not None
        assert tuple(theirs)[:4] == (ROLE, ROLE, "kaixu_guest", f"{STATEMENT_S}s")
        assert ours["who"] == ours["really"] != ROLE
        assert ours["statement_timeout"] == "0"
        for row in (ours, theirs):
            assert (row["locks"], row["prepared"], row["listening"], row["temporary"]) == (0, 0, 0, 0), dict(row)
        await virtual_key(self.pool, await customer(self.pool))


STATE = """
select current_user::text as who, session_user::text as really, current_setting('search_path') as path,
       current_setting('statement_timeout') as statement_timeout,
       (select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory') as locks,
       (select count(*) from pg_prepared_statements where name not like '\\_\\_asyncpg%') as prepared,
       (select count(*) from pg_listening_channels()) as listening,
       (select count(*) from pg_class where relnamespace = pg_my_temp_schema()) as temporary
"""


@pytest.fixture
async def guest(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[Guest]:
    (tmp_path / "0001_notes.sql").write_text(TABLES)
    databases = PluginDatabases(dsn, ["a secret for tests"], pooler=False)
    databases.pool = pool
    made = Guest(databases, pool, tmp_path)
    await made.provide()
    yield made
    await databases.close()


#: Each may succeed or fail; none changes the state for the gateway or for the next transaction.
TRICKS = {
    "statement_timeout": ["set statement_timeout = '1ms'"],
    "every setting": ["set work_mem = '64kB'", "set search_path = public", "set default_transaction_read_only = on"],
    "commit": ["insert into note (words) values ('x')", "commit", "reset role", "select current_user"],
    "rollback": ["rollback", "set statement_timeout = '1ms'"],
    "commit and chain": ["commit and chain", "set session characteristics as transaction read only"],
    "a DO that resets the role": ["do $$ begin execute 'reset role'; execute 'set role none'; end $$"],
    "a DO that sets settings": ["do $$ begin perform set_config('statement_timeout', '1ms', false); end $$"],
    "listen": ["listen something", "notify something"],
    "session locks": ["select pg_advisory_lock(1), pg_advisory_lock_shared(2)"],
    "prepared": ["prepare mine as select 1"],
    "temporary": ["create temporary table kept (id int) on commit preserve rows"],
    "cursor": ["declare kept cursor with hold for select generate_series(1, 10)"],
    "a failed statement": ["select 1 / 0"],
    "its own settings for ever": [f"alter role {ROLE} set statement_timeout = '1ms'"],
    "isolation": ["set session characteristics as transaction isolation level serializable"],
    "deferred": ["set constraints all deferred"],
}


@pytest.mark.parametrize("statements", TRICKS.values(), ids=TRICKS.keys())
async def test_nothing_that_a_plugin_leaves_behind_stays(guest: Guest, statements: list[str]) -> None:
    for _ in range(2):
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, NotAllowed, Conflict):
            await guest.raw(*statements)
        await guest.assert_clean()
    assert (
        await guest.pool.fetchval("select count(*) from pg_stat_activity where usename = $1", ROLE) <= plugin_pool.MOST
    )


FORBIDDEN = {
    "the customers": "select * from kaixu.customer",
    "a function of the core's": "select kaixu.release('{}')",
    "through a DO": "do $$ begin execute 'update ka' || 'ixu.customer set monthly_cap_nusd = 1'; end $$",
    "another role": "set role postgres",
    "another session": "set session authorization postgres",
    "a right": f"alter role {ROLE} superuser",
    "a role": "create role friend",
    "a membership": f"grant postgres to {ROLE}",
    "a table elsewhere": "create table public.mine (id int)",
    "a schema": "create schema mine",
    "a database": "create database mine",
    "an extension": "create extension dblink",
    "a language": "create function f() returns int language c as 'x', 'y'",
    "a program": "copy note to program 'id'",
    "a file": "copy note to '/tmp/note'",
    "reading files": "select pg_read_file('/etc/passwd')",
    "ending others": "select pg_terminate_backend(pid) from pg_stat_activity where usename <> current_user",
    "the server's settings": "alter system set work_mem = '1GB'",
    "the database's settings": "alter database postgres set work_mem = '1GB'",
    "another's superuser setting": "set session_replication_role = replica",
    "more connections": f"alter role {ROLE} connection limit 1000",
    "a prepared transaction": "prepare transaction 'kept'",
    "two statements": "select 1; select 2",
    "its own lookup": "insert into kaixu.plugin_role values (current_user, 'another')",
}  # fmt: skip


@pytest.mark.parametrize("sql", FORBIDDEN.values(), ids=FORBIDDEN.keys())
async def test_the_database_itself_refuses_what_does_not_belong_to_the_plugin(guest: Guest, sql: str) -> None:
    if sql != "select 1; select 2":
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await guest.raw(sql)
    with pytest.raises((asyncpg.PostgresError, NotAllowed)):
        async with guest.db() as db:
            await db.execute(sql)
    await guest.assert_clean()


async def test_a_statement_begins_with_what_it_does_with_rows(guest: Guest) -> None:
    for sql in (
        "set statement_timeout = 0",
        "commit",
        "do $$ begin end $$",
        "/* */ commit",
        "-- \n commit",
        "",
        "listen x",
    ):
        async with guest.db() as db:
            with pytest.raises(NotAllowed):
                await db.execute(sql)
    async with guest.db() as db:
        assert await db.execute(" with a as (select 1) select * from a") == "SELECT 1"
        assert await db.execute("(values (1), (2))") == "SELECT 2"
        assert await db.execute("insert into note (words) values ('a'), ('b') returning id") == "INSERT 0 2"
        assert await db.execute("update note set words = words || 'x'") == "UPDATE 2"
        assert await db.fetchval("select count(*) from note where words = any ($1)", ["ax", "bx"]) == 2
        assert await db.fetchrow("select words from note where false") is None
        assert await db.execute("truncate note") == "TRUNCATE TABLE"


async def test_a_large_result_is_refused_before_it_is_here(guest: Guest) -> None:
    began = monotonic()
    for sql in (
        "select generate_series(1, 2000000000)",
        "select repeat('x', 1000000), generate_series(1, 2000000000)",
    ):
        for how in ("fetch", "execute"):
            with pytest.raises(TooLarge):
                async with guest.db() as db:
                    await getattr(db, how)(sql)
        async with guest.db() as db:
            assert len(str(await db.fetchval(sql))) in (1, 1_000_000)
    assert monotonic() - began < 15
    await guest.assert_clean()


async def test_a_statement_that_takes_too_long_is_the_plugins_fault_and_ends(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin_database, "PATIENCE_S", 0.5)
    monkeypatch.setattr(plugin_pool, "CLEAN_S", 1.0)
    deaf = """
        create function pg_temp.deaf() returns void language plpgsql as $$
        begin
            loop
                begin
                    perform pg_sleep(100);
                exception when query_canceled then null;
                end;
            end loop;
        end $$
    """

    async def sleep() -> None:
        async with guest.db() as db:
            await db.fetch("select pg_sleep(100)")

    async def sleep_deaf() -> None:
        async with guest.db() as db:
            await db._connection.execute("set statement_timeout = 0")
            await db._connection.execute(deaf)
            await db.fetch("select pg_temp.deaf()")

    for how in (sleep, sleep_deaf):
        with pytest.raises(UpstreamTimeout):
            await how()
        await guest.assert_clean()
    async with asyncio.timeout(30):
        while await guest.pool.fetchval(
            "select count(*) from pg_stat_activity where usename = $1 and state = 'active'", ROLE
        ):
            await asyncio.sleep(0.05)


async def test_postgres_ends_a_slow_statement_as_well(guest: Guest) -> None:
    async def sleep() -> None:
        async with guest.db() as db:
            await db._connection.execute("set local statement_timeout = '50ms'")
            await db.fetch("select pg_sleep(5)")

    with pytest.raises(UpstreamTimeout):
        await sleep()
    await guest.assert_clean()


async def test_a_cancelled_call_leaves_no_lock(guest: Guest) -> None:
    async def hold() -> None:
        async with guest.db() as db:
            await db.fetch("select pg_advisory_lock($1)", LOCK)
            await db.fetch("select pg_sleep(60)")

    holding = asyncio.create_task(hold())
    await asyncio.sleep(0.3)
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert await guest.pool.fetchval("select pg_try_advisory_lock($1)", LOCK)


async def test_transactions_are_limited_and_further_ones_get_an_error(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin_pool, "WAIT_S", 0.2)
    release = asyncio.Event()

    async def hold() -> None:
        async with guest.db() as db:
            await db.fetchval("select 1")
            await release.wait()

    holding = [asyncio.create_task(hold()) for _ in range(plugin_pool.MOST)]
    await asyncio.sleep(0.3)
    with pytest.raises(DatabaseBusy, match="transactions open"):
        await hold()
    await virtual_key(guest.pool, await customer(guest.pool))  # the gateway has connections of its own
    release.set()
    await asyncio.gather(*holding)
    await guest.assert_clean()


async def test_a_job_is_submitted_with_the_rows_once_and_for_this_call_only(guest: Guest) -> None:
    guest.customer_id = await customer(guest.pool)

    async def fail() -> None:
        async with guest.db() as db:
            await db.execute("insert into note (words) values ('a')")
            await db.enqueue("guest.work", Payload("lost"))
            await db.execute("insert into note (words) values ('a')")

    with pytest.raises(Conflict):
        await fail()
    assert await guest.pool.fetchval("select count(*) from kaixu.job") == 0
    async with guest.db() as db:
        first = await db.enqueue("guest.work", Payload("a"), key="same")
        assert await db.enqueue("guest.work", Payload("b"), key="same") == first
        other = await db.enqueue("guest.work", Payload("c"), delay_s=60)
    rows = await guest.pool.fetch(
        "select id, customer_id, run_after > now() as later from kaixu.job order by created_at, id"
    )
    assert {(row["id"], row["customer_id"], row["later"]) for row in rows} == {
        (first, guest.customer_id, False), (other, guest.customer_id, True)
    }  # fmt: skip
    # A job of another integration, an old one, one that was submitted before, and an unknown one.
    made = [guest.job("guest.work", Payload(), 0, None) for _ in range(3)]
    for job, integration in zip(made, ("another", NAME, NAME), strict=True):
        await store_plugin_job(guest.pool, integration, job)
    await guest.pool.execute(
        "update kaixu.plugin_job set made_at = now() + interval '2 hours' where id = $1", made[1].id
    )
    await guest.raw(f"select kaixu__plugin.enqueue('{made[2].id}')")
    for job_id in (*(job.id for job in made), uuid4()):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await guest.raw(f"select kaixu__plugin.enqueue('{job_id}')")
    assert await guest.pool.fetchval("select count(*) from kaixu.job") == 3
    await guest.assert_clean()


async def test_a_caught_failure_undoes_the_transaction_and_is_an_error_if_a_job_is_lost(guest: Guest) -> None:
    async def caught(*, job: bool) -> None:
        async with guest.db() as db:
            if job:
                await db.enqueue("guest.work", Payload())
            with suppress(asyncpg.PostgresError):
                await db.fetch("select 1 / 0")

    await caught(job=False)
    with pytest.raises(NotAllowed, match="jobs"):
        await caught(job=True)
    assert await guest.pool.fetchval("select count(*) from kaixu.job") == 0


async def test_a_job_that_cannot_be_submitted_leaves_nothing_behind(guest: Guest) -> None:
    guest.customer_id = 4711  # there is no such customer
    with pytest.raises(NotFound):
        async with guest.db() as db:
            await db.enqueue("guest.work", Payload())
    await guest.assert_clean()


async def test_a_transaction_cannot_be_used_after_its_end(guest: Guest) -> None:
    async with guest.db() as db:
        kept = db
    for use in (kept.fetch("select 1"), kept.execute("select 1"), kept.enqueue("guest.work", Payload())):
        with pytest.raises(TicketClosed):
            await use
    guest.open = False
    with pytest.raises(TicketClosed):
        async with guest.db() as db:
            await db.fetch("select 1")


async def test_the_functions_of_plugins_pin_where_they_look(pool: asyncpg.Pool) -> None:
    rows = await pool.fetch(
        """
        select p.proname, p.prosecdef, p.proconfig, has_function_privilege('public', p.oid, 'execute') as anybody
          from pg_proc p where p.pronamespace = 'kaixu__plugin'::regnamespace or p.prosecdef
        """
    )
    assert {row["proname"] for row in rows} == {
        "apply_charges", "apply_effects", "cancel_job", "credit", "drop_blobs", "enqueue", "failure_handled", "job_view",
        "keep_blob", "kept_blobs", "migrated", "receive", "wake_job",
    }  # fmt: skip
    for row in rows:
        assert row["prosecdef"]
        assert not row["anybody"]
        assert row["proconfig"] == ["search_path=pg_catalog, pg_temp"]


async def test_a_plugin_that_hides_the_cores_names_gains_nothing(guest: Guest) -> None:
    guest.customer_id = await customer(guest.pool)
    async with guest.db() as db:
        await db._connection.execute(
            "create function kaixu_guest.clock_timestamp() returns timestamptz language sql as $$ select now() + '1 day' $$"
        )
        await db._connection.execute("set local search_path = kaixu_guest, pg_catalog")
        await db.enqueue("guest.work", Payload())
    assert await guest.pool.fetchval("select run_after <= clock_timestamp() from kaixu.job")


# The role


async def test_a_role_is_made_once_and_brought_back_to_what_it_should_be(guest: Guest) -> None:
    await guest.pool.execute(f"alter role {ROLE} nologin connection limit 3")
    await guest.pool.execute(f"alter role {ROLE} in database {await database_of(guest.pool)} set search_path = public")
    await guest.provide()
    row = await guest.pool.fetchrow(
        "select rolcanlogin, rolsuper, rolcreaterole, rolinherit, rolconnlimit from pg_roles where rolname = $1", ROLE
    )
    assert row is not None
    assert tuple(row) == (True, False, False, False, 50)
    await guest.assert_clean()
    assert await guest.pool.fetchval("select count(*) from pg_auth_members m join pg_roles r on r.oid = m.member where r.rolname = $1", ROLE) == 0  # fmt: skip


async def database_of(pool: asyncpg.Pool) -> str:
    return str(await pool.fetchval("select quote_ident(current_database())"))


async def test_a_verifier_is_one_that_postgres_takes_and_checks(pool: asyncpg.Pool) -> None:
    from kaixu.store.plugin_login import scram_verifier

    verifier = scram_verifier("a password")
    await pool.execute(f"create role kaixu_verified login password '{verifier}'")
    try:
        assert await pool.fetchval("select rolpassword from pg_authid where rolname = 'kaixu_verified'") == verifier
    finally:
        await pool.execute("drop role kaixu_verified")


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("alter role {role} superuser", "rights over the whole server"),
        ("grant pg_read_all_data to {role}", "member of other roles"),
        ("grant usage on schema kaixu to {role}", "may look into the schema kaixu"),
    ],
    ids=["superuser", "a member", "sees the core"],
)
async def test_a_role_that_may_more_is_refused(guest: Guest, what: str, says: str) -> None:
    role = f"kaixu_given_{uuid4().hex[:8]}"
    await guest.pool.execute(f"create role {role} login password 'given'")
    try:
        await guest.pool.execute(what.format(role=role))
        url = as_role(guest.databases.dsn, role, "given")
        with pytest.raises(MigrationError, match=says):
            await guest.provide(url)
        assert says in str(await wrong_with(guest, url))
    finally:
        await guest.pool.execute(f"drop owned by {role}")
        await guest.pool.execute(f"drop role {role}")


def as_role(dsn: str, role: str, password: str) -> str:
    """The same database, as another role."""
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{host}"))


@pytest.mark.parametrize(
    ("database", "says"),
    [
        (None, None),
        ("postgres", "another database than the gateway's"),
        ("no_such_database", "refuses the role of `database_url`"),
    ],
    ids=["right", "another database", "no database"],
)
async def test_a_login_to_another_database_is_refused_and_doctor_reports_it(
    guest: Guest, database: str | None, says: str | None
) -> None:
    role = f"kaixu_given_{uuid4().hex[:8]}"
    await guest.pool.execute(f"create role {role} login password 'given'")
    try:
        parts = urlsplit(as_role(guest.databases.dsn, role, "given"))
        url = urlunsplit(parts._replace(path=f"/{database}") if database else parts)
        if says is None:
            assert await wrong_with(guest, url) is None
            return
        assert says in str(await wrong_with(guest, url))
        with pytest.raises(MigrationError, match=says):
            await guest.provide(url)
    finally:
        await guest.pool.execute(f"drop role {role}")


async def test_doctor_reports_a_login_to_a_server_that_does_not_answer(guest: Guest) -> None:
    assert "no database answers" in str(await wrong_with(guest, "postgresql://a:b@127.0.0.1:1/kaixu"))


async def wrong_with(guest: Guest, url: str) -> str | None:
    """What `kaixu doctor` reports about a `database_url`."""
    async with guest.pool.acquire() as connection:
        return await login_problem(connection, login_from_url(NAME, url), pooler=False)


async def test_a_gateway_that_may_not_create_roles_says_what_to_run_and_accepts_an_existing_role(
    guest: Guest, tmp_path: Path
) -> None:
    mark = uuid4().hex[:8]
    owner, role, name = f"kaixu_owner_{mark}", f"kaixu_given_{mark}", f"given{mark}"
    await guest.pool.execute(f"create role {owner} login password 'own'")
    await guest.pool.execute(f"create role {role} login noinherit password 'given'")
    await guest.pool.execute(f"create schema kaixu_{name} authorization {role}")
    for schema in ("kaixu", "kaixu__plugin"):
        await guest.pool.execute(f"grant all on schema {schema} to {owner} with grant option")
        await guest.pool.execute(f"grant all on all tables in schema {schema} to {owner}")
        await guest.pool.execute(f"grant all on all functions in schema {schema} to {owner} with grant option")
    dsn = as_role(guest.databases.dsn, owner, "own")
    own = await open_pool(dsn)
    databases = PluginDatabases(dsn, ["a secret for tests"], pooler=False)
    databases.pool = own
    try:
        async with own.acquire() as connection:
            with pytest.raises(MigrationError, match=r"create role kaixu_given.*_plugin login noinherit"):
                await databases.provide(connection, name, tmp_path, None)
            with pytest.raises(MigrationError, match="the gateway's own"):
                await databases.provide(connection, name, tmp_path, dsn)
            await databases.provide(connection, name, tmp_path, as_role(dsn, role, "given"))
        async with databases.transaction(name, has_tables=True, is_open=lambda: True, make_job=guest.job) as db:
            assert await db.fetchval("select session_user::text") == role
            await db.enqueue("given.work", Payload())
        assert await guest.pool.fetchval("select count(*) from kaixu.job") == 1
    finally:
        await databases.close()
        await own.close()
        await guest.pool.execute(f"drop owned by {owner}, {role} cascade")
        await guest.pool.execute(f"drop role {owner}, {role}")


async def test_a_connection_that_a_pooler_lends_is_set_up_for_each_transaction(guest: Guest) -> None:
    databases = PluginDatabases(guest.databases.dsn, ["a secret for tests"], pooler=True)
    databases.pool = guest.pool
    databases.logins = guest.databases.logins
    for _ in range(2):
        async with databases.transaction(NAME, has_tables=True, is_open=lambda: True, make_job=guest.job) as db:
            assert isinstance(db, PluginTransaction)
            assert await db.fetchval("select current_setting('search_path')") == "kaixu_guest"
            assert await db.fetchval("select current_setting('statement_timeout')") == "10s"
            await db._connection.execute("set statement_timeout = '1ms'")
    await databases.close()


async def test_a_plugin_reads_and_cancels_jobs_of_its_own_and_of_its_customer_only(guest: Guest) -> None:
    guest.customer_id = await customer(guest.pool)
    async with guest.db() as db:
        mine = await db.enqueue("guest.work", Payload())
        view = await db.job(mine)  # enqueued in this transaction
        assert (view.status, view.attempts, view.error, view.done, view.of) == ("queued", 0, None, None, None)
        assert view.next_at is not None
        job = guest.job("other.work", Payload(), 0, None)
        await insert_job(guest.pool, job)
        for stranger in (job.id, uuid4()):
            for access in (db.job, db.cancel):
                with pytest.raises(NotFound):
                    await access(stranger)
    own, guest.customer_id = guest.customer_id, await customer(guest.pool)
    async with guest.db() as db:
        with pytest.raises(NotFound):
            await db.cancel(mine)
    assert await guest.pool.fetchval("select status from kaixu.job where id = $1", mine) == "queued"
    guest.customer_id = own
    with suppress(ZeroDivisionError):
        async with guest.db() as db:
            assert (await db.cancel(mine)).status == "cancelled"
            raise ZeroDivisionError  # it is cancelled together with the plugin's rows, or not at all
    assert await guest.pool.fetchval("select status from kaixu.job where id = $1", mine) == "queued"
    guest.customer_id = None  # a schedule
    async with guest.db() as db:
        view = await db.cancel(mine)
    assert (view.status, view.error, view.next_at) == ("cancelled", "JOB_CANCELLED", None)


@pytest.mark.parametrize("function", ["job_view", "cancel_job", "enqueue"])
async def test_a_plugin_cannot_use_a_note_that_was_written_for_another(guest: Guest, function: str) -> None:
    job = guest.job("other.work", Payload(), 0, None)
    await insert_job(guest.pool, job)
    note = await allow_job_access(guest.pool, "other", job.id, None)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with guest.db() as db:
            await db.fetch(f"select * from kaixu__plugin.{function}($1)", note)
    assert await guest.pool.fetchval("select status from kaixu.job") == "queued"


async def test_a_failure_is_handled_in_one_transaction_with_the_rows_of_the_plugin(guest: Guest) -> None:
    async with guest.db() as db:
        job_id = await db.enqueue("guest.work", Payload())
    async with guest.db() as db:
        await db.cancel(job_id)
    [due] = await claim_failures(guest.pool, ["guest.work", "guest.more"], lease_s=60, most=9)
    assert (due.id, due.status, due.error_code, due.tries) == (job_id, "cancelled", "JOB_CANCELLED", 1)
    assert await claim_failures(guest.pool, ["guest.work"], lease_s=60, most=9) == []
    first = asyncio.Event()

    async def handle(wait_for: asyncio.Event | None) -> str:
        try:
            async with guest.db() as db:
                await db.execute("insert into note (words) values ($1)", str(uuid4()))
                if wait_for is not None:
                    await wait_for.wait()
                await db.failure_handled(job_id)
                first.set()
        except HandledBefore:
            return "before"
        return "now"

    assert sorted(await asyncio.gather(handle(None), handle(first))) == ["before", "now"]
    async with guest.db() as db:
        assert await db.fetchval("select count(*) from note") == 1
        with pytest.raises(HandledBefore):
            await db.failure_handled(job_id)
    assert await claim_failures(guest.pool, ["guest.work"], lease_s=60, most=9) == []
