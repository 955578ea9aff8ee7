"""Tries of the operator's password, counted over all replicas."""

from __future__ import annotations

from .query import Connection


async def login_attempt(
    db: Connection, *, address_hash: bytes, per_address: int, in_all: int, window_s: int
) -> int | None:
    """Count one try. None: it may go on; else in how many seconds the next one is taken."""
    wait_s: int | None = await db.fetchval(
        "select kaixu.login_attempt($1, $2, $3, $4)", address_hash, per_address, in_all, window_s
    )
    return wait_s


async def login_succeeded(db: Connection, address_hash: bytes) -> None:
    """Forget the tries of an address that had the right password."""
    await db.execute("select kaixu.login_succeeded($1)", address_hash)
