"""Operators: their rows, passwords, second factors and links to an identity provider."""

from __future__ import annotations

from datetime import datetime

import msgspec

from .errors import constraints
from .query import Connection, Query


class Operator(msgspec.Struct, frozen=True):
    """An operator, as lists and the audit log show it: without its secrets."""

    id: int
    email: str
    name: str | None
    role: str
    has_password: bool
    has_totp: bool
    oidc_issuer: str | None
    disabled_at: datetime | None
    last_login_at: datetime | None
    created_at: datetime


class OperatorSecrets(msgspec.Struct, frozen=True):
    """What a login compares. Texts in `totp_…` are sealed."""

    id: int
    email: str
    role: str
    password_hash: str | None
    totp_secret: bytes | None
    totp_pending: bytes | None
    disabled_at: datetime | None


COLUMNS = """
    o.id, o.email, o.name, o.role, o.password_hash is not null as has_password, o.totp_secret is not null as has_totp,
    o.oidc_issuer, o.disabled_at, o.last_login_at, o.created_at
"""
LOGIN_COLUMNS = "o.id, o.email, o.role, o.password_hash, o.totp_secret, o.totp_pending, o.disabled_at"

# The statements are put together from constants only.
LISTED = Query(Operator, f"select {COLUMNS} from kaixu.operator o order by o.id limit $1")  # noqa: S608
BY_ID = Query(Operator, f"select {COLUMNS} from kaixu.operator o where o.id = $1")  # noqa: S608
BY_EMAIL = Query(Operator, f"select {COLUMNS} from kaixu.operator o where o.email = $1")  # noqa: S608
BY_SUBJECT = Query(
    Operator,
    f"select {COLUMNS} from kaixu.operator o where o.oidc_issuer = $1 and o.oidc_subject = $2",  # noqa: S608
)
LOCKED = Query(Operator, f"select {COLUMNS} from kaixu.operator o where o.id = $1 for update")  # noqa: S608
SECRETS_BY_ID = Query(OperatorSecrets, f"select {LOGIN_COLUMNS} from kaixu.operator o where o.id = $1")  # noqa: S608
SECRETS_BY_EMAIL = Query(
    OperatorSecrets,
    f"select {LOGIN_COLUMNS} from kaixu.operator o where o.email = $1",  # noqa: S608
)
NEW = Query(
    Operator,
    f"""
    insert into kaixu.operator as o (email, name, role, password_hash)
    values ($1, $2, $3, $4)
    returning {COLUMNS}
    """,  # noqa: S608
)
LINKED = Query(
    Operator,
    f"""
    update kaixu.operator o
       set oidc_issuer = $2, oidc_subject = $3
     where o.id = $1 and o.oidc_issuer is null
    returning {COLUMNS}
    """,  # noqa: S608
)


async def operators(db: Connection, most: int) -> list[Operator]:
    """All operators, the oldest first."""
    return await LISTED.all(db, most)


async def operator(db: Connection, operator_id: int) -> Operator | None:
    """One operator."""
    return await BY_ID.one(db, operator_id)


async def locked_operator(db: Connection, operator_id: int) -> Operator | None:
    """One operator, locked until the transaction ends."""
    return await LOCKED.one(db, operator_id)


async def lock_for_change(db: Connection, operator_id: int) -> Operator | None:
    """One operator, locked with all owners until the transaction ends, in the order of change_operator.sql.

    What is read of it before may be outdated by then: a name, a role, that it was switched off.
    """
    await db.execute(
        "select from kaixu.operator o where o.role = 'owner' or o.id = $1 order by o.id for update", operator_id
    )
    return await BY_ID.one(db, operator_id)


async def operator_by_email(db: Connection, email: str) -> Operator | None:
    """The operator with this address."""
    return await BY_EMAIL.one(db, email)


async def operator_by_subject(db: Connection, issuer: str, subject: str) -> Operator | None:
    """The operator that an identity provider knows by this subject."""
    return await BY_SUBJECT.one(db, issuer, subject)


async def secrets_of_operator(db: Connection, operator_id: int) -> OperatorSecrets | None:
    """What a login compares."""
    return await SECRETS_BY_ID.one(db, operator_id)


async def secrets_by_email(db: Connection, email: str) -> OperatorSecrets | None:
    """What a login compares, by address."""
    return await SECRETS_BY_EMAIL.one(db, email)


async def insert_operator(
    db: Connection, *, email: str, name: str | None, role: str, password_hash: str | None
) -> Operator:
    """Add an operator. Raises `Conflict` for an address that one has."""
    with constraints():
        made = await NEW.one(db, email, name, role, password_hash)
    assert made is not None
    return made


