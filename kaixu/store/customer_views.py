"""Customers as integrations may see them."""

from __future__ import annotations

from kaixu.plugin.customers import CustomerView

from .query import Connection, Query

BY_ID = Query(
    CustomerView,
    """
    select c.id, c.email, c.plan_name, c.is_active, c.monthly_cap_nusd, c.created_at, b.name as billing_name,
           b.email as billing_email, b.country
      from kaixu.customer c
      left join kaixu.billing_account b on b.customer_id = c.id
     where c.id = $1 and c.deleted_at is null
    """,
)

BY_EMAIL = Query(
    CustomerView,
    """
    select c.id, c.email, c.plan_name, c.is_active, c.monthly_cap_nusd, c.created_at, b.name as billing_name,
           b.email as billing_email, b.country
      from kaixu.customer c
      left join kaixu.billing_account b on b.customer_id = c.id
     where lower(c.email) = lower($1) and c.deleted_at is null
    """,
)


async def view_of_customer(db: Connection, customer_id: int) -> CustomerView | None:
    """The customer with this id."""
    return await BY_ID.one(db, customer_id)


async def view_of_email(db: Connection, email: str) -> CustomerView | None:
    """The customer with this address, in whatever case."""
    return await BY_EMAIL.one(db, email)
