"""The schema of a release, recorded when it is made, so that the next release keeps what its gateways use.

`python -m tests.support.release` records it; run it in a checkout of the release. Functions and statements are stored as
text, because a plain clone of a later commit does not have the files of this one.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import importlib
import json
import pkgutil
import tempfile
from pathlib import Path

import asyncpg
import msgspec

import kaixu.reports
import kaixu.store
from kaixu.assets import asset
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import Step, migrate, steps_of
from kaixu.store.query import Connection, Query

RECORDED = Path(__file__).parent.parent / "store" / "last_release.json"
RECORDED_SQL = RECORDED.with_name("last_release_sql.json.gz")

SIGNATURES = """
    select p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' as signature,
           pg_get_function_result(p.oid) as result
      from pg_catalog.pg_proc p
     where p.pronamespace = 'kaixu'::regnamespace
     order by 1
"""


class Release(msgspec.Struct):
    """`steps`: migrations and functions by name; `digests`: of each function's file."""

    release: int
    steps: list[str]
    digests: dict[str, str]
    signatures: dict[str, str]


class Statement(msgspec.Struct):
    """A statement of a release's code: the names of its row type and its columns, and the types of both ends."""

    row: str
    sql: str
    columns: dict[str, str]
    parameters: list[str]


class ReleaseSql(msgspec.Struct):
    """`functions`: the text of each file by its name; `statements`: all that the code sends by a `Query`."""

    functions: dict[str, str]
    statements: list[Statement]


def digests() -> dict[str, str]:
    """The hash of each function's file, as it is now."""
    return {
        step.name: hashlib.sha256(step.sql.encode()).hexdigest()
        for step in steps_of(asset("schema"))
        if step.repeatable
    }


async def signatures(connection: Connection) -> dict[str, str]:
    """The arguments and the result of each function of a database."""
    return {row["signature"]: row["result"] for row in await connection.fetch(SIGNATURES)}


def last_release() -> Release:
    """The release before this one."""
    return msgspec.json.decode(RECORDED.read_bytes(), type=Release)


def last_release_sql() -> ReleaseSql:
    """The texts of the release before this one."""
    return msgspec.json.decode(gzip.decompress(RECORDED_SQL.read_bytes()), type=ReleaseSql)


def steps_of_last_release() -> list[Step]:
    """What the release before this one applies: its migrations, which are never edited, and its own functions."""
    last, texts = last_release(), last_release_sql()
    migrations = [step for step in steps_of(asset("schema")) if not step.repeatable and step.name in last.steps]
    functions = [
        Step("kaixu", name, sql, hashlib.sha256(sql.encode()).hexdigest(), repeatable=True)
        for name, sql in sorted(texts.functions.items())
    ]
    return migrations + functions


async def statement_of(connection: asyncpg.Connection, row: str, sql: str) -> Statement:
    """Prepare a statement, and describe it."""
    prepared = await connection.prepare(sql)
    columns = {one.name: one.type.name for one in prepared.get_attributes()}
    return Statement(row, sql, columns, [one.name for one in prepared.get_parameters()])


async def statements(connection: asyncpg.Connection) -> list[Statement]:
    """Every statement that this code sends by a `Query`."""
    for room in (kaixu.store, kaixu.reports):
        for module in pkgutil.iter_modules(room.__path__):
            importlib.import_module(f"{room.__name__}.{module.name}")
    return [await statement_of(connection, query.row.__name__, query.sql) for query in Query.registered]


async def described(dsn: str) -> tuple[Release, ReleaseSql]:
    """Apply the schema to an empty database and describe it."""
    connection = await asyncpg.connect(dsn)
    try:
        await migrate(connection)
        number = int((asset("schema") / "release").read_text())
        steps = steps_of(asset("schema"))
        texts = {step.name: step.sql for step in steps if step.repeatable}
        names = [step.name for step in steps]
        return (
            Release(number, names, digests(), await signatures(connection)),
            ReleaseSql(texts, await statements(connection)),
        )
    finally:
        await connection.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        embedded = EmbeddedPostgres(home)
        made, made_sql = asyncio.run(described(embedded.start()))
        embedded.server.cleanup()
    RECORDED.write_text(json.dumps(msgspec.to_builtins(made), indent=1) + "\n")
    RECORDED_SQL.write_bytes(gzip.compress(msgspec.json.encode(made_sql), mtime=0))
