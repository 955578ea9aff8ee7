"""The PDF of an invoice: its text, its attachment, the same bytes each time."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pypdf
import pytest

from kaixu.invoices.compose import Material, compose, with_number
from kaixu.invoices.pdf import invoice_pdf
from kaixu.store.billing import Billing
from kaixu.store.customers import Customer
from kaixu.store.invoices import Figure, KeyName

from .books import OCTOBER, SECTION


def snapshot(customer: Customer, billing: Billing, lines: int) -> str:
    """The snapshot of an invoice with so many lines."""
    figures = [
        Figure(False, OCTOBER, "ai", "openai", f"model-{at}" + "x" * (at % 90), 7, 3, 4, 5, 123_456_789 * (at + 1))
        for at in range(lines)
    ]
    material = Material(customer, billing, OCTOBER, figures, [KeyName(7, 7, "abcd", "laptop")], [], customer.created_at)
    composed = compose(material, SECTION)
    return msgspec.json.encode(with_number(composed.snapshot, "INV-2025-00001", customer.created_at, 14)).decode()


def text_of(pdf: bytes) -> str:
    """All text of a PDF."""
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages)


@pytest.fixture
def someone() -> Customer:
    """A customer."""
    defaults: dict[str, Any] = {
        "id": 5, "email": "ada@example.com", "plan_name": "starter", "monthly_cap_nusd": 10**12, "is_active": True,
        "max_devices_per_key": None, "require_install_id": False, "allowed_providers": None, "allowed_models": None,
        "stripe_customer_id": None, "stripe_subscription_id": None, "auto_topup_enabled": False,
        "auto_topup_threshold_nusd": None, "auto_topup_amount_nusd": None, "created_at": "2025-11-03T10:00:00Z",
        "max_vectors": None, "from_plan": [], "price_factor_millionths": 1_000_000,
    }  # fmt: skip
    fields = {field.name: defaults.get(field.name) for field in msgspec.structs.fields(Customer)}
    return msgspec.convert(fields, Customer)


def test_everything_the_law_requires_is_on_it(someone: Customer) -> None:
    billing = Billing("Ada AG", ["Ringstraße 2", "1010 Wien"], "AT", "ATU13585627")
    text = snapshot(someone, billing, 2)
    pdf = invoice_pdf(text)
    printed = text_of(pdf)
    amounts = msgspec.json.decode(text)["amounts"]
    assert amounts["total_cents"] == 37
    for part in (
        "Invoice INV-2025-00001", "Issue date: 2025-11-03", "Due date: 2025-11-17", "2025-10-01 to 2025-10-31",
        "Kaixu GmbH", "Lange Straße 1", "DE136695976", "Ada AG", "Ringstraße 2", "ATU13585627", "openai/model-0",
        "VAT 0 % on 0.37", "Reverse charge", "0.37 USD", "Amount due", "EUR", "page 1 of 1",
    ):  # fmt: skip
        assert part in printed, part


def test_the_json_is_attached_and_the_bytes_are_the_same_each_time(someone: Customer) -> None:
    text = snapshot(someone, Billing("Ada", ["x"], "DE"), 3)
    pdf = invoice_pdf(text)
    assert invoice_pdf(text) == pdf
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert reader.attachments["invoice.json"] == [text.encode()]
    metadata = reader.trailer["/Root"]["/Metadata"].get_data()  # type: ignore[index]
    assert b"<pdfaid:part>3</pdfaid:part>" in metadata


@pytest.mark.parametrize(
    "name",
    ["Ιωάννης & Σία", "Привет ООО", "株式会社 🎉", "W" * 200, "a <b>{pages}</b> **x** %s", "שלום", "\u202e\u0301"],
)
def test_any_name_and_many_lines_are_printed(someone: Customer, name: str) -> None:
    pdf = invoice_pdf(snapshot(someone, Billing(name, [name[:100]] * 6, "GR"), 60))
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert len(reader.pages) > 1
    printed = text_of(pdf)
    assert "model-59" in printed
    if name[0] in "ΙП":
        assert name in printed
    if "株" in name:
        assert "\ufffd" in printed
