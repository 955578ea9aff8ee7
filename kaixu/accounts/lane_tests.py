"""The customer of the gateway's own whose key makes test calls of lanes.

Test calls go through the gate like all others, so they need a key. They are priced at nothing: this customer is never
charged, and the vendor's cost is recorded as for every call. Its key is stored nowhere but as a hash that nobody knows.
Switching the customer off, or revoking its keys, is for operators to decide like for any other.
"""

from __future__ import annotations

import asyncpg

from kaixu.plugin.errors import Conflict
from kaixu.store import customers, keys
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.pool import database

from .customers import create_customer, find_customer
from .keys import create_key

#: `.invalid` is reserved (RFC 2606): no mail can reach it.
EMAIL = "lane-tests@kaixu.invalid"
LABEL = "lane tests"

#: A cap of 0 would refuse every call. Nothing is ever spent of it.
CAP_CENTS = 100

#: Test calls a minute, in all gateways together: each costs the operator something.
CALLS_A_MINUTE = 20


async def lane_test_key(pool: asyncpg.Pool, *, pepper: str, actor: str, request_id: str) -> int:
    """The id of the key that makes test calls; the customer and the key are made when they are missing."""
    with database():
        async with pool.acquire() as connection:
            customer = await customers.customer_of_email(connection, EMAIL)
            if customer is not None and (key := await keys.oldest_active_key(connection, customer.id)) is not None:
                return key.id
    if customer is None:
        given = {"email": EMAIL, "plan_name": "operator", "monthly_cap_cents": CAP_CENTS, "alert_mail": False}
        try:
            customer = await create_customer(pool, given, default_cap_nusd=0, actor=actor, request_id=request_id)
        except Conflict:  # another operator has made it at the same moment
            customer = await find_customer(pool, EMAIL)
    limits = {"label": LABEL, "role": "viewer", "rpm_limit": CALLS_A_MINUTE}
    made = await create_key(pool, customer.id, limits, pepper=pepper, actor=actor, request_id=request_id)
    return made.row.id


async def note_lane_test(
    pool: asyncpg.Pool, lane: str, model: str, deployment: str | None, *, actor: str, request_id: str
) -> None:
    """Write a test call to the audit log, before it is made."""
    meta = {"lane": lane, "model": model, "deployment": deployment}
    with database():
        async with pool.acquire() as connection:
            await write_audit(connection, AuditEvent(actor, "LANE_TEST", f"lane:{lane}", request_id, meta=meta))
