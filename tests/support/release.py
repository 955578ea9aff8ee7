"""The functions of a schema release, recorded when it is made, so that the next release keeps them.

`python -m tests.support.release` records the schema; run it in a checkout of the release.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from pathlib import Path

import asyncpg
import msgspec

from kaixu.assets import asset
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate, steps_of
from kaixu.store.query import Connection

RECORDED = Path(__file__).parent.parent / "store" / "last_release.json"

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


async def described(dsn: str) -> Release:
    """Apply the schema to an empty database and describe it."""
    connection = await asyncpg.connect(dsn)
    try:
        await migrate(connection)
        number = int((asset("schema") / "release").read_text())
        steps = [step.name for step in steps_of(asset("schema"))]
        return Release(number, steps, digests(), await signatures(connection))
    finally:
        await connection.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        embedded = EmbeddedPostgres(home)
        made = asyncio.run(described(embedded.start()))
        embedded.server.cleanup()
    RECORDED.write_text(json.dumps(msgspec.to_builtins(made), indent=1) + "\n")
