"""Sessions of operators: a row for each login; what is revoked there is refused by every process at once."""

from __future__ import annotations

from datetime import datetime

import msgspec

from .query import Connection, Query


class SessionCheck(msgspec.Struct, frozen=True):
    """A valid session and its operator; without an operator it is one of the admin password."""

    id: int
    method: str
    password_mark: bytes | None
    created_at: datetime
    expires_at: datetime
    operator_id: int | None
    email: str | None
    name: str | None
    role: str | None
    has_totp: bool


class OperatorSession(msgspec.Struct, frozen=True):
    """A session in the list."""

    id: int
    operator_id: int | None
    email: str | None
    method: str
    address: str | None
    user_agent: str | None
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    revoked_by: str | None


#: A use is written down once a minute, or when it comes from another address.
CHECK = Query(
    SessionCheck,
    """
    with seen as (
        update kaixu.operator_session s
           set last_seen_at = now(), address = $2, user_agent = $3
         where s.id_hash = $1 and s.revoked_at is null and s.expires_at > now()
           and (s.last_seen_at < now() - interval '1 minute' or s.address is distinct from $2)
    )
    select s.id, s.method, s.password_mark, s.created_at, s.expires_at, s.operator_id, o.email, o.name, o.role,
           coalesce(o.totp_secret is not null, false) as has_totp
      from kaixu.operator_session s
      left join kaixu.operator o on o.id = s.operator_id
     where s.id_hash = $1 and s.revoked_at is null and s.expires_at > now() and o.disabled_at is null
    """,
)

LISTED = Query(
    OperatorSession,
    """
    select s.id, s.operator_id, o.email, s.method, s.address, s.user_agent, s.created_at, s.last_seen_at, s.expires_at,
           s.revoked_at, s.revoked_by
      from kaixu.operator_session s
      left join kaixu.operator o on o.id = s.operator_id
     where ($1::bigint is null or s.operator_id = $1)
       and ($2 or (s.revoked_at is null and s.expires_at > now() and o.disabled_at is null))
       and ($3::bigint is null or s.id < $3)
     order by s.id desc
     limit $4
    """,
)

REVOKED = Query(
    OperatorSession,
    """
    with revoked as (
        update kaixu.operator_session s
           set revoked_at = now(), revoked_by = $4
         where s.revoked_at is null and s.expires_at > now()
           and ($1::bigint is null or s.id = $1)
           and ($2::bigint is null or s.operator_id = $2)
           and ($3::bigint is null or s.id <> $3)
        returning s.*
    )
    select s.id, s.operator_id, o.email, s.method, s.address, s.user_agent, s.created_at, s.last_seen_at, s.expires_at,
           s.revoked_at, s.revoked_by
      from revoked s
      left join kaixu.operator o on o.id = s.operator_id
     order by s.id
    """,
)


async def insert_session(
    db: Connection,
    *,
    id_hash: bytes,
    operator_id: int | None,
    method: str,
    password_mark: bytes | None,
    address: str,
    user_agent: str | None,
    lifetime_s: int,
    password_hash: str | None = None,
) -> int | None:
    """Begin a session, and return its number.

    None where the operator has been switched off meanwhile, or the password with this hash has been changed.
    """
    session_id: int | None = await db.fetchval(
        """
        insert into kaixu.operator_session (id_hash, operator_id, method, password_mark, address, user_agent,
                                            expires_at)
        select $1, $2::bigint, $3, $4, $5, $6, now() + make_interval(secs => $7)
         where $2::bigint is null
            or exists (select from kaixu.operator o
                        where o.id = $2 and o.disabled_at is null and ($8::text is null or o.password_hash = $8)
                          for share)
        returning id
        """,
        id_hash,
        operator_id,
        method,
        password_mark,
        address,
        user_agent,
        lifetime_s,
        password_hash,
    )
    return session_id


async def check_session(db: Connection, id_hash: bytes, *, address: str, user_agent: str | None) -> SessionCheck | None:
    """The session with this id, if it is valid now; and note its use."""
    return await CHECK.one(db, id_hash, address, user_agent)


async def operator_sessions(
    db: Connection, *, operator_id: int | None, with_ended: bool, before_id: int | None, limit: int
) -> list[OperatorSession]:
    """Sessions, the newest first: of one operator, or all; those that are over only `with_ended`."""
    return await LISTED.all(db, operator_id, with_ended, before_id, limit)


async def revoke_sessions(
    db: Connection,
    *,
    session_id: int | None = None,
    operator_id: int | None = None,
    but: int | None = None,
    by: str,
) -> list[OperatorSession]:
    """End valid sessions: one, those of an operator, or all; `but` one. Returns those that were ended."""
    return await REVOKED.all(db, session_id, operator_id, but, by)


async def revoke_session_by_hash(db: Connection, id_hash: bytes, *, by: str) -> None:
    """End a session by its random id, as a login does with the one it replaces."""
    await db.execute(
        """
        update kaixu.operator_session
           set revoked_at = now(), revoked_by = $2
         where id_hash = $1 and revoked_at is null
        """,
        id_hash,
        by,
    )


async def prune_sessions(db: Connection, days: int) -> None:
    """Remove sessions that have been over for a while; the audit log keeps their logins."""
    await db.execute("delete from kaixu.operator_session where expires_at < now() - make_interval(days => $1)", days)


async def begin_oidc_login(db: Connection, browser_hash: bytes, *, most: int, lifetime_s: int) -> bool:
    """Remember a login that begins at the identity provider; False where too many have begun. Old ones go."""
    begun = await db.fetchval(
        """
        with gone as (
            delete from kaixu.operator_oidc_login where created_at < now() - make_interval(secs => $3)
        )
        insert into kaixu.operator_oidc_login (browser_hash)
        select $1
         where (select count(*) from kaixu.operator_oidc_login
                 where created_at >= now() - make_interval(secs => $3)) < $2
        returning true
        """,
        browser_hash,
        most,
        lifetime_s,
    )
    return bool(begun)


async def take_oidc_login(db: Connection, browser_hash: bytes, *, lifetime_s: int) -> bool:
    """End a login that has begun, once; False where there is none."""
    taken = await db.fetchval(
        """
        delete from kaixu.operator_oidc_login
         where browser_hash = $1 and created_at >= now() - make_interval(secs => $2)
        returning true
        """,
        browser_hash,
        lifetime_s,
    )
    return bool(taken)
