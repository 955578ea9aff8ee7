"""Bringing the database to the schema this code was written for: numbered files once, functions when they changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from kaixu.assets import asset

from .query import Session

#: One runner at a time, over all replicas: "kaixu" in ASCII.
LOCK = 0x6B61697875

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


#: The row of `kaixu.migration` that says which release's functions are in force; its `sha256` is the release.
RELEASE_ROW = ("kaixu", "release")


def release() -> int:
    """The release of the schema that comes along; raised with every release that changes a function."""
    return int(asset("schema/release").read_text())


class MigrationError(Exception):
    """The database and the schema files contradict each other."""


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


async def pending(connection: Session, steps: list[Step]) -> list[Step]:
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
        raise MigrationError(f"the database is newer than this code: it has {', '.join(newer)}")
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


async def applied(connection: Session, step: Step) -> None:
    """Run one file. Raises `MigrationError` where Postgres has no pgvector, or does not let us switch it on."""
    try:
        await connection.execute(step.sql)
    except (asyncpg.FeatureNotSupportedError, asyncpg.UndefinedFileError, asyncpg.InsufficientPrivilegeError) as error:
        if "extension" not in str(error) and "vector" not in str(error):
            raise
        raise MigrationError(
            "this Postgres has no pgvector, or lets us not switch it on: install the package of its version "
            "(Debian: postgresql-NN-pgvector, 0.8 or newer), and run `create extension vector` in this database "
            "as a superuser if need be"
        ) from error


async def migrate(connection: Session, *, dry_run: bool = False) -> list[str]:
    """Apply what is missing, all of it in one transaction; return the names applied (or, dry, needed).

    Safe to call from any number of replicas at once: an advisory lock lets one at a time through.
    """
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
        await connection.execute(BOOTSTRAP)
        needed = await pending(connection, steps_of(asset("schema")))
        if not dry_run and needed:
            # What a function calls may come after it in the alphabet.
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
                await applied(connection, step)
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
