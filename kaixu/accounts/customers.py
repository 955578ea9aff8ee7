"""Customers: create, change, find; every change and its audit event in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg

from kaixu.plugin.errors import Invalid, NotFound
from kaixu.store import customers as store
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.customers import Customer, CustomerSettings, ListedCustomer
from kaixu.store.pool import database

from . import fields
from .changes import Field, changed, read, settings_of

__all__ = [
    "CHANGEABLE",
    "Customer",
    "ListedCustomer",
    "change_customer",
    "create_customer",
    "find_customer",
    "no_customer",
]

PLAN = "starter"

#: Wire name → where it goes and how it is read. Null clears a field, or leaves it if it cannot be empty.
CHANGEABLE: dict[str, Field] = {
    "email": Field("email", fields.email, clears=False),
    "plan_name": Field("plan_name", lambda value, name: fields.text(value, name, 40), clears=False),
    "monthly_cap_cents": Field("monthly_cap_nusd", fields.cents, clears=False),
    "is_active": Field("is_active", fields.flag, clears=False),
    "max_devices_per_key": Field(
        "max_devices_per_key", lambda value, name: fields.bounded(value, name, fields.MOST_DEVICES)
    ),
    "require_install_id": Field("require_install_id", fields.flag, clears=False),
    "allowed_providers": Field("allowed_providers", fields.providers),
    "allowed_models": Field("allowed_models", fields.models),
    "stripe_customer_id": Field("stripe_customer_id", lambda value, name: fields.text(value, name, 200)),
    "auto_topup_enabled": Field("auto_topup_enabled", fields.flag, clears=False),
    "auto_topup_threshold_cents": Field("auto_topup_threshold_nusd", fields.cents),
    "auto_topup_amount_cents": Field("auto_topup_amount_nusd", fields.cents),
    "max_vectors": Field("max_vectors", lambda value, name: fields.bounded(value, name, fields.MOST_VECTORS)),
    "end_user_cap_cents": Field("end_user_cap_nusd", fields.cents),
}


async def create_customer(
    pool: asyncpg.Pool, given: Mapping[str, object], *, default_cap_nusd: int, actor: str, request_id: str
) -> Customer:
    """Create a customer from its wire fields. Without a cap, or with a blank one, it gets the default; 0 is a cap.

    Raises `Invalid` without an email or with a field that does not exist, `Unprocessable`
    naming a field, `Conflict` where the email is taken.
    """
    fields.require_known(given, CHANGEABLE)
    values = read(CHANGEABLE, given)
    if "email" not in values:
        raise Invalid("`email` is missing", field="email")
    defaults: dict[str, Any] = {
        "plan_name": PLAN,
        "is_active": True,
        "max_devices_per_key": None,
        "require_install_id": False,
        "allowed_providers": None,
        "allowed_models": None,
        "stripe_customer_id": None,
        "auto_topup_enabled": False,
        "auto_topup_threshold_nusd": None,
        "auto_topup_amount_nusd": None,
        "max_vectors": None,
        "end_user_cap_nusd": None,
    }
    settings = CustomerSettings(**{"monthly_cap_nusd": default_cap_nusd} | defaults | values)
    with database():
        async with pool.acquire() as connection, connection.transaction():
            made = await store.insert_customer(connection, settings)
            await write_audit(
                connection,
                AuditEvent(actor, "CUSTOMER_CREATE", f"customer:{made.id}", request_id, after=row_of(made)),
            )
    return made


async def change_customer(
    pool: asyncpg.Pool, customer_id: int, given: Mapping[str, object], *, actor: str, request_id: str
) -> Customer:
    """Change the wire fields that are given; they apply from the next admission on. Returns the customer.

    Raises `Invalid` where there is no field or one that does not exist, `Unprocessable` naming
    a field, `NotFound`, `Conflict` where the email is taken.
    """
    fields.require_known(given, {*CHANGEABLE, "customer_id"})
    values = read(CHANGEABLE, given)
    if not CHANGEABLE.keys() & given.keys():
        raise Invalid("nothing to change", hint=f"Send one of {', '.join(CHANGEABLE)}.")
    with database():
        async with pool.acquire() as connection, connection.transaction():
            before = await store.locked_customer(connection, customer_id)
            if before is None:
                raise no_customer(customer_id)
            settings = settings_of(CustomerSettings, before, values)
            if settings == settings_of(CustomerSettings, before, {}):
                return before
            after = await store.update_customer(connection, customer_id, settings)
            await write_audit(
                connection,
                AuditEvent(
                    actor,
                    "CUSTOMER_UPDATE",
                    f"customer:{customer_id}",
                    request_id,
                    row_of(before),
                    row_of(after),
                    {"fields": changed(CHANGEABLE, before, after)},
                ),
            )
    return after


async def find_customer(pool: asyncpg.Pool, id_or_email: str) -> Customer:
    """The customer with this id or email. Raises `NotFound`."""
    with database():
        if "@" in id_or_email:
            customer = await store.customer_of_email(pool, id_or_email)
        else:
            customer = await store.customer(pool, fields.identifier(id_or_email, "customer"))
    if customer is None:
        raise no_customer(id_or_email)
    return customer


def no_customer(id_or_email: object) -> NotFound:
    """The error for a customer that does not exist."""
    return NotFound(f"there is no customer {id_or_email}", code="UNKNOWN_CUSTOMER")
