"""How an integration logs in to the database: as a role of its own, with a derived password that is stored nowhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from typing import Any

import asyncpg
import msgspec

from .plugin_schema import role_of, schema_of
from .pool import database

CONNECT_S = 5.0

#: The longest that a statement may take, and that a transaction may stand idle, in seconds.
STATEMENT_S = 10
IDLE_S = 15

ITERATIONS = 4096


class PluginLogin(msgspec.Struct, frozen=True):
    """The database address and role of an integration. Its representation never shows the password.

    `user` is None where the operator gives a whole address: then the role is the one in that address, without
    `passwords`. Else these are derived from the present DB_ENCRYPTION_KEY and, while it is being replaced, from the one
    before: gateways that have both accept either. The role has the one at `accepted`.
    """

    name: str
    dsn: str
    user: str | None
    passwords: tuple[str, ...] = ()
    accepted: int = 0

    def __repr__(self) -> str:
        return f"PluginLogin({self.name!r})"

    async def connect(self, *, pooler: bool) -> asyncpg.Connection:
        """A connection. Raises `DatabaseAway`, and asyncpg's `InvalidAuthorizationSpecificationError`."""
        with database():
            try:
                return await asyncpg.connect(**self.connect_arguments(pooler=pooler))
            except asyncpg.ProtocolViolationError as error:  # how PgBouncer says that it does not know a role
                raise asyncpg.InvalidAuthorizationSpecificationError(str(error)) from None

    def connect_arguments(self, *, pooler: bool) -> dict[str, Any]:
        """The arguments for asyncpg."""
        session = {"application_name": f"kaixu plugin {self.name}"}
        if not pooler:  # a pooler refuses what it does not know; each transaction sets them, too
            session |= {
                "search_path": schema_of(self.name),
                "statement_timeout": f"{STATEMENT_S}s",
                "idle_in_transaction_session_timeout": f"{IDLE_S}s",
            }
        user = {} if self.user is None else {"user": self.user, "password": self.passwords[self.accepted]}
        return {
            "dsn": self.dsn,
            "timeout": CONNECT_S,
            "statement_cache_size": 0,  # `discard all` forgets prepared statements
            "server_settings": session,
            **user,
        }


def derived_login(name: str, dsn: str, *secrets: str) -> PluginLogin:
    """The login that the gateway makes: every gateway with the same secrets finds the same passwords."""
    about = f"kaixu database role of an integration\0{name}".encode()
    passwords = tuple(hmac.new(secret.encode(), about, hashlib.sha256).hexdigest() for secret in secrets)
    return PluginLogin(name, dsn, role_of(name), passwords)


def login_from_url(name: str, url: str) -> PluginLogin:
    """The login that the operator gives as `database_url`."""
    return PluginLogin(name, url, None)


def scram_verifier(password: str) -> str:
    """What Postgres stores of a password (RFC 5803), so that the password itself is in no statement and in no log."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    salt_, stored, server = (base64.b64encode(one).decode() for one in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256${ITERATIONS}:{salt_}${stored}:{server}"
