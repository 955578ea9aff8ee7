"""The rules of operators: who exists, with which role, and how owners change that. Every change is in the audit log."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg
import msgspec

from kaixu.config.environment import Secrets
from kaixu.ops.change_origin import acting
from kaixu.plugin.errors import Conflict, Forbidden, Invalid, NotFound, Unprocessable
from kaixu.store import operator_sessions as sessions
from kaixu.store import operators as store
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.operator_invitations import withdraw_invitation
from kaixu.store.operators import Operator as Operator
from kaixu.store.operators import OperatorSecrets
from kaixu.store.pool import database
from kaixu.store.query import Connection

from . import fields
from .changes import Field, read
from .operator_factors import count_try
from .operator_identity import ROLES
from .operator_invitations import add_invitation
from .operator_passwords import Passwords, acceptable, new_password

MAX_LISTED = 1000
MAX_NAME = 120

#: What an owner sets when creating an operator, and what may be changed afterwards.
AT_CREATION = ("email", "name", "role", "password", "invite")
CHANGEABLE: Mapping[str, Field] = {
    "name": Field("name", lambda value, field: fields.text(value, field, MAX_NAME)),
    "role": Field("role", lambda value, field: operator_role(value, field), clears=False),
    "is_disabled": Field("is_disabled", fields.flag, clears=False),
}


class MadeOperator(msgspec.Struct, frozen=True):
    """A new operator, or one with a new password or invitation.

    The password is shown once, and only if the gateway made it; so is the invitation's token.
    """

    row: Operator
    password: str | None
    invitation: str | None = None


def operator_role(value: object, field: str) -> str | None:
    """A role of operators; None for null and blank. Raises `Unprocessable`."""
    name = fields.text(value, field, 40)
    if name is not None and name.lower() not in ROLES:
        raise Unprocessable(f"`{field}` must be one of {', '.join(ROLES)}", field=field)
    return None if name is None else name.lower()


async def list_operators(pool: asyncpg.Pool) -> list[Operator]:
    """All operators, the oldest first. Raises `DatabaseAway`."""
    with database():
        return await store.operators(pool, MAX_LISTED)


async def find_operator(pool: asyncpg.Pool, which: str | int) -> Operator:
    """An operator by number or address. Raises `NotFound`."""
    text = str(which).strip()
    with database():
        if text.isascii() and text.isdigit() and len(text) < 19:
            row = await store.operator(pool, int(text))
        else:
            row = await store.operator_by_email(pool, text.lower())
    if row is None:
        raise no_operator(text[:80] if text.isprintable() else "…")
    return row


async def create_operator(
    pool: asyncpg.Pool, passwords: Passwords, given: Mapping[str, object], *, actor: str, request_id: str
) -> MadeOperator:
    """Create an operator from wire fields. Without a `password` the gateway makes one, or with `invite` an invitation.

    Raises `Invalid` for a field that does not exist, `Unprocessable` naming a field, `Conflict` for a known address.
    """
    fields.require_known(given, AT_CREATION)
    email = fields.email(given.get("email"), "email")
    if email is None:
        raise Unprocessable("`email` is missing", field="email")
    role = operator_role(given.get("role"), "role") or "viewer"
    name = fields.text(given.get("name"), "name", MAX_NAME)
    invite = fields.flag(given.get("invite"), "invite")
    if invite and given.get("password") is not None:
        raise Unprocessable("send either `password` or `invite`", field="invite")
    password, made_password = (None, None) if invite else chosen_password(given)
    password_hash = None if password is None else await passwords.hash(password)
    invitation = None
    with database():
        async with pool.acquire() as connection, connection.transaction():
            made = await store.insert_operator(
                connection, email=email, name=name, role=role, password_hash=password_hash
            )
            await write_audit(
                connection,
                AuditEvent(actor, "OPERATOR_CREATE", f"operator:{email}", request_id, after=row_of(made)),
            )
            if invite:
                invitation = await add_invitation(connection, made, actor=actor, request_id=request_id)
    return MadeOperator(made, made_password, invitation)


def chosen_password(given: Mapping[str, object]) -> tuple[str, str | None]:
    """The new password, and what is shown of it: a given one is not shown again. Raises `Unprocessable`."""
    if given.get("password") is not None:
        return acceptable(given["password"], "password"), None
    password = new_password()
    return password, password


async def change_operator(
    pool: asyncpg.Pool,
    operator_id: int,
    given: Mapping[str, object],
    *,
    keep_owner: bool,
    actor: str,
    request_id: str,
) -> Operator:
    """Change an operator's name or role, or switch it off or on. Switching off ends its sessions; its tokens stop, too.

    `keep_owner`: the last owner stays one. Raises `Unprocessable` naming a field, `NotFound`, `Conflict`.
    """
    fields.require_known(given, {*CHANGEABLE, "operator_id"})
    values = read(CHANGEABLE, given)
    if not values:
        raise Unprocessable("nothing to change", hint=f"Send one of {', '.join(CHANGEABLE)}.")
    with database():
        async with pool.acquire() as connection, connection.transaction():
            before = await store.lock_for_change(connection, operator_id)
            if before is None:
                raise no_operator(operator_id)
            outcome = await store.change_operator(
                connection,
                operator_id,
                name=values.get("name", before.name),
                role=values.get("role", before.role),
                is_disabled=values.get("is_disabled", before.disabled_at is not None),
                keep_owner=keep_owner,
                by=acting(actor),
            )
            if outcome == "last_owner":
                raise Conflict(
                    f"{before.email} is the last owner", hint="Make another operator an owner first.", code="LAST_OWNER"
                )
            after = await existing(connection, operator_id)
            await write_audit(
                connection,
                AuditEvent(
                    actor, "OPERATOR_UPDATE", f"operator:{before.email}", request_id, row_of(before), row_of(after)
                ),
            )
    return after


async def reset_password(
    pool: asyncpg.Pool,
    passwords: Passwords,
    operator_id: int,
    given: Mapping[str, object],
    *,
    actor: str,
    request_id: str,
) -> MadeOperator:
    """Give an operator a new password, made by the gateway unless `password` is given; its sessions end.

    Raises `Unprocessable`, `NotFound`.
    """
    password, made_password = chosen_password(given)
    password_hash = await passwords.hash(password)
    with database():
        async with pool.acquire() as connection, connection.transaction():
            row = await replace_password(connection, operator_id, password_hash, but=None, actor=actor)
            await write_audit(
                connection, AuditEvent(actor, "OPERATOR_PASSWORD_RESET", f"operator:{row.email}", request_id)
            )
    return MadeOperator(row, made_password)


async def unlink_operator(pool: asyncpg.Pool, operator_id: int, *, actor: str, request_id: str) -> Operator:
    """Forget which user of the identity provider an operator is: the next one with its address is.

    Raises `NotFound`.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction():
            row = await store.locked_operator(connection, operator_id)
            if row is None:
                raise no_operator(operator_id)
            await store.unlink_operator(connection, operator_id)
            await write_audit(connection, AuditEvent(actor, "OPERATOR_UNLINK", f"operator:{row.email}", request_id))
    return row


