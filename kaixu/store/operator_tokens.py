"""API tokens of operators, for scripts: only their HMAC is stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from .errors import constraints
from .query import Connection, Query


class OperatorToken(msgspec.Struct, frozen=True):
    """A token in the list."""

    id: int
    name: str
    last4: str
    scopes: list[str]
    operator_id: int | None
    email: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    last_address: str | None
    revoked_at: datetime | None
    revoked_by: str | None


class TokenCheck(msgspec.Struct, frozen=True):
    """A valid token, and the role of its operator; without one it was made with the admin password or by a command."""

    id: int
    name: str
    scopes: list[str]
    expires_at: datetime
    operator_id: int | None
    email: str | None
    role: str | None
    is_old: bool  # stored under another hash than the first one


#: A use is written down once a minute, or when it comes from another address.
CHECK = Query(
    TokenCheck,
    """
    with used as (
        update kaixu.operator_token t
           set last_used_at = now(), last_address = $2
         where t.token_hash = any ($1::bytea[]) and t.revoked_at is null and t.expires_at > now()
           and (t.last_used_at is null or t.last_used_at < now() - interval '1 minute'
                or t.last_address is distinct from $2)
    )
    select t.id, t.name, t.scopes, t.expires_at, t.operator_id, o.email, o.role,
           t.token_hash <> ($1::bytea[])[1] as is_old
      from kaixu.operator_token t
      left join kaixu.operator o on o.id = t.operator_id
     where t.token_hash = any ($1::bytea[]) and t.revoked_at is null and t.expires_at > now() and o.disabled_at is null
    """,
)

LISTED = Query(
    OperatorToken,
    """
    select t.id, t.name, t.last4, t.scopes, t.operator_id, o.email, t.created_by, t.created_at, t.expires_at,
           t.last_used_at, t.last_address, t.revoked_at, t.revoked_by
      from kaixu.operator_token t
      left join kaixu.operator o on o.id = t.operator_id
     where ($1::bigint is null or t.operator_id = $1)
       and ($2 or (t.revoked_at is null and t.expires_at > now()))
       and ($3::bigint is null or t.id < $3)
     order by t.id desc
     limit $4
    """,
)

NEW = Query(
    OperatorToken,
    """
    with made as (
        insert into kaixu.operator_token (name, token_hash, last4, scopes, operator_id, created_by, expires_at,
                                          pepper_id)
        values ($1, $2, $3, $4, $5, $6, now() + make_interval(days => $7), $8)
        returning *
    )
    select t.id, t.name, t.last4, t.scopes, t.operator_id, o.email, t.created_by, t.created_at, t.expires_at,
           t.last_used_at, t.last_address, t.revoked_at, t.revoked_by
      from made t
      left join kaixu.operator o on o.id = t.operator_id
    """,
)

REVOKED = Query(
    OperatorToken,
    """
    with revoked as (
        update kaixu.operator_token t
           set revoked_at = now(), revoked_by = $4
         where t.revoked_at is null
           and ($1::bigint is null or t.id = $1)
           and ($2::text is null or t.name = $2)
           and ($3::bigint is null or t.operator_id = $3)
        returning *
    )
    select t.id, t.name, t.last4, t.scopes, t.operator_id, o.email, t.created_by, t.created_at, t.expires_at,
           t.last_used_at, t.last_address, t.revoked_at, t.revoked_by
      from revoked t
      left join kaixu.operator o on o.id = t.operator_id
    """,
)


async def check_token(db: Connection, hashes: Sequence[bytes], *, address: str) -> TokenCheck | None:
    """The token with one of these hashes, if it is valid now; and note its use."""
    return await CHECK.one(db, list(hashes), address)


async def move_token(db: Connection, token_id: int, token_hash: bytes, *, pepper_id: bytes) -> None:
    """Store a token under another hash."""
    await db.execute(
        "update kaixu.operator_token set token_hash = $2, pepper_id = $3 where id = $1", token_id, token_hash, pepper_id
    )


async def operator_tokens(
    db: Connection, *, operator_id: int | None, with_ended: bool, before_id: int | None, limit: int
) -> list[OperatorToken]:
    """Tokens, the newest first: of one operator, or all; those that are over only `with_ended`."""
    return await LISTED.all(db, operator_id, with_ended, before_id, limit)


async def insert_token(
    db: Connection,
    *,
    name: str,
    token_hash: bytes,
    pepper_id: bytes,
    last4: str,
    scopes: list[str],
    operator_id: int | None,
    created_by: str,
    days: int,
) -> OperatorToken:
    """Add a token. Raises `Conflict` for a name that another one has which is not revoked."""
    with constraints():
        made = await NEW.one(db, name, token_hash, last4, scopes, operator_id, created_by, days, pepper_id)
    assert made is not None
    return made


async def revoke_token(
    db: Connection, *, token_id: int | None, name: str | None, operator_id: int | None, by: str
) -> OperatorToken | None:
    """Revoke one token by its number or name, of one operator or of anybody; None: there is none."""
    assert token_id is not None or name is not None
    return await REVOKED.one(db, token_id, name, operator_id, by)
