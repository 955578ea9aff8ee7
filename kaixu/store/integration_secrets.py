"""The secrets that customers have at integrations: sealed, with what may be shown of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from kaixu.ops.change_origin import acting
from kaixu.plugin.errors import NotFound

from .audit import AuditEvent, write_audit
from .pool import database
from .query import Connection, DatabaseSession, Query


class SecretName(msgspec.Struct, frozen=True):
    """Which secret."""

    customer_id: int
    integration: str
    name: str


class StoredSecret(msgspec.Struct, frozen=True):
    """A secret, without its value."""

    customer_id: int
    integration: str
    name: str
    meta: dict[str, Any]
    set_at: datetime
    set_by: str


class SealedSecret(msgspec.Struct, frozen=True):
    """A secret's sealed value, and which it is."""

    sealed: bytes
    version: str


SEALED = Query(
    SealedSecret,
    """
    select sealed, kaixu.secret_version(p_sealed => sealed) as version
      from kaixu.integration_secret
     where customer_id = $1 and integration = $2 and name = $3
    """,
)

SHOWN = Query(
    StoredSecret,
    """
    select customer_id, integration, name, meta, set_at, set_by
      from kaixu.integration_secret
     where customer_id = $1
     order by integration, name
    """,
)

HELD = Query(
    SecretName,
    "select customer_id, integration, name from kaixu.integration_secret where customer_id = any ($1::bigint[])",
)

# The lock is that of the customer's deletion: what it removes does not come back.
PUT = Query(
    StoredSecret,
    """
    insert into kaixu.integration_secret as s (customer_id, integration, name, sealed, meta, set_by)
    select c.id, $2, $3, $4, $5, $6
      from (select id from kaixu.customer where id = $1 and deleted_at is null for share) c
    on conflict (customer_id, integration, name) do update
       set sealed = excluded.sealed, meta = excluded.meta, set_by = excluded.set_by, set_at = clock_timestamp()
    returning customer_id, integration, name, meta, set_at, set_by
    """,
)

CLEAR = """
    delete from kaixu.integration_secret
     where customer_id = $1 and integration = $2 and name = $3
       and ($4::text is null or kaixu.secret_version(p_sealed => sealed) = $4)
"""


async def sealed_secret(db: Connection, secret: SecretName) -> SealedSecret | None:
    """The sealed value, or None. Raises `DatabaseAway`."""
    with database():
        return await SEALED.one(db, secret.customer_id, secret.integration, secret.name)


async def secrets_of_customer(db: Connection, customer_id: int) -> list[StoredSecret]:
    """All secrets of a customer, also of integrations that are off. Raises `DatabaseAway`."""
    with database():
        return await SHOWN.all(db, customer_id)


async def held_secrets(db: Connection, customer_ids: Sequence[int]) -> list[SecretName]:
    """Which secrets these customers have."""
    return await HELD.all(db, list(customer_ids))


async def put_secret(
    db: DatabaseSession,
    secret: SecretName,
    sealed: bytes,
    meta: Mapping[str, Any],
    *,
    actor: str,
    request_id: str | None,
) -> StoredSecret:
    """Store a value, with its entry in the audit log. Raises `NotFound`, `DatabaseAway`."""
    with database():
        async with db.transaction():
            row = await PUT.one(
                db, secret.customer_id, secret.integration, secret.name, sealed, dict(meta), acting(actor)
            )
            if row is None:
                raise NotFound(f"there is no customer {secret.customer_id}", code="UNKNOWN_CUSTOMER")
            await write_audit(db, audit_of("SECRET_SET", secret, actor, request_id))
    return row


async def clear_secret(
    db: DatabaseSession, secret: SecretName, *, actor: str, request_id: str | None, version: str | None = None
) -> bool:
    """Remove a value, with its entry in the audit log; whether there was one, or that `version`.

    Raises `DatabaseAway`.
    """
    with database():
        async with db.transaction():
            status = await db.execute(CLEAR, secret.customer_id, secret.integration, secret.name, version)
            if status == "DELETE 0":
                return False
            await write_audit(db, audit_of("SECRET_CLEAR", secret, actor, request_id))
    return True


def audit_of(action: str, secret: SecretName, actor: str, request_id: str | None) -> AuditEvent:
    """The entry for a change: which secret, and nothing of its value."""
    meta = {"integration": secret.integration, "name": secret.name}
    return AuditEvent(actor, action, f"customer:{secret.customer_id}", request_id, meta=meta)
