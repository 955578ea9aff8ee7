"""An issued invoice is mailed once more; and the PDF that its mail carries."""

from __future__ import annotations

from uuid import uuid4

import asyncpg

from kaixu.config.invoices_section import InvoicesSection
from kaixu.plugin.errors import NotFound, Unavailable
from kaixu.store import invoices as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.mail import enqueue_mail
from kaixu.store.pool import database

from .issue import find_invoice
from .mailing import mail_of, recipient_of
from .views import read_pdf


async def mail_again(
    pool: asyncpg.Pool,
    section: InvoicesSection,
    number: str,
    *,
    can_mail: bool,
    recipient: str | None,
    actor: str,
    request_id: str,
) -> str:
    """Mail an invoice or a credit note once more; return the address that it goes to.

    `recipient`: another address. Raises `NotFound`, and `Unavailable` without `mail:`.
    """
    if not can_mail:
        raise Unavailable(
            "this gateway cannot send mails", hint="Set `mail:` in kaixu.yaml.", code="MAIL_NOT_CONFIGURED"
        )
    with database():
        async with pool.acquire() as connection, connection.transaction():
            stored = await find_invoice(connection, number)
            details, email = await recipient_of(connection, stored.customer_id)
            to = recipient or details.email or email
            await enqueue_mail(connection, mail_of(section, stored, to, f"invoice:{stored.id}:{uuid4()}"))
            await write_audit(
                connection,
                AuditEvent(
                    actor,
                    "INVOICE_MAIL",
                    f"customer:{stored.customer_id}",
                    request_id,
                    meta={"number": stored.name, "email": to},
                ),
            )
    return to


async def invoice_pdf_of(pool: asyncpg.Pool, invoice_id: int) -> tuple[str, bytes]:
    """The number and the PDF of an issued invoice or credit note. Raises `NotFound`, `DatabaseAway`."""
    with database():
        stored = await store.BY_ID.one(pool, invoice_id)
    if stored is None:
        raise NotFound(f"there is no invoice {invoice_id}", code="UNKNOWN_INVOICE")
    return stored.name, await read_pdf(pool, stored)
