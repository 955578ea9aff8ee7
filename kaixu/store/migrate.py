"""Migrates the database to the schema of this code: numbered files once, functions when they have changed."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from kaixu.assets import asset
from kaixu.config.database_errors import MigrationError

from .query import DatabaseSession

log = logging.getLogger(__name__)

#: One runner at a time, over all replicas: "kaixu" in ASCII.
LOCK = 0x6B61697875

#: How long a migration waits for a table at one time, the pause after it, and how often it is tried.
LOCK_WAIT_MS = 1000
LOCK_PAUSE_S = 2.0
LOCK_ATTEMPTS = 100

#: The first pgvector that continues an index search until enough rows pass the filter.
OLDEST_VECTOR = (0, 8)

BOOTSTRAP = """
create schema if not exists kaixu;
create table if not exists kaixu.migration (
    owner       text        not null,
    name        text        not null,
    sha256      text        not null,
    applied_at  timestamptz not null default now(),
    primary key (owner, name)
);
"""


#: The row of `kaixu.migration` with the release of the functions that are installed, in `sha256`.
RELEASE_ROW = ("kaixu", "release")


def release() -> int:
    """The release of this code's schema; raised with every release that changes a function."""
    return int(asset("schema/release").read_text())


@dataclass(frozen=True)
class Step:
    """One file to apply: `name` is its path below the schema folder."""

    owner: str
    name: str
    sql: str
    sha256: str
    repeatable: bool


def steps_of(folder: Path, owner: str = "kaixu") -> list[Step]:
    """Every file of a schema folder in the order of application: migrations by number, then functions by name."""
    steps = []
    for kind, repeatable in (("migrations", False), ("functions", True)):
        for path in sorted((folder / kind).glob("*.sql")):
            sql = path.read_text(encoding="utf-8")
            digest = hashlib.sha256(sql.encode()).hexdigest()
            steps.append(Step(owner, f"{kind}/{path.name}", sql, digest, repeatable))
    return steps


async def pending(connection: DatabaseSession, steps: list[Step]) -> list[Step]:
    """The steps that this database still needs.

    Raises `MigrationError` for a migration that was edited after it was applied,
    and for a database that has migrations this code does not know. Functions of a
    newer release are left as they are: a replica of the last one, started during a
    rolling deploy, must not put its own over them.
    """
    rows = await connection.fetch("select owner, name, sha256 from kaixu.migration")
    applied = {(row["owner"], row["name"]): row["sha256"] for row in rows}
    newest = int(applied.get(RELEASE_ROW, "0"))
    known = {(step.owner, step.name) for step in steps}
    owners = {step.owner for step in steps}
    newer = sorted(
        name
        for owner, name in applied
        if owner in owners and (owner, name) not in known and name.startswith("migrations/")
    )
    if newer:
        raise MigrationError(
            f"the database is newer than this code: it has {', '.join(newer)}; use the newer version of kaixu"
        )
    needed = []
    for step in steps:
        before = applied.get((step.owner, step.name))
        if before is None or (step.repeatable and before != step.sha256 and newest <= release()):
            needed.append(step)
        elif before != step.sha256 and not step.repeatable:
            raise MigrationError(
                f"{step.name} was edited after it was applied: "
                f"{before[:12]} in the database, {step.sha256[:12]} in the file"
            )
    return needed


def is_old(version: str) -> bool:
    """Whether a pgvector is too old: before 0.8 an index searched with a filter may find less than there is."""
    numbers = [int(part) for part in re.findall(r"\d+", version)[:2]]
    return tuple(numbers) < OLDEST_VECTOR


async def provide_vector(connection: DatabaseSession, *, dry_run: bool) -> None:
    """Switch pgvector on in this database. Raises `MigrationError` where it is missing, too old, or not ours."""
    major = await connection.fetchval("select current_setting('server_version_num')::integer / 10000")
    available = await connection.fetchval("select default_version from pg_available_extensions where name = 'vector'")
    installed = await connection.fetchval("select extversion from pg_extension where extname = 'vector'")
    needed = ".".join(map(str, OLDEST_VECTOR))
    package = (
        f"pgvector {needed} or newer (Debian, Ubuntu: postgresql-{major}-pgvector; on Debian 12 and older from "
        "PostgreSQL's own archive, https://apt.postgresql.org)"
    )
    if installed is None and available is None:
        raise MigrationError(f"this Postgres has no pgvector: install {package} on its server")
    if installed is not None and is_old(installed):
        raise MigrationError(
            f"this database has pgvector {installed}: install {package} on its server, "
            "then run `alter extension vector update` in the database"
        )
    if installed is None and is_old(available):
        raise MigrationError(f"this Postgres has pgvector {available}: install {package} on its server")
    if installed is not None or dry_run:
        return
    try:
        await connection.execute("create extension if not exists vector")
    except asyncpg.InsufficientPrivilegeError:
        raise MigrationError(
            "this user may not switch on pgvector: have a superuser run `create extension vector` in the database"
        ) from None


async def migrate(connection: DatabaseSession, *, dry_run: bool = False) -> list[str]:
    """Apply what is missing, all of it in one transaction; return the names applied (or, dry, needed).

    Safe to call from any number of replicas at once: an advisory lock lets one at a time through. A migration that
    waits for a table makes every later call wait behind it, so it soon gives way and is tried again.
    Raises `MigrationError`.
    """
    for attempt in range(LOCK_ATTEMPTS):
        if attempt:
            await asyncio.sleep(LOCK_PAUSE_S)
        try:
            return await migrate_once(connection, dry_run=dry_run)
        except asyncpg.LockNotAvailableError:
            log.warning("a migration waits for a table that a long transaction uses; it is tried again")
    raise MigrationError(
        "a migration needs a table that a long transaction uses all the time: see pg_stat_activity, then start again"
    )


async def migrate_once(connection: DatabaseSession, *, dry_run: bool) -> list[str]:
    """See `migrate`. Raises `LockNotAvailableError` where a table is in use for too long."""
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
        await connection.execute(f"set local lock_timeout = '{LOCK_WAIT_MS}ms'")
        await connection.execute(BOOTSTRAP)
        needed = await pending(connection, steps_of(asset("schema")))
        if needed:
            await provide_vector(connection, dry_run=dry_run)
        if not dry_run and needed:
            # Functions are created in alphabetical order; one may call a later one.
            await connection.execute("set local check_function_bodies = off")
            for step in needed:
                await connection.execute(
                    """
                    insert into kaixu.migration (owner, name, sha256) values ($1, $2, $3)
                    on conflict (owner, name) do update set sha256 = excluded.sha256, applied_at = now()
                    """,
                    step.owner,
                    step.name,
                    step.sha256,
                )
                await connection.execute(step.sql)
            await connection.execute(
                """
                insert into kaixu.migration as m (owner, name, sha256) values ($1, $2, $3)
                on conflict (owner, name) do update set sha256 = excluded.sha256, applied_at = now()
                 where m.sha256::integer < excluded.sha256::integer
                """,
                *RELEASE_ROW,
                str(release()),
            )
    return [step.name for step in needed]
