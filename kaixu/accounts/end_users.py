"""The monthly cap of one end user of a customer."""

from __future__ import annotations

import asyncpg

from kaixu.config.tags import MOST_END_USER, end_user_tag
from kaixu.plugin.errors import Invalid, Unprocessable
from kaixu.store import end_users as store
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.customers import locked_customer
from kaixu.store.end_users import EndUser
from kaixu.store.pool import database

from .customers import no_customer

__all__ = ["EndUser", "end_user_name", "set_end_user_cap"]


def end_user_name(value: object, field: str) -> str:
    """The name as requests send it. Raises `Invalid` where it is missing, `Unprocessable` for what no call can have."""
    if value is None or value == "":
        raise Invalid(f"`{field}` is missing", field=field)
    if not isinstance(value, str):
        raise Unprocessable(f"`{field}` must be text", field=field)
    name = value.strip()
    if not name or end_user_tag(name) != name:
        raise Unprocessable(f"`{field}` must be 1 to {MOST_END_USER} printable characters", field=field)
    return name


async def set_end_user_cap(
    pool: asyncpg.Pool, customer_id: int, name: str, cap_nusd: int | None, *, actor: str, request_id: str
) -> EndUser:
    """Give an end user a cap of its own, from the next call on; None: the customer's cap for each end user holds.

    Raises `NotFound` for an unknown customer.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction():
            if await locked_customer(connection, customer_id) is None:
                raise no_customer(customer_id)
            before = await store.end_user(connection, customer_id, name)
            if before.monthly_cap_nusd == cap_nusd:
                return before
            await store.set_end_user_cap(connection, customer_id, name, cap_nusd)
            after = await store.end_user(connection, customer_id, name)
            await write_audit(
                connection,
                AuditEvent(
                    actor,
                    "END_USER_CAP",
                    f"customer:{customer_id}",
                    request_id,
                    row_of(before),
                    row_of(after),
                    {"end_user": name},
                ),
            )
    return after
