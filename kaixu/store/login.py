"""Tries of the operator's password, counted over all replicas."""

from __future__ import annotations

from .query import Connection


async def login_attempt(
    db: Connection, *, address_hash: bytes, per_address: int, in_all: int, window_s: int
) -> int | None:
    """Count one try. None: it is allowed; else the seconds until the next one is."""
    wait_s: int | None = await db.fetchval(
        """
        select kaixu.login_attempt(
            p_address_hash => $1, p_per_address => $2, p_in_all => $3, p_window_s => $4)
        """,
        address_hash,
        per_address,
        in_all,
        window_s,
    )
    return wait_s


async def login_succeeded(db: Connection, address_hash: bytes) -> None:
    """Forget the tries of an address that had the right password."""
    await db.execute("select kaixu.login_succeeded(p_address_hash => $1)", address_hash)
