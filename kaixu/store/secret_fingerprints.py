"""Fingerprints of the secrets with which a database was set up: salted, and useless without the secret."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .query import Connection, Query


class Fingerprint(msgspec.Struct, frozen=True):
    """The fingerprint of one secret, by the name of its variable."""

    name: str
    salt: bytes
    fingerprint: bytes


FINGERPRINTS = Query(
    Fingerprint, "select name, salt, fingerprint from kaixu.secret_fingerprint where name = any ($1) order by name"
)

INSERT = """
    insert into kaixu.secret_fingerprint (name, salt, fingerprint)
    select * from unnest($1::text[], $2::bytea[], $3::bytea[])
    on conflict (name) do nothing
"""

REPLACE = """
    insert into kaixu.secret_fingerprint (name, salt, fingerprint) values ($1, $2, $3)
    on conflict (name) do update
       set salt = excluded.salt, fingerprint = excluded.fingerprint, created_at = now()
"""


async def fingerprints(db: Connection, names: Sequence[str]) -> list[Fingerprint]:
    """The stored fingerprints of these secrets."""
    return await FINGERPRINTS.all(db, list(names))


async def insert_fingerprints(db: Connection, rows: Sequence[Fingerprint]) -> None:
    """Store fingerprints that are not there yet; of several processes the first one's stay."""
    columns = zip(*map(msgspec.structs.astuple, rows), strict=True)
    await db.execute(INSERT, *map(list, columns))


async def replace_fingerprint(db: Connection, row: Fingerprint) -> None:
    """Store a fingerprint in place of the one that is there."""
    await db.execute(REPLACE, row.name, row.salt, row.fingerprint)
