"""Who is billed: name, address and tax of a customer."""

from __future__ import annotations

import msgspec

from .query import Connection, Query


class Billing(msgspec.Struct, frozen=True):
    """What an invoice says about its customer. `tax_rate` is in hundredths of a percent.

    `mail_invoices`: whether they are mailed; None: as kaixu.yaml says.
    """

    name: str | None = None
    address: list[str] = []
    country: str | None = None
    tax_id: str | None = None
    email: str | None = None
    tax_rate: int | None = None
    tax_note: str | None = None
    mail_invoices: bool | None = None


BILLING = Query(
    Billing,
    """
    select name, address, country, tax_id, email, tax_rate, tax_note, mail_invoices
      from kaixu.billing_account where customer_id = $1
    """,
)
UPDATE = Query(
    Billing,
    """
    update kaixu.billing_account
       set name = $2, address = $3, country = $4, tax_id = $5, email = $6, tax_rate = $7, tax_note = $8,
           mail_invoices = $9, updated_at = now()
     where customer_id = $1
    returning name, address, country, tax_id, email, tax_rate, tax_note, mail_invoices
    """,
)


async def billing(db: Connection, customer_id: int) -> Billing:
    """The billing details of a customer; empty where nobody has set them."""
    return await BILLING.one(db, customer_id) or Billing()


async def update_billing(db: Connection, customer_id: int, row: Billing) -> Billing:
    """Replace the details; the caller has locked the row (lock_billing.sql)."""
    after = await UPDATE.one(
        db,
        customer_id,
        row.name,
        row.address,
        row.country,
        row.tax_id,
        row.email,
        row.tax_rate,
        row.tax_note,
        row.mail_invoices,
    )
    assert after is not None
    return after
