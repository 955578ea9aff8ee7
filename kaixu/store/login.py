"""Tries of operators' passwords and second factors, counted over all replicas."""

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


async def operator_login_attempt(
    db: Connection,
    *,
    address_hash: bytes,
    account_hash: bytes,
    known_hash: bytes,
    per_address: int,
    per_account: int,
    in_all: int,
    window_s: int,
) -> int | None:
    """Count one try of an account's password. None: it is allowed; else the seconds until the next one is."""
    wait_s: int | None = await db.fetchval(
        """
        select kaixu.operator_login_attempt(
            p_address_hash => $1, p_account_hash => $2, p_known_hash => $3, p_per_address => $4, p_per_account => $5,
            p_in_all => $6, p_window_s => $7)
        """,
        address_hash,
        account_hash,
        known_hash,
        per_address,
        per_account,
        in_all,
        window_s,
    )
    return wait_s


async def count_operator_try(db: Connection, *, subject_hash: bytes, most: int, window_s: int) -> int | None:
    """Count one try of a second factor. None: it is allowed; else the seconds until the next one is."""
    wait_s: int | None = await db.fetchval(
        "select kaixu.count_operator_try(p_subject_hash => $1, p_most => $2, p_window_s => $3)",
        subject_hash,
        most,
        window_s,
    )
    return wait_s


async def login_succeeded(db: Connection, address_hash: bytes) -> None:
    """Forget the tries of an address that had the right password."""
    await db.execute("select kaixu.login_succeeded(p_address_hash => $1)", address_hash)
