"""API tokens of operators, for scripts: named, with scopes, expiring; shown once, and only their HMAC is stored."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping, Sequence

import asyncpg
import msgspec

from kaixu.ops.change_origin import acting
from kaixu.plugin.errors import Forbidden, NotFound, Unprocessable
from kaixu.store import operator_tokens as store
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.operator_tokens import OperatorToken as OperatorToken
from kaixu.store.pool import database

from . import fields
from .key_material import pepper_id
from .operator_identity import ROLES, SCOPES, Identity, role_of

PREFIX = "kx_admin_"
SHAPE = re.compile(r"kx_admin_[A-Za-z0-9_-]{43}")

MAX_NAME = 80
MAX_LISTED = 1000

#: How long a token is valid by default, and at most.
DAYS = 90
MOST_DAYS = 3650

KNOWN = ("name", "scopes", "expires_in_days")


class MadeToken(msgspec.Struct, frozen=True):
    """A new token: its row, and the token itself, which is stored nowhere and shown once."""

    row: OperatorToken
    token: str


def new_token() -> str:
    """A fresh token with 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def is_token_shaped(text: str) -> bool:
    """Whether `text` could be a token."""
    return SHAPE.fullmatch(text) is not None


def token_hash(pepper: str, token: str) -> bytes:
    """What is stored of a token; useless without the pepper."""
    return hmac.digest(pepper.encode(), token.encode(), "sha256")


def read_scopes(value: object) -> list[str]:
    """The scopes of a new token, as a list or as text with commas. Raises `Unprocessable`."""
    if value is None or value in ("", []):
        raise Unprocessable("`scopes` is missing", hint=f"Name some of {', '.join(SCOPES)}.", field="scopes")
    chosen = [name.lower() for name in fields.names(value, "scopes", len(SCOPES))]
    for name in chosen:
        if name not in SCOPES:
            raise Unprocessable(
                f"there is no scope `{name[:40]}`", hint=f"The scopes are {', '.join(SCOPES)}.", field="scopes"
            )
    if not chosen:
        raise Unprocessable("`scopes` is empty", field="scopes")
    return list(dict.fromkeys(chosen))


async def create_token(
    pool: asyncpg.Pool,
    given: Mapping[str, object],
    maker: Identity,
    *,
    pepper: str,
    request_id: str,
) -> MadeToken:
    """Create a token from wire fields, for who makes it: it never may more than its maker.

    Raises `Invalid`, `Unprocessable` naming a field, `Conflict` for a name in use, and `Forbidden` for a scope that the
    maker does not have.
    """
    fields.require_known(given, KNOWN)
    name = fields.text(given.get("name"), "name", MAX_NAME)
    if name is None:
        raise Unprocessable("`name` is missing", hint="Say what the token is for.", field="name")
    scopes = read_scopes(given.get("scopes"))
    days = fields.bounded(given.get("expires_in_days"), "expires_in_days", MOST_DAYS, least=1) or DAYS
    require_scopes(maker, scopes)
    token = new_token()
    with database():
        async with pool.acquire() as connection, connection.transaction():
            made = await store.insert_token(
                connection,
                name=name,
                token_hash=token_hash(pepper, token),
                pepper_id=pepper_id(pepper),
                last4=token[-4:],
                scopes=scopes,
                operator_id=maker.operator_id,
                created_by=acting(maker.actor),
                days=days,
            )
            await write_audit(
                connection,
                AuditEvent(maker.actor, "OPERATOR_TOKEN_CREATE", f"token:{name}", request_id, after=row_of(made)),
            )
    return MadeToken(made, token)


def require_scopes(maker: Identity, scopes: list[str]) -> None:
    """Raises `Forbidden` for a scope that its maker does not have: a token must not open more doors."""
    needed = {"read": "viewer", "operators": "owner"}
    for scope in scopes:
        role = needed.get(scope, "operator")
        if ROLES.index(maker.role) < ROLES.index(role_of(role)):
            raise Forbidden(f"the scope `{scope}` needs the role {role}; yours is {maker.role}", hint="Ask an owner.")
        if maker.scopes is not None and scope not in maker.scopes:
            raise Forbidden(f"this token has no scope `{scope}` to pass on", hint="Log in, or ask an owner.")


async def list_tokens(
    pool: asyncpg.Pool,
    *,
    operator_id: int | None,
    with_ended: bool = False,
    before_id: int | None = None,
    limit: int = MAX_LISTED,
) -> list[OperatorToken]:
    """Tokens, the newest first: of one operator, or all. Raises `DatabaseAway`."""
    with database():
        return await store.operator_tokens(
            pool, operator_id=operator_id, with_ended=with_ended, before_id=before_id, limit=limit
        )


async def revoke_token(
    pool: asyncpg.Pool,
    *,
    token_id: int | None = None,
    name: str | None = None,
    operator_id: int | None = None,
    actor: str,
    request_id: str,
) -> OperatorToken:
    """Revoke a token by its number or name; with `operator_id` only one of that operator. Raises `NotFound`."""
    with database():
        async with pool.acquire() as connection, connection.transaction():
            revoked = await store.revoke_token(
                connection,
                token_id=token_id,
                name=name,
                operator_id=operator_id,
                by=acting(actor),
            )
            if revoked is None:
                raise NotFound("there is no such token", hint="List those that are valid.", code="UNKNOWN_TOKEN")
            await write_audit(
                connection,
                AuditEvent(actor, "OPERATOR_TOKEN_REVOKE", f"token:{revoked.name}", request_id, after=row_of(revoked)),
            )
    return revoked


async def identify_token(pool: asyncpg.Pool, token: str, *, peppers: Sequence[str], address: str) -> Identity | None:
    """Who a token stands for; None where it is unknown, revoked, expired, or its operator is off.

    A token may what its scopes say, and never more than its operator's role now. One that is stored under the old
    pepper is stored under the first one from now on.
    """
    hashes = [token_hash(pepper, token) for pepper in peppers]
    with database():
        row = await store.check_token(pool, hashes, address=address)
        if row is not None and row.is_old:
            await store.move_token(pool, row.id, hashes[0], pepper_id=pepper_id(peppers[0]))
    if row is None:
        return None
    return Identity(
        actor=f"token:{row.name}",
        role=role_of(row.role),
        scopes=frozenset(row.scopes),
        operator_id=row.operator_id,
        email=row.email,
        method="token",
        token_id=row.id,
        expires_at=row.expires_at,
    )