async def invite_operator(pool: asyncpg.Pool, operator_id: int, *, actor: str, request_id: str) -> MadeOperator:
    """Make a link by which an operator chooses a password; the one before is worth nothing. Raises `NotFound`."""
    with database():
        async with pool.acquire() as connection, connection.transaction():
            row = await store.locked_operator(connection, operator_id)
            if row is None:
                raise no_operator(operator_id)
            invitation = await add_invitation(connection, row, actor=actor, request_id=request_id)
    return MadeOperator(row, None, invitation)


async def change_own_password(
    pool: asyncpg.Pool,
    passwords: Passwords,
    operator_id: int,
    *,
    current: str,
    new: str,
    session_id: int | None,
    secrets_: Secrets,
    actor: str,
    request_id: str,
) -> None:
    """Change one's own password; all other sessions end.

    Raises `Forbidden` where the current one is wrong, `RateLimited` after too many tries.
    """
    row = await require_own_password(pool, passwords, operator_id, current, secrets_)
    if row.password_hash is None:
        raise Conflict("you have no password: you log in with single sign-on", hint="An owner can give you one.")
    password_hash = await passwords.hash(new)
    with database():
        async with pool.acquire() as connection, connection.transaction():
            await replace_password(connection, operator_id, password_hash, but=session_id, actor=actor)
            await write_audit(
                connection, AuditEvent(actor, "OPERATOR_PASSWORD_CHANGE", f"operator:{row.email}", request_id)
            )


async def require_own_password(
    pool: asyncpg.Pool, passwords: Passwords, operator_id: int, password: str, secrets_: Secrets
) -> OperatorSecrets:
    """Check an operator's password again within its session; one without a password needs none.

    Raises `Invalid` where it is missing, `Forbidden` where it is wrong, and `RateLimited` after too many tries.
    """
    with database():
        row = await store.secrets_of_operator(pool, operator_id)
        if row is None:
            raise no_operator(operator_id)
        if row.password_hash is None:
            return row
        if not password:
            raise Invalid("`password` is missing", hint="Send your current password.", field="password")
        await count_try(pool, f"own password of operator {operator_id}", secrets_)
    if not await passwords.verify(row.password_hash, password):
        raise Forbidden("the current password is wrong")
    return row


async def replace_password(
    connection: Connection, operator_id: int, password_hash: str, *, but: int | None, actor: str
) -> Operator:
    """Store a password and end the sessions, `but` one; an invitation is over. Raises `NotFound`."""
    row = await store.locked_operator(connection, operator_id)
    if row is None:
        raise no_operator(operator_id)
    await store.set_password(connection, operator_id, password_hash)
    await withdraw_invitation(connection, operator_id)
    by = acting(actor)
    await sessions.revoke_sessions(connection, operator_id=operator_id, but=but, by=by)
    return await existing(connection, operator_id)


async def existing(connection: Connection, operator_id: int) -> Operator:
    """An operator that was there a moment ago, in the same transaction."""
    row = await store.operator(connection, operator_id)
    assert row is not None
    return row


def no_operator(which: object) -> NotFound:
    """The error for an operator that does not exist."""
    return NotFound(f"there is no operator {which}", code="UNKNOWN_OPERATOR")
