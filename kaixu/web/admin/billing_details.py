"""Who is billed: name, address, tax id and tax of a customer."""

from __future__ import annotations

from typing import Any

from kaixu.web.components import Card, Cell, Facts, Field, Form, Notice, Option, Part
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit

from .billing_policy import Again

TEXTS = ("name", "address", "country", "tax_id", "email", "tax_rate_percent", "tax_note")
MAIL = (Option("", "as kaixu.yaml says"), Option("true", "yes"), Option("false", "no"))


async def change_details(visit: Visit) -> str:
    """Save all fields; empty ones are cleared. Raises `ApiFailure`."""
    form = visit.form
    body: dict[str, Any] = {name: form.get(name) or None for name in TEXTS}
    body["address"] = [line.strip() for line in form.raw("address").splitlines() if line.strip()]
    body["mail_invoices"] = {"true": True, "false": False}.get(form.get("mail_invoices"))
    await visit.api.send("PATCH", "admin-billing", {"customer_id": visit.customer_id, **body})
    return "details"


async def details_card(visit: Visit, again: Again, *, may_bill: bool) -> Card:
    """The details: a form for those who may change them."""
    billing = (await visit.api.get("admin-billing", customer_id=visit.customer_id))["billing"]
    rate = billing["tax_rate_hundredths"]
    mail = billing["mail_invoices"]
    fields = [
        Field(name="name", label="Name", value=billing["name"] or "", maxlength=200, autocomplete="off"),
        Field(name="address", label="Address", type="textarea", rows=3, value="\n".join(billing["address"]),
              maxlength=700, hint="At most six lines."),
        Field(name="country", label="Country", value=billing["country"] or "", maxlength=2, placeholder="AT",
              hint="Two letters."),
        Field(name="tax_id", label="VAT or tax id", value=billing["tax_id"] or "", maxlength=40,
              placeholder="ATU13585627", hint="Checked where the country's form is known."),
        Field(name="email", label="E-mail for invoices", type="email", value=billing["email"] or "", maxlength=254,
              hint="Empty: the customer's own address."),
        Field(name="tax_rate_percent", label="Tax", unit="percent", maxlength=6,
              value="" if rate is None else f"{rate / 100:g}", hint="Empty: by the rules of kaixu.yaml."),
        Field(name="tax_note", label="Note on the tax", value=billing["tax_note"] or "", maxlength=300,
              placeholder="Reverse charge"),
        Field(name="mail_invoices", label="Mail invoices when they are issued", type="select", options=MAIL,
              value="" if mail is None else "true" if mail else "false"),
    ]  # fmt: skip
    missing = [name for name in ("name", "address", "country") if not billing[name]]
    notes: list[Part] = []
    if missing:
        text = f"Not set: {', '.join(missing)}. An invoice needs them, unless invoices.require_address is off."
        notes.append(Notice("warn", text))
    if not may_bill:
        items: list[tuple[str, Cell]] = [(field.label, field.value.replace("\n", ", ") or "none") for field in fields]
        return Card("Billing details", [*notes, Facts(items)], width=5, id="details")
    form = Form(
        action=TABS["billing"].path,
        submit="Save billing details",
        id="details-form",
        hidden={"do": "details", "customer_id": str(visit.customer_id)},
        fields=fields,
    )
    return Card("Billing details", [*notes, again("details", form)], width=5, id="details")
