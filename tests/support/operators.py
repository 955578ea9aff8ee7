"""Operators for tests: an admin token whose session is in every test's database, and named operators with tokens."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import asyncpg

from kaixu.accounts.operator_sessions import password_mark
from kaixu.config.environment import Secrets
from kaixu.edge.tokens import make_admin_token
from kaixu.store.query import Connection
from tests.support.process import SECRETS

#: The random id of a session that every test's database has (tests/conftest.py).
SESSION = "session-of-the-tests"


def secrets_for_tests() -> Secrets:
    """The secrets of the gateways that tests start."""
    return Secrets(
        admin_password=SECRETS["ADMIN_PASSWORD"],
        jwt_secret=SECRETS["JWT_SECRET"],
        key_pepper=SECRETS["KEY_PEPPER"],
        db_encryption_key=SECRETS["DB_ENCRYPTION_KEY"],
    )


async def insert_session(
    db: Connection, random_id: str = SESSION, *, operator_id: int | None = None, method: str = "admin_password"
) -> int:
    """Begin a session without a login; without an operator it is one of the admin password."""
    number: int = await db.fetchval(
        """
        insert into kaixu.operator_session (id_hash, operator_id, method, password_mark, expires_at)
        values ($1, $2, $3, $4, now() + interval '12 hours')
        returning id
        """,
        hashlib.sha256(random_id.encode()).digest(),
        operator_id,
        method,
        password_mark(SECRETS["KEY_PEPPER"], SECRETS["ADMIN_PASSWORD"]),
    )
    return number


def admin_token(random_id: str = SESSION) -> str:
    """The admin token of a session."""
    return make_admin_token(SECRETS["JWT_SECRET"], random_id)


def admin_headers(random_id: str = SESSION) -> dict[str, str]:
    """The credential of an owner."""
    return {"authorization": f"Bearer {admin_token(random_id)}"}


async def operator_with_role(pool: asyncpg.Pool, role: str, email: str | None = None) -> tuple[int, dict[str, str]]:
    """A named operator with a session: its number and its credential."""
    email = email or f"{role}@example.com"
    operator_id = await pool.fetchval(
        "insert into kaixu.operator (email, role) values ($1, $2) returning id", email, role
    )
    await insert_session(pool, f"session of {email}", operator_id=operator_id, method="password")
    return operator_id, admin_headers(f"session of {email}")


async def token_with_scopes(pool: asyncpg.Pool, *scopes: str, operator_id: int | None = None, **more: Any) -> str:
    """An API token."""
    token = "kx_admin_" + hashlib.sha256(f"{scopes} {operator_id} {more}".encode()).hexdigest()[:43]
    hashed = hmac.digest(SECRETS["KEY_PEPPER"].encode(), token.encode(), "sha256")
    await pool.execute(
        """
        insert into kaixu.operator_token (name, token_hash, last4, scopes, operator_id, created_by, expires_at)
        values ($1, $2, $3, $4, $5, 'cli', now() + interval '1 day')
        """,
        f"for {' '.join(scopes)} {operator_id}",
        hashed,
        token[-4:],
        list(scopes),
        operator_id,
    )
    return token
