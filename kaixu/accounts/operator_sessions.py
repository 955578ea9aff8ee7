"""Sessions of operators: begun by a login, checked at every request, listed and revoked."""

from __future__ import annotations

import hashlib
import hmac
import secrets

import asyncpg
import msgspec

from kaixu.config.environment import Secrets
from kaixu.config.operators_section import OperatorsSection
from kaixu.config.tags import printable
from kaixu.ops.change_origin import acting
from kaixu.plugin.errors import NotFound, Unauthenticated
from kaixu.store import operator_sessions as store
from kaixu.store import operators
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.operator_sessions import OperatorSession as OperatorSession
from kaixu.store.pool import database
from kaixu.store.query import Connection

from .operator_identity import Identity, role_of

MAX_AGENT = 240
MAX_LISTED = 1000


class LoginClient(msgspec.Struct, frozen=True):
    """Who logs in: the client's address and program. `replaces`: the random id of the session that it had."""

    address: str
    user_agent: str | None
    request_id: str
    replaces: str | None = None


class BegunSession(msgspec.Struct, frozen=True):
    """A new session: its number, and the random id that only its token carries."""

    number: int
    random_id: str
    lifetime_s: int
    identity: Identity


def id_hash(random_id: str) -> bytes:
    """What is stored of a session's random id, which has 256 bits: it needs no key."""
    return hashlib.sha256(random_id.encode("utf-8", "surrogatepass")).digest()


def password_mark(pepper: str, admin_password: str) -> bytes:
    """A mark of the admin password, under the pepper: a session that was begun with another one is over."""
    return hmac.digest(pepper.encode(), b"admin password " + admin_password.encode(), "sha256")


async def begin_session(
    db: Connection,
    client: LoginClient,
    *,
    method: str,
    section: OperatorsSection,
    operator: operators.Operator | None,
    mark: bytes | None = None,
    password_hash: str | None = None,
) -> BegunSession:
    """Begin a session with a new random id, and end the one that the client had. In the caller's transaction.

    Raises `Unauthenticated` where the operator was switched off, or the password changed, since it was read.
    """
    random_id = secrets.token_urlsafe(32)
    lifetime_s = section.session_h * 3600
    number = await store.insert_session(
        db,
        id_hash=id_hash(random_id),
        operator_id=None if operator is None else operator.id,
        method=method,
        password_mark=mark,
        address=client.address,
        user_agent=printable(client.user_agent or "", MAX_AGENT) or None,
        lifetime_s=lifetime_s,
        password_hash=password_hash,
    )
    if number is None:
        raise Unauthenticated("Invalid credentials")
    if client.replaces is not None:
        await store.revoke_session_by_hash(db, id_hash(client.replaces), by="a new login")
    identity = Identity(actor="admin", role="owner", method=method, session_id=number)
    if operator is not None:
        await operators.note_login(db, operator.id)
        identity = Identity(
            actor=f"operator:{operator.email}",
            role=role_of(operator.role),
            operator_id=operator.id,
            email=operator.email,
            name=operator.name,
            method=method,
            session_id=number,
            has_totp=operator.has_totp,
        )
    return BegunSession(number, random_id, lifetime_s, identity)


async def identify_session(
    pool: asyncpg.Pool,
    random_id: str,
    *,
    section: OperatorsSection,
    secrets_: Secrets,
    address: str,
    user_agent: str | None,
) -> Identity | None:
    """Who a session belongs to; None where it is revoked, over, or not allowed any more. Raises `DatabaseAway`.

    The role is the operator's now, not the one of the login.
    """
    with database():
        row = await store.check_session(
            pool, id_hash(random_id), address=address, user_agent=printable(user_agent or "", MAX_AGENT) or None
        )
    if row is None:
        return None
    if row.method == "admin_password":
        marks = [password_mark(pepper, secrets_.admin_password) for pepper in secrets_.key_peppers]
        is_same = any(hmac.compare_digest(row.password_mark or b"", mark) for mark in marks)
        if not section.admin_password or not is_same:
            return None
        return Identity(actor="admin", role="owner", method=row.method, session_id=row.id, expires_at=row.expires_at)
    if section.sso_only and row.method != "oidc":
        return None
    return Identity(
        actor=f"operator:{row.email}",
        role=role_of(row.role),
        operator_id=row.operator_id,
        email=row.email,
        name=row.name,
        method=row.method,
        session_id=row.id,
        expires_at=row.expires_at,
        has_totp=row.has_totp,
    )


async def list_sessions(
    pool: asyncpg.Pool,
    *,
    operator_id: int | None,
    with_ended: bool = False,
    before_id: int | None = None,
    limit: int = MAX_LISTED,
) -> list[OperatorSession]:
    """Sessions, the newest first: of one operator, or all. Raises `DatabaseAway`."""
    with database():
        return await store.operator_sessions(
            pool, operator_id=operator_id, with_ended=with_ended, before_id=before_id, limit=limit
        )


async def end_sessions(
    pool: asyncpg.Pool,
    *,
    session_id: int | None = None,
    operator_id: int | None = None,
    but: int | None = None,
    action: str = "OPERATOR_SESSION_REVOKE",
    actor: str,
    request_id: str,
) -> list[OperatorSession]:
    """End one session, or those of an operator `but` one. Every process refuses them from now on.

    Raises `NotFound` where one is named that does not run.
    """
    assert session_id is not None or operator_id is not None
    with database():
        async with pool.acquire() as connection, connection.transaction():
            ended = await store.revoke_sessions(
                connection,
                session_id=session_id,
                operator_id=operator_id,
                but=but,
                by=acting(actor),
            )
            for one in ended:
                await write_audit(connection, session_event(action, one, actor=actor, request_id=request_id))
    if session_id is not None and not ended:
        raise NotFound(f"there is no open session {session_id}", hint="List the open ones.")
    return ended


def session_event(action: str, session: OperatorSession, *, actor: str, request_id: str) -> AuditEvent:
    """The audit event of a session that ends."""
    whose = session.email or "admin"
    meta = {"session_id": session.id, "method": session.method, "address": session.address}
    return AuditEvent(actor, action, f"operator:{whose}", request_id, meta=meta)