async def change_operator(
    db: Connection,
    operator_id: int,
    *,
    name: str | None,
    role: str,
    is_disabled: bool,
    keep_owner: bool,
    by: str,
) -> str:
    """Change an operator: 'changed', 'last_owner' or 'unknown'."""
    outcome: str = await db.fetchval(
        """
        select kaixu.change_operator(
            p_operator_id => $1, p_name => $2, p_role => $3, p_is_disabled => $4, p_keep_owner => $5, p_by => $6)
        """,
        operator_id,
        name,
        role,
        is_disabled,
        keep_owner,
        by,
    )
    return outcome


async def link_operator(db: Connection, operator_id: int, *, issuer: str, subject: str) -> Operator | None:
    """Remember how an identity provider knows an operator. None: another link was there first."""
    return await LINKED.one(db, operator_id, issuer, subject)


async def unlink_operator(db: Connection, operator_id: int) -> None:
    """Forget how the identity provider knows an operator."""
    await db.execute("update kaixu.operator set oidc_issuer = null, oidc_subject = null where id = $1", operator_id)


async def set_password(db: Connection, operator_id: int, password_hash: str | None) -> None:
    """Set, or remove, an operator's password."""
    await db.execute("update kaixu.operator set password_hash = $2 where id = $1", operator_id, password_hash)


async def rehash_password(db: Connection, operator_id: int, before: str, after: str) -> None:
    """Replace a hash by a stronger one of the same password, unless the password was changed meanwhile."""
    await db.execute(
        "update kaixu.operator set password_hash = $3 where id = $1 and password_hash = $2", operator_id, before, after
    )


async def offer_totp(db: Connection, operator_id: int, sealed: bytes) -> None:
    """Keep a secret that the operator has been shown, until a code confirms it."""
    await db.execute("update kaixu.operator set totp_pending = $2 where id = $1", operator_id, sealed)


async def confirm_totp(db: Connection, operator_id: int, sealed: bytes, step: int) -> bool:
    """Make the offered secret the operator's. False: another one was offered meanwhile."""
    done = await db.fetchval(
        """
        update kaixu.operator
           set totp_secret = totp_pending, totp_pending = null, totp_last_step = $3
         where id = $1 and totp_pending = $2
        returning true
        """,
        operator_id,
        sealed,
        step,
    )
    return bool(done)


async def remove_totp(db: Connection, operator_id: int) -> None:
    """Remove the second factor with its recovery codes."""
    await db.execute(
        """
        with codes as (delete from kaixu.operator_recovery_code where operator_id = $1)
        update kaixu.operator
           set totp_secret = null, totp_pending = null, totp_last_step = null
         where id = $1
        """,
        operator_id,
    )


async def take_totp_step(db: Connection, operator_id: int, step: int) -> bool:
    """Use the code of a time step, once: False where that step or a later one was used already."""
    taken = await db.fetchval(
        """
        update kaixu.operator
           set totp_last_step = $2
         where id = $1 and coalesce(totp_last_step, -1) < $2
        returning true
        """,
        operator_id,
        step,
    )
    return bool(taken)


async def replace_recovery_codes(db: Connection, operator_id: int, hashes: list[bytes], *, pepper_id: bytes) -> None:
    """Make these the operator's recovery codes. In a transaction: the old ones go first."""
    await db.execute("delete from kaixu.operator_recovery_code where operator_id = $1", operator_id)
    await db.execute(
        """
        insert into kaixu.operator_recovery_code (operator_id, code_hash, pepper_id) select $1, unnest($2::bytea[]), $3
        """,
        operator_id,
        hashes,
        pepper_id,
    )


async def take_recovery_code(db: Connection, operator_id: int, hashes: list[bytes]) -> bool:
    """Use the recovery code that has one of these hashes, once."""
    taken = await db.fetchval(
        """
        update kaixu.operator_recovery_code
           set used_at = now()
         where operator_id = $1 and code_hash = any ($2::bytea[]) and used_at is null
        returning true
        """,
        operator_id,
        hashes,
    )
    return bool(taken)


async def count_recovery_codes(db: Connection, operator_id: int) -> int:
    """How many recovery codes are left."""
    left: int = await db.fetchval(
        "select count(*) from kaixu.operator_recovery_code where operator_id = $1 and used_at is null", operator_id
    )
    return left


async def note_login(db: Connection, operator_id: int) -> None:
    """Note that an operator has logged in now."""
    await db.execute("update kaixu.operator set last_login_at = now() where id = $1", operator_id)
