"""Customers: create, change, find; every change and its audit event in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import asyncpg

from kaixu.plugin.errors import Invalid, NotFound
from kaixu.store import customers as store
from kaixu.store import plans
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.cap_alerts import note_cap, note_caps_of_keys
from kaixu.store.customers import Customer, CustomerSettings, ListedCustomer
from kaixu.store.pool import database
from kaixu.store.query import Connection

from . import fields
from .changes import Field, changed, read, settings_of

__all__ = [
    "CHANGEABLE",
    "Customer",
    "ListedCustomer",
    "change_customer",
    "change_customer_in",
    "create_customer",
    "create_customer_in",
    "find_customer",
    "no_customer",
    "wire_names",
]

PLAN = "starter"

#: The value of `monthly_cap_cents` that gives a customer its plan's cap: null leaves the cap as it is.
OF_PLAN = "plan"
CAP = "monthly_cap_nusd"

#: The columns that a plan can set.
PLANNED = (
    CAP,
    "max_devices_per_key",
    "allowed_providers",
    "allowed_models",
    "max_vectors",
    "end_user_cap_nusd",
    "tpm_limit",
    "day_cap_nusd",
)

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
    "max_vectors": Field("max_vectors", lambda value, name: fields.bounded(value, name, fields.MOST_VECTORS)),
    "end_user_cap_cents": Field("end_user_cap_nusd", fields.cents),
    "tpm_limit": Field("tpm_limit", fields.tokens),
    "day_cap_cents": Field("day_cap_nusd", fields.cents),
    "alert_thresholds": Field("alert_thresholds", fields.thresholds),
    "alert_mail": Field("alert_mail", fields.flag),
}


DEFAULTS: dict[str, Any] = {
    "plan_name": PLAN,
    "is_active": True,
    "max_devices_per_key": None,
    "require_install_id": False,
    "allowed_providers": None,
    "allowed_models": None,
    "max_vectors": None,
    "end_user_cap_nusd": None,
    "tpm_limit": None,
    "day_cap_nusd": None,
    "alert_thresholds": None,
    "alert_mail": None,
}


async def create_customer(
    pool: asyncpg.Pool, given: Mapping[str, object], *, default_cap_nusd: int, actor: str, request_id: str
) -> Customer:
    """Create a customer from its wire fields. A cap of 0 is a cap.

    Without a cap, or with a blank one, it gets its plan's, or the default where the plan has none.

    Raises `Invalid` without an email or with a field that does not exist, `Unprocessable`
    naming a field, `Conflict` where the email is taken.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction():
            return await create_customer_in(
                connection, given, default_cap_nusd=default_cap_nusd, actor=actor, request_id=request_id
            )


async def create_customer_in(
    connection: Connection, given: Mapping[str, object], *, default_cap_nusd: int, actor: str, request_id: str
) -> Customer:
    """The same in the caller's transaction."""
    fields.require_known(given, CHANGEABLE)
    given, _ = without_plan_cap(given)
    values = read(CHANGEABLE, given)
    if "email" not in values:
        raise Invalid("`email` is missing", field="email")
    settings = CustomerSettings(**{CAP: default_cap_nusd} | DEFAULTS | values)
    made = await store.insert_customer(connection, settings)
    made = await with_plan(connection, made, set() if CAP in values else {CAP})
    await write_audit(
        connection,
        AuditEvent(actor, "CUSTOMER_CREATE", f"customer:{made.id}", request_id, after=row_of(made)),
    )
    return made


async def change_customer(
    pool: asyncpg.Pool, customer_id: int, given: Mapping[str, object], *, actor: str, request_id: str
) -> Customer:
    """Change the wire fields that are given; they apply from the next admission on. Returns the customer.

    What is cleared gets the value of the plan, as does a cap that is "plan". A value that is the plan's already remains
    the plan's, so that a form that sends every field pins none of them.

    Raises `Invalid` where there is no field or one that does not exist, `Unprocessable` naming
    a field, `NotFound`, `Conflict` where the email is taken.
    """
    with database():
        async with pool.acquire() as connection, connection.transaction():
            return await change_customer_in(connection, customer_id, given, actor=actor, request_id=request_id)


async def change_customer_in(
    connection: Connection, customer_id: int, given: Mapping[str, object], *, actor: str, request_id: str
) -> Customer:
    """The same in the caller's transaction."""
    fields.require_known(given, {*CHANGEABLE, "customer_id"})
    given, has_plan_cap = without_plan_cap(given)
    values = read(CHANGEABLE, given)
    if not has_plan_cap and not CHANGEABLE.keys() & given.keys():
        raise Invalid("nothing to change", hint=f"Send one of {', '.join(CHANGEABLE)}.")
    before = await store.locked_customer(connection, customer_id)
    if before is None:
        raise no_customer(customer_id)
    settings = settings_of(CustomerSettings, before, values)
    own = {name for name in PLANNED if values.get(name) not in (None, getattr(before, name))}
    from_plan = {*before.from_plan} - own | ({CAP} if has_plan_cap else set())
    if settings == settings_of(CustomerSettings, before, {}) and from_plan == {*before.from_plan}:
        return before
    after = await store.update_customer(connection, customer_id, settings)
    after = await with_plan(connection, after, from_plan)
    if after == before:
        return before
    if (before.monthly_cap_nusd, before.alert_thresholds) != (after.monthly_cap_nusd, after.alert_thresholds):
        await note_cap(connection, customer_id=customer_id, chain_id=0)
    if before.alert_thresholds != after.alert_thresholds:
        await note_caps_of_keys(connection, customer_id)
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


def without_plan_cap(given: Mapping[str, object]) -> tuple[Mapping[str, object], bool]:
    """The fields without a cap that is "plan", and whether there was one."""
    cap = given.get("monthly_cap_cents")
    if not isinstance(cap, str) or cap.strip().lower() != OF_PLAN:
        return given, False
    return {name: value for name, value in given.items() if name != "monthly_cap_cents"}, True


async def with_plan(connection: Connection, customer: Customer, from_plan: set[str]) -> Customer:
    """A locked customer with the values of its plan in the columns `from_plan`, and where it has none."""
    await plans.set_from_plan(connection, customer.id, sorted(from_plan))
    await plans.take_plan(connection, customer.id)
    planned = await store.customer(connection, customer.id)
    assert planned is not None
    return planned


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


def wire_names(columns: Iterable[str]) -> list[str]:
    """The wire names of columns."""
    names = {field.column: name for name, field in CHANGEABLE.items()}
    return [names.get(column, column) for column in columns]


def no_customer(id_or_email: object) -> NotFound:
    """The error for a customer that does not exist."""
    return NotFound(f"there is no customer {id_or_email}", code="UNKNOWN_CUSTOMER")
