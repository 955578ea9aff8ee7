"""An integration's own tables: a schema and a role for each, and its numbered files applied under that role."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import asyncpg

from .migrate import LOCK, MigrationError, Step
from .query import Session

#: `0001_deliveries.sql`
FILE = re.compile(r"[0-9]{4}_[a-z0-9_]{1,60}\.sql")
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")

#: The core's own schema, however it is written.
CORE = re.compile(r'\bkaixu\s*"?\s*\.|"kaixu"', re.IGNORECASE)

#: What would leave the plugin's role; in a plugin there is no honest use for it.
ROLES = re.compile(
    r"\b(?:re)?set\s+(?:(?:local|session)\s+)?(?:role|session\s+authorization|authorization)\b|\breset\s+all\b|\bset_config\b"
    r"|\bsecurity\s+definer\b|\bdiscard\b",
    re.IGNORECASE,
)


def schema_of(name: str) -> str:
    """The schema of an integration's tables. Raises `MigrationError` for a name that can have none."""
    name = name.replace("-", "_")
    if not NAME.fullmatch(name):
        raise MigrationError(f"integration `{name[:60]}` cannot have tables: it needs a name of lower-case letters")
    return f"kaixu_{name}"


def role_of(name: str) -> str:
    """The role that owns them, and nothing else."""
    return f"{schema_of(name)}_plugin"


#: What would end the transaction that a file is applied in, and with it the plugin's role.
TRANSACTIONS = re.compile(
    r"(?:^|;)\s*(?:commit|rollback|end|abort|begin|start|savepoint|release|prepare\s+transaction)\b", re.IGNORECASE
)
COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
TEXTS = re.compile(r"\$([A-Za-z_]*)\$.*?\$\1\$|'(?:[^']|'')*'", re.DOTALL)


def without_words(sql: str) -> str:
    """Statements without their comments, texts and bodies."""
    return TEXTS.sub(" ", COMMENTS.sub(" ", sql))


def steps_in(name: str, folder: Path) -> list[Step]:
    """The files of an integration, by number. Raises `MigrationError` for what may not be there."""
    if not folder.is_dir():
        raise MigrationError(f"integration `{name}` has no folder {folder.name} beside its module")
    steps = []
    for path in sorted(folder.glob("*.sql")):
        if not FILE.fullmatch(path.name):
            raise MigrationError(f"{name}: {path.name} must be called 0001_what.sql")
        sql = path.read_text(encoding="utf-8")
        if CORE.search(sql):
            raise MigrationError(f"{name}: {path.name} names the schema `kaixu`, which is the core's own")
        bare = without_words(sql)
        if ROLES.search(bare) or CORE.search(bare):
            raise MigrationError(f"{name}: {path.name} changes roles, which a plugin may not")
        if TRANSACTIONS.search(bare):
            raise MigrationError(f"{name}: {path.name} ends its transaction, which a plugin may not")
        digest = hashlib.sha256(sql.encode()).hexdigest()
        steps.append(Step(name, path.name, sql, digest, repeatable=False))
    return steps


async def migrate_plugin(connection: Session, name: str, folder: Path, *, dry_run: bool = False) -> list[str]:
    """Apply what is missing, in one transaction; return the names. Raises `MigrationError`."""
    steps = steps_in(name, folder)
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
        rows = await connection.fetch("select name, sha256 from kaixu.migration where owner = $1", f"plugin:{name}")
        applied = {row["name"]: row["sha256"] for row in rows}
        needed = [step for step in steps if step.name not in applied]
        for step in steps:
            if applied.get(step.name, step.sha256) != step.sha256:
                raise MigrationError(f"{name}: {step.name} was edited after it was applied; add another file instead")
        if missing := sorted(applied.keys() - {step.name for step in steps}):
            raise MigrationError(f"{name}: the database has {', '.join(missing)}, which this version does not know")
        if dry_run:
            return [step.name for step in needed]
        await provide_role(connection, name)
        for step in needed:
            await connection.execute(
                "insert into kaixu.migration (owner, name, sha256) values ($1, $2, $3)",
                f"plugin:{name}",
                step.name,
                step.sha256,
            )
            await connection.execute(f"set local role {role_of(name)}")
            await connection.execute(f"set local search_path = {schema_of(name)}")
            try:
                await connection.execute(step.sql)
            except asyncpg.PostgresError as error:
                raise MigrationError(f"{name}: {step.name} failed: {error}") from error
            await connection.execute("set local role none")
            await connection.execute("set local search_path to default")
    return [step.name for step in needed]


async def provide_role(connection: Session, name: str) -> None:
    """The role and the schema, made where they are not there. Raises `MigrationError` where we may not."""
    role, schema = role_of(name), schema_of(name)
    v16 = await connection.fetchval("select current_setting('server_version_num')::integer >= 160000")
    there = await connection.fetchval("select true from pg_roles where rolname = $1", role)
    try:
        if not there:
            await connection.execute(f"create role {role} nologin noinherit")
        if not await connection.fetchval("select pg_has_role(current_user, $1, $2)", role, "SET" if v16 else "MEMBER"):
            await connection.execute(f"grant {role} to current_user")
        await connection.execute(f"create schema if not exists {schema} authorization {role}")
    except asyncpg.InsufficientPrivilegeError:
        raise MigrationError(
            f"integration `{name}` needs a role for its tables, and this database user may not make one: have a "
            f"superuser run `create role {role} nologin noinherit` and `grant {role} to` it"
        ) from None


def refused(sql: str) -> str | None:
    """Why a plugin may not run this statement; None if it may."""
    if ROLES.search(sql):
        return "a plugin may not change roles or settings"
    if CORE.search(sql):
        return "a plugin's statements see its own schema only"
    return None
