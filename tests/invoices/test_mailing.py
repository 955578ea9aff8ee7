"""Invoices are mailed when they are issued: once each, to the right address, with the PDF as it was issued."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from kaixu.invoices.billing import change_billing
from kaixu.invoices.credit import credit
from kaixu.invoices.issue import finalize
from kaixu.invoices.mail_again import invoice_pdf_of, mail_again
from kaixu.jobs.mail_message import File
from kaixu.jobs.mail_sender import MailSender
from kaixu.ops.sealing import Sealer
from kaixu.plugin.errors import Conflict, NotFound, Unavailable
from tests.support.money import customer, virtual_key
from tests.support.smtp import smtp_server

from .books import NOVEMBER, OCTOBER, SECTION, bill_to, call

MAILED = SECTION.model_copy(update={"mail": True})
WHO: dict[str, Any] = {"actor": "test", "request_id": "r"}


@pytest.fixture
async def customer_id(pool: asyncpg.Pool) -> int:
    """A customer with something to bill in two months."""
    made = await customer(pool)
    key_id, _ = await virtual_key(pool, made)
    await bill_to(pool, made)
    for month in (OCTOBER, NOVEMBER):
        await call(pool, made, key_id, month, 10**10)
    return made


async def recipients(pool: asyncpg.Pool) -> list[str]:
    return [row["recipient"] for row in await pool.fetch("select recipient from kaixu.mail order by created_at")]


async def test_an_invoice_arrives_with_its_pdf(pool: asyncpg.Pool, customer_id: int) -> None:
    stored, _ = await finalize(pool, MAILED, customer_id, OCTOBER, **WHO)

    async def file(invoice_id: int) -> File:
        name, data = await invoice_pdf_of(pool, invoice_id)
        return File(f"{name}.pdf", "application/pdf", data)

    async with smtp_server() as server:
        await MailSender(pool, Sealer("a secret of the tests"), server.section, {"invoice": file}).round()
    [message] = server.messages
    assert server.recipients == ["customer0@example.com"]
    assert message["subject"] == f"Invoice {stored.name}"
    body = message.get_body(("plain",))
    assert body is not None
    assert f"Invoice {stored.name} of Kaixu GmbH for 2025-10 is attached." in body.get_content()
    assert "Total: $11.90" in body.get_content()
    [attached] = message.iter_attachments()
    assert attached.get_payload(decode=True) == (await invoice_pdf_of(pool, stored.id))[1]


async def test_an_invoice_is_mailed_once_whoever_issues_it(pool: asyncpg.Pool, customer_id: int) -> None:
    await asyncio.gather(*(finalize(pool, MAILED, customer_id, OCTOBER, **WHO) for _ in range(20)))
    assert await recipients(pool) == ["customer0@example.com"]


async def test_what_is_not_issued_is_not_mailed(pool: asyncpg.Pool, customer_id: int) -> None:
    await pool.execute("update kaixu.billing_account set name = null")
    with pytest.raises(Conflict):
        await finalize(pool, MAILED, customer_id, OCTOBER, **WHO)
    assert await recipients(pool) == []


async def test_a_customer_may_differ_from_kaixu_yaml(pool: asyncpg.Pool, customer_id: int) -> None:
    await change_billing(pool, customer_id, {"mail_invoices": False, "email": "books@example.com"}, **WHO)
    await finalize(pool, MAILED, customer_id, OCTOBER, **WHO)
    assert await recipients(pool) == []
    await change_billing(pool, customer_id, {"mail_invoices": True}, **WHO)
    await finalize(pool, SECTION, customer_id, NOVEMBER, **WHO)
    assert await recipients(pool) == ["books@example.com"]
    changed = await change_billing(pool, customer_id, {"mail_invoices": None}, **WHO)
    assert changed.mail_invoices is None


async def test_a_credit_note_is_mailed_too(pool: asyncpg.Pool, customer_id: int) -> None:
    stored, _ = await finalize(pool, MAILED, customer_id, OCTOBER, **WHO)
    note = await credit(pool, MAILED, stored.name, reason="outage", **WHO)
    subjects = await pool.fetch("select subject from kaixu.mail order by created_at")
    assert [row["subject"] for row in subjects] == [f"Invoice {stored.name}", f"Credit note {note.name}"]


async def test_an_invoice_is_mailed_once_more_on_demand(pool: asyncpg.Pool, customer_id: int) -> None:
    stored, _ = await finalize(pool, SECTION, customer_id, OCTOBER, **WHO)
    assert await mail_again(pool, SECTION, stored.name, can_mail=True, recipient=None, **WHO) == "customer0@example.com"
    again = await mail_again(pool, SECTION, stored.name, can_mail=True, recipient="boss@example.com", **WHO)
    assert again == "boss@example.com"
    assert await recipients(pool) == ["customer0@example.com", "boss@example.com"]
    meta = await pool.fetchval("select meta from kaixu.audit_event where action = 'INVOICE_MAIL' order by id limit 1")
    assert meta == {"number": stored.name, "email": "customer0@example.com"}


async def test_mailing_what_does_not_exist_or_without_mail_is_refused(pool: asyncpg.Pool, customer_id: int) -> None:
    with pytest.raises(NotFound):
        await mail_again(pool, SECTION, "INV-1", can_mail=True, recipient=None, **WHO)
    with pytest.raises(Unavailable):
        await mail_again(pool, SECTION, "INV-1", can_mail=False, recipient=None, **WHO)
