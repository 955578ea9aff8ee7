"""Operations of integrations that operators call: the customer that one is about, and its line in the audit log."""

from __future__ import annotations

import asyncpg

from kaixu.store import customers as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.pool import database

from .customers import no_customer

ACTION = "INTEGRATION_OPERATION"


async def require_customer(pool: asyncpg.Pool, customer_id: int) -> None:
    """Raises `NotFound` if there is no such customer, `DatabaseAway`."""
    with database():
        if await store.customer(pool, customer_id) is None:
            raise no_customer(customer_id)


async def audit_operation(
    pool: asyncpg.Pool, *, operation: str, customer_id: int | None, method: str, actor: str, request_id: str
) -> None:
    """Write that an operator calls an operation, before its handler runs: nothing is changed without this line.

    Raises `DatabaseAway`.
    """
    target = "gateway" if customer_id is None else f"customer:{customer_id}"
    with database():
        await write_audit(
            pool,
            AuditEvent(actor, ACTION, target, request_id, meta={"operation": operation, "method": method}),
        )
