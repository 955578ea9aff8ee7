"""Billing details of customers: who is on the invoice, and at which tax; every change is in the audit log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import asyncpg

from kaixu.accounts import fields
from kaixu.accounts.changes import Field, changed, read, settings_of
from kaixu.accounts.customers import no_customer
from kaixu.plugin.errors import Invalid, Unprocessable
from kaixu.store import billing as store
from kaixu.store import customers
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.billing import Billing
from kaixu.store.invoices import lock_billing
from kaixu.store.pool import database

from .compose import billing_json
from .tax import checked_tax_id

MOST_LINES = 6
MOST_LINE = 100


def country(value: object, field: str) -> str | None:
    """A country as two capitals; None for null and blank."""
    code = fields.text(value, field, fields.MOST_NAME)
    if code is None:
        return None
    if not re.fullmatch(r"[A-Za-z]{2}", code):
        raise Unprocessable(f"`{field}` must be two letters, like DE (ISO 3166)", field=field)
    return code.upper()


def address(value: object, field: str) -> list[str]:
    """The lines of an address; [] for null. Text is split at line breaks."""
    if isinstance(value, str):
        value = value.splitlines()
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MOST_LINES:
        raise Unprocessable(f"`{field}` must be at most {MOST_LINES} lines of text", field=field)
    lines = [fields.text(one, f"{field}[{at}]", MOST_LINE) for at, one in enumerate(value)]
    return [line for line in lines if line]


def tax_rate(value: object, field: str) -> int | None:
    """A rate in percent, as hundredths of a percent; None for null and blank."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 20:
        raise Unprocessable(f"`{field}` must be a rate in percent", field=field)
    try:
        rate = Decimal(str(value).strip())
    except InvalidOperation:
        raise Unprocessable(f"`{field}` must be a rate in percent", field=field) from None
    if not rate.is_finite() or not 0 <= rate <= 100 or rate * 100 != int(rate * 100):
        raise Unprocessable(f"`{field}` must lie between 0 and 100, with at most two decimals", field=field)
    return int(rate * 100)


#: Wire name → where it goes and how it is read. Null clears a field.
CHANGEABLE: dict[str, Field] = {
    "name": Field("name", lambda value, name: fields.text(value, name, 200)),
    "address": Field("address", address),
    "country": Field("country", country),
    "tax_id": Field("tax_id", lambda value, name: fields.text(value, name, 40)),
    "email": Field("email", fields.email),
    "tax_rate_percent": Field("tax_rate", tax_rate),
    "tax_note": Field("tax_note", lambda value, name: fields.text(value, name, 300)),
    "mail_invoices": Field("mail_invoices", fields.switch),
}


def details_json(row: Billing) -> dict[str, Any]:
    """The details, with what is not on the invoice."""
    return billing_json(row) | {"mail_invoices": row.mail_invoices}


async def find_billing(pool: asyncpg.Pool, customer_id: int) -> Billing:
    """The billing details of a customer. Raises `NotFound`."""
    with database():
        if await customers.customer(pool, customer_id) is None:
            raise no_customer(customer_id)
        return await store.billing(pool, customer_id)


async def change_billing(
    pool: asyncpg.Pool, customer_id: int, given: Mapping[str, object], *, actor: str, request_id: str
) -> Billing:
    """Change the given fields. Issued invoices keep what they say.

    Raises `Invalid` for a field that does not exist, `Unprocessable` naming a field, `NotFound`.
    """
    fields.require_known(given, {*CHANGEABLE, "customer_id"})
    values = read(CHANGEABLE, given)
    if not values:
        raise Invalid("nothing to change", hint=f"Send one of {', '.join(CHANGEABLE)}.")
    with database():
        async with pool.acquire() as connection, connection.transaction():
            if not await lock_billing(connection, customer_id):
                raise no_customer(customer_id)
            before = await store.billing(connection, customer_id)
            after = settings_of(Billing, before, values)
            if after.tax_id is not None:
                after = settings_of(Billing, after, {"tax_id": require_tax_id(after.country, after.tax_id)})
            if after == before:
                return before
            await store.update_billing(connection, customer_id, after)
            await write_audit(
                connection,
                AuditEvent(
                    actor,
                    "BILLING_UPDATE",
                    f"customer:{customer_id}",
                    request_id,
                    row_of(before),
                    row_of(after),
                    {"fields": changed(CHANGEABLE, before, after)},
                ),
            )
    return after


def require_tax_id(of_country: str | None, number: str) -> str:
    """The number in its usual form. Raises `Unprocessable` for one that cannot be right in that country."""
    checked = checked_tax_id(of_country, number)
    if checked is None:
        raise Unprocessable(
            f"`tax_id` is not a number of {of_country}",
            hint="Its form or its check digits are wrong; correct it, or `country`.",
            field="tax_id",
        )
    return checked
