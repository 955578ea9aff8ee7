"""The key that `--dev` hands out: made once, kept beside the made-up secrets, made again when it stops working."""

from __future__ import annotations

import os
from pathlib import Path

import asyncpg

from .key_material import is_key_shaped, key_hash, new_key

EMAIL = "dev@localhost.localdomain"


async def dev_key(pool: asyncpg.Pool, *, pepper: str, home: Path, cap_nusd: int) -> str:
    """A working key of the development customer."""
    kept = home / "dev-key"
    if kept.exists():
        key = kept.read_text().strip()
        alive = await pool.fetchval(
            "select exists (select from kaixu.virtual_key where key_hash = $1 and revoked_at is null)",
            key_hash(pepper, key),
        )
        if is_key_shaped(key) and alive:
            return key
    key = new_key()
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(hashtext('kaixu.dev_key'))")
        customer_id = await connection.fetchval("select id from kaixu.customer where lower(email) = $1", EMAIL)
        if customer_id is None:
            customer_id = await connection.fetchval(
                "insert into kaixu.customer (email, plan_name, monthly_cap_nusd) values ($1, 'dev', $2) returning id",
                EMAIL,
                cap_nusd,
            )
        key_id = await connection.fetchval(
            """
            with numbered as (select nextval(pg_get_serial_sequence('kaixu.virtual_key', 'id')) as id)
            insert into kaixu.virtual_key (id, chain_id, customer_id, key_hash, key_last4, label, role)
            select id, id, $1, $2, $3, 'dev', 'owner' from numbered
            returning id
            """,
            customer_id,
            key_hash(pepper, key),
            key[-4:],
        )
        await connection.execute(
            """
            insert into kaixu.audit_event (actor, action, target, after)
            values ('system', 'KEY_CREATE', $1, $2)
            """,
            f"key:{key_id}",
            {"customer_id": customer_id, "label": "dev", "key_last4": key[-4:]},
        )
    descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key)
    return key
