"""Invoices by mail: the PDF as it was issued, through the outbox."""

from __future__ import annotations

from kaixu.config.invoices_section import InvoicesSection
from kaixu.store import customers
from kaixu.store.billing import Billing, billing
from kaixu.store.invoices import Stored
from kaixu.store.mail import Attachment, NewMail, enqueue_mail
from kaixu.store.query import Connection

NAMES = {"invoice": "Invoice", "credit_note": "Credit note"}

TEXT = """\
{what} {number} of {seller} for {month} is attached.

Total: ${total}
"""


async def mail_issued(
    connection: Connection, section: InvoicesSection, stored: Stored, details: Billing, email: str
) -> None:
    """Write the mail of what was just issued, in the transaction that issues it, if the customer's are mailed."""
    wanted = section.mail if details.mail_invoices is None else details.mail_invoices
    if wanted:
        await enqueue_mail(connection, mail_of(section, stored, details.email or email, f"invoice:{stored.id}"))


async def mail_note(connection: Connection, section: InvoicesSection, note: Stored) -> None:
    """The same for a credit note."""
    details, email = await recipient_of(connection, note.customer_id)
    await mail_issued(connection, section, note, details, email)


async def recipient_of(connection: Connection, customer_id: int) -> tuple[Billing, str]:
    """A customer's billing details, and its own address."""
    customer = await customers.customer(connection, customer_id)
    assert customer is not None
    return await billing(connection, customer_id), customer.email


def mail_of(section: InvoicesSection, stored: Stored, recipient: str, key: str) -> NewMail:
    """The mail of an invoice or a credit note; its PDF is read when it is sent."""
    what = NAMES[stored.kind]
    words = {
        "what": what,
        "number": stored.name,
        "seller": section.seller.name if section.seller is not None else "the operator",
        "month": f"{stored.month:%Y-%m}",
        "total": f"{stored.total_cents // 100}.{stored.total_cents % 100:02d}",
    }
    return NewMail(
        idempotency_key=key,
        kind="invoice",
        recipient=recipient,
        subject=f"{what} {stored.name}",
        text=TEXT.format(**words),
        attachments=[Attachment("invoice", stored.id)],
        customer_id=stored.customer_id,
    )
