"""The schema: applied once, by one at a time, and never over something it does not know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import asyncpg
import pytest

from kaixu.assets import asset
from kaixu.config.database_errors import MigrationError
from kaixu.store.migrate import is_old, migrate, pending, steps_of
from tests.conftest import with_database

ALL = [step.name for step in steps_of(asset("schema"))]


@pytest.fixture
async def blank_dsn(server_dsn: str) -> AsyncIterator[str]:
    """A database with nothing in it."""
    name = f"kaixu_blank_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(server_dsn)
    try:
        await connection.execute(f"create database {name}")
        yield with_database(server_dsn, name)
        await connection.execute(f"drop database {name} with (force)")
    finally:
        await connection.close()


@pytest.fixture
async def blank(blank_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to it."""
    connection = await asyncpg.connect(blank_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def migrated(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database that lacks nothing."""
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


async def relations(connection: asyncpg.Connection) -> set[str]:
    """The tables of the gateway."""
    rows = await connection.fetch("select tablename from pg_tables where schemaname = 'kaixu'")
    return {row["tablename"] for row in rows}


async def test_an_empty_database_gets_everything_and_then_lacks_nothing(blank: asyncpg.Connection) -> None:
    assert await migrate(blank) == ALL
    assert {"customer", "virtual_key", "usage_event", "audit_event", "login_try"} <= await relations(blank)
    assert await migrate(blank) == []


async def test_a_dry_run_lists_what_is_missing_and_applies_nothing(blank: asyncpg.Connection) -> None:
    assert await migrate(blank, dry_run=True) == ALL
    assert await relations(blank) <= {"migration"}
    assert await migrate(blank) == ALL


async def test_of_many_replicas_that_start_at_once_one_migrates(blank_dsn: str) -> None:
    connections = [await asyncpg.connect(blank_dsn) for _ in range(6)]
    try:
        applied = await asyncio.gather(*map(migrate, connections))
    finally:
        for connection in connections:
            await connection.close()
    assert sorted(applied, key=len) == [[]] * 5 + [ALL]


async def test_a_migration_that_fails_leaves_the_database_as_it_was(blank: asyncpg.Connection) -> None:
    # What 0002 makes is there already: 0001 has been applied by the time that is noticed.
    await blank.execute("create schema kaixu; create table kaixu.price (note text)")
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(blank)
    assert await relations(blank) == {"price"}


async def test_a_migration_that_was_edited_after_it_was_applied_is_refused(migrated: asyncpg.Connection) -> None:
    await migrated.execute("update kaixu.migration set sha256 = repeat('0', 64) where name = $1", ALL[0])
    with pytest.raises(MigrationError, match=r"0001_customers\.sql was edited after it was applied: 000000000000"):
        await migrate(migrated)


async def test_a_database_that_is_newer_than_the_code_is_left_alone(migrated: asyncpg.Connection) -> None:
    await migrated.execute(
        """
        insert into kaixu.migration (owner, name, sha256)
        values ('kaixu', 'migrations/9998_later.sql', 'x'), ('kaixu', 'migrations/9999_still_later.sql', 'x')
        """
    )
    await migrated.execute("update kaixu.migration set sha256 = 'x' where name = 'functions/top_up.sql'")
    with pytest.raises(MigrationError, match=r"9998_later\.sql, migrations/9999_still_later\.sql"):
        await migrate(migrated)
    kept = await migrated.fetchval("select sha256 from kaixu.migration where name = 'functions/top_up.sql'")
    assert kept == "x"


async def test_only_changed_functions_are_replaced(migrated: asyncpg.Connection) -> None:
    await migrated.execute("drop function kaixu.unrevoke_device")
    await migrated.execute("update kaixu.migration set sha256 = 'x' where name = 'functions/unrevoke_device.sql'")
    assert await migrate(migrated) == ["functions/unrevoke_device.sql"]
    assert await migrated.fetchval("select kaixu.unrevoke_device(1, 'nobody')") == "unknown"
    assert await migrate(migrated) == []


async def test_a_function_that_the_code_has_dropped_does_not_make_the_database_newer(
    migrated: asyncpg.Connection,
) -> None:
    await migrated.execute(
        "insert into kaixu.migration (owner, name, sha256) values ('kaixu', 'functions/claim_seat.sql', 'x')"
    )
    assert await migrate(migrated) == []


async def test_what_others_keep_in_the_database_is_their_own(migrated: asyncpg.Connection) -> None:
    await migrated.execute(
        "insert into kaixu.migration (owner, name, sha256) values ('a-plugin', 'migrations/0009_theirs.sql', 'x')"
    )
    assert await migrate(migrated) == []


async def test_what_one_owner_has_applied_another_still_needs(migrated: asyncpg.Connection) -> None:
    theirs = steps_of(asset("schema"), owner="a-plugin")
    assert await pending(migrated, theirs) == theirs


async def test_a_migration_that_waits_for_a_long_report_does_not_hold_up_the_calls(
    migrated: asyncpg.Connection, dsn: str
) -> None:
    await migrated.execute("delete from kaixu.migration where name like '%0019_reconcile.sql'")
    await migrated.execute("alter table kaixu.reservation drop column granted_nusd")
    await migrated.execute("alter table kaixu.usage_event drop column granted_nusd")
    report, call = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    try:
        reading = report.transaction()
        await reading.start()
        await report.fetch("select count(*) from kaixu.usage_event")
        migration = asyncio.ensure_future(migrate(migrated))
        async with asyncio.timeout(20):
            waits = (
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            )
            while not await report.fetchval(waits):
                await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            await call.execute("update kaixu.usage_event set duration_ms = 1")
            await call.execute("delete from kaixu.reservation")
        assert not migration.done()
        await reading.commit()
        async with asyncio.timeout(20):
            assert await migration == ["migrations/0019_reconcile.sql"]
    finally:
        await report.close()
        await call.close()


def test_migrations_come_by_number_and_functions_after_them(tmp_path: Path) -> None:
    for name in ("functions/b.sql", "functions/a.sql", "migrations/0010_c.sql", "migrations/0002_d.sql"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("select 1;")
    (tmp_path / "migrations/README.md").write_text("no step")
    steps = steps_of(tmp_path)
    assert [(step.name, step.repeatable) for step in steps] == [
        ("migrations/0002_d.sql", False),
        ("migrations/0010_c.sql", False),
        ("functions/a.sql", True),
        ("functions/b.sql", True),
    ]


async def test_an_older_release_leaves_the_functions_of_a_newer_one_alone(
    blank: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(blank)
    await blank.execute("update kaixu.migration set sha256 = 'older' where name = 'functions/admit.sql'")
    await blank.execute("update kaixu.migration set sha256 = (sha256::integer + 1)::text where name = 'release'")
    assert await migrate(blank) == []
    await blank.execute("update kaixu.migration set sha256 = (sha256::integer - 1)::text where name = 'release'")
    assert await migrate(blank) == ["functions/admit.sql"]


async def offer_pgvector(connection: asyncpg.Connection, folder: Path, version: str) -> None:
    """Let this session's Postgres have another pgvector than it has: one that can do nothing."""
    extension = folder / "extension"
    extension.mkdir()
    (extension / "vector.control").write_text(f"default_version = '{version}'\n")
    (extension / f"vector--{version}.sql").write_text("create type vector;\n")
    await connection.execute(f"set extension_control_path = '{folder}'")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the user of the embedded Postgres can read, too."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_without_pgvector_the_error_says_what_to_install(blank: asyncpg.Connection, dry_run: bool) -> None:
    await blank.execute("set extension_control_path = '/nowhere'")
    with pytest.raises(MigrationError, match=r"no pgvector: install pgvector 0\.8 or newer .*postgresql-\d+-pgvector"):
        await migrate(blank, dry_run=dry_run)
    assert await relations(blank) == set()
    await blank.execute("reset extension_control_path")
    assert await migrate(blank) == ALL


async def test_a_pgvector_that_is_too_old_is_refused_before_anything_is_made(
    blank: asyncpg.Connection, folder: Path
) -> None:
    await offer_pgvector(blank, folder, "0.7.4")
    with pytest.raises(MigrationError, match=r"this Postgres has pgvector 0\.7\.4: install pgvector 0\.8 or newer"):
        await migrate(blank)
    await blank.execute("create extension vector")
    with pytest.raises(MigrationError, match=r"this database has pgvector 0\.7\.4: .* `alter extension vector update`"):
        await migrate(blank)
    assert await relations(blank) == set()


async def test_without_the_right_to_create_pgvector_the_error_says_who_has_it(
    blank: asyncpg.Connection, folder: Path
) -> None:
    await offer_pgvector(blank, folder, "0.8.0")
    name = f"owner_{uuid4().hex[:12]}"
    database = await blank.fetchval("select current_database()")
    await blank.execute(f"create role {name}; grant create on database {database} to {name}; set role {name}")
    with pytest.raises(MigrationError, match="have a superuser run `create extension vector`"):
        await migrate(blank)
    await blank.execute(f"reset role; drop owned by {name}; drop role {name}")


@pytest.mark.parametrize(
    ("version", "old"),
    [("0.7.4", True), ("0.8", False), ("0.8.5", False), ("0.10.0", False), ("1.0", False), ("1", False)],
)
def test_versions_are_compared_as_numbers(version: str, old: bool) -> None:
    assert is_old(version) is old
