"""Pages that ask before something final: issue an invoice, credit it, void it, mail it, remove a webhook."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from kaixu.accounts.operator_identity import CUSTOMERS, MONEY
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Card, Facts, Field, Form, Link, Money, Notice, Option, Page, Part, Prose
from kaixu.web.form_data import shown_again
from kaixu.web.formats import usd_of_cents
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .billing_alerts import REMOVE
from .billing_invoices import INVOICE
from .invoice import CREDIT, FINALIZE, MAIL, VOID

TAB = TABS["billing"]


def invoice_change_pages(site: Site) -> list[Route]:
    """The routes of the pages."""
    pages = ((FINALIZE, finalise), (CREDIT, credit), (VOID, void), (MAIL, mail))
    return [
        *(one for path, page in pages for one in site.operator_page(path, page, tab=TAB, access=MONEY, posts=True)),
        *site.operator_page(REMOVE, remove_webhook, tab=TAB, access=CUSTOMERS, posts=True),
    ]


async def shown(visit: Visit) -> Any:
    """The invoice that the page is about, by its number or month, from the address or the form."""
    number = visit.query.get("number") or visit.form.get("number")
    if number:
        return await visit.api.get("admin-invoices", number=number)
    customer_id = visit.query.get("customer_id") or visit.form.get("customer_id")
    month = visit.query.get("month") or visit.form.get("month")
    return await visit.api.get("admin-invoices", customer_id=customer_id, month=month)


def asking(
    title: str, reply: Any, will: list[str], form: Form, visit: Visit, failure: ApiFailure | Unprocessable | None
) -> Page:
    """A page that says what will happen, with the form that does it."""
    money = reply["snapshot"]["amounts"]
    facts = Facts(
        [
            ("Customer", reply["snapshot"]["customer"]["email"]),
            ("Month", reply["month"]),
            ("Net", Money(usd_of_cents(money["net_cents"]))),
            ("Tax", Money(usd_of_cents(money["tax_cents"]))),
            ("Total", Money(usd_of_cents(money["total_cents"]))),
        ]
    )
    parts: list[Part] = [
        Card("What it is about", [facts], width=5),
        Card("What will happen", [Prose(paragraphs=[], items=will),
                                  form if failure is None else shown_again(form, visit.form, failure)], width=7),
    ]  # fmt: skip
    return Page(title=title, parts=parts, status=200 if failure is None else failure.status)


def back_to(visit: Visit, reply: Any) -> Link:
    """The way back to the invoice."""
    query = {"number": reply["number"]} if reply["number"] else {"month": reply["month"]}
    return Link("Cancel", visit.url(INVOICE, customer_id=reply["customer_id"], **query))


async def finalise(visit: Visit) -> Page | Reply:
    """Issue the invoice of a month."""
    reply = await shown(visit)
    customer_id, month = reply["customer_id"], reply["month"]
    failure: ApiFailure | None = None
    if visit.is_post:
        try:
            body = {"customer_id": customer_id, "month": month}
            issued = await visit.api.send("POST", "admin-invoice-finalize", body)
        except ApiFailure as problem:
            failure = problem
        else:
            done = "issued" if issued["issued"] else "already"
            return visit.redirect(INVOICE, number=issued["number"], customer_id=customer_id, done=done)
    form = Form(action=FINALIZE, submit="Finalise the invoice", fields=[], cancel=back_to(visit, reply),
                hidden={"customer_id": str(customer_id), "month": month})  # fmt: skip
    will = [
        f"The invoice of {month} gets the next number of its series, and a PDF.",
        "It is never changed from then on: a mistake is corrected by a credit note, or it is voided.",
        "If invoices are mailed to this customer, it is mailed at once.",
    ]
    return asking(f"Finalise {month}?", reply, will, form, visit, failure)


async def credit(visit: Visit) -> Page | Reply:
    """Issue a credit note."""
    reply = await shown(visit)
    number, customer_id = reply["number"], reply["customer_id"]
    failure: ApiFailure | Unprocessable | None = None
    if visit.is_post:
        try:
            body = {"number": number, "reason": visit.form.get("reason"), **part_of(visit),
                    "idempotency_key": visit.form.get("idempotency_key")}  # fmt: skip
            note = await visit.api.send("POST", "admin-invoice-credit", body)
            return visit.redirect(INVOICE, number=note["number"], customer_id=customer_id, done="credit")
        except ApiFailure as problem:
            problem.field = {"amount_cents": "amount"}.get(problem.field, problem.field)
            failure = problem
        except Unprocessable as problem:
            failure = problem
    lines = [
        Option(str(one["line"]), f"{one['line']}: {one['provider']}/{one['model']}, "
                                 f"${usd_of_cents(one['amount_cents'])}")
        for one in reply["snapshot"]["lines"]
    ]  # fmt: skip
    form = Form(
        action=CREDIT,
        submit="Issue the credit note",
        style="danger",
        cancel=back_to(visit, reply),
        hidden={"number": number, "customer_id": str(customer_id), "idempotency_key": f"page-{uuid4()}"},
        fields=[
            Field(name="reason", label="Reason", required=True, maxlength=300, hint="Printed on the credit note."),
            Field(name="amount", label="Amount, tax included", unit="USD", maxlength=20,
                  hint="Empty, and no line ticked: all that is left."),
            Field(name="lines", label="Or these lines", type="checkboxes", options=lines),
        ],
    )  # fmt: skip
    will = [
        f"A credit note with a number of its own series takes back all of {number}, an amount, or some lines.",
        "What was credited is not billed again.",
        "It cannot be undone: a credit note is as final as an invoice.",
    ]
    return asking(f"Credit {number}?", reply, will, form, visit, failure)


def part_of(visit: Visit) -> dict[str, Any]:
    """What is credited. Raises `Unprocessable`."""
    amount, lines = visit.form.cents("amount"), visit.form.all("lines")
    if amount is not None and lines:
        raise Unprocessable("choose either an amount or lines", field="amount")
    if amount is not None:
        return {"amount_cents": amount}
    return {"lines": [int(one) for one in lines if one.isascii() and one.isdigit() and len(one) < 8]} if lines else {}


async def void(visit: Visit) -> Page | Reply:
    """Void an invoice."""
    reply = await shown(visit)
    number, customer_id = reply["number"], reply["customer_id"]
    failure: ApiFailure | None = None
    if visit.is_post:
        try:
            await visit.api.send("POST", "admin-invoice-void", {"number": number, "reason": visit.form.get("reason")})
        except ApiFailure as problem:
            failure = problem
        else:
            return visit.redirect(INVOICE, number=number, customer_id=customer_id, done="void")
    form = Form(
        action=VOID,
        submit="Void the invoice",
        style="danger",
        cancel=back_to(visit, reply),
        hidden={"number": number, "customer_id": str(customer_id)},
        fields=[Field(name="reason", label="Reason", required=True, maxlength=300, hint="It is kept with it.")],
    )
    will = [
        f"{number} is taken back as a whole. It keeps its number and its PDF, and is marked as void.",
        f"{reply['month']} can be issued again, under a new number.",
        "It cannot be undone. An invoice that has credit notes cannot be voided.",
    ]
    return asking(f"Void {number}?", reply, will, form, visit, failure)


async def mail(visit: Visit) -> Page | Reply:
    """Mail an invoice once more."""
    reply = await shown(visit)
    number, customer_id = reply["number"], reply["customer_id"]
    failure: ApiFailure | None = None
    if visit.is_post:
        try:
            body = {"number": number, "email": visit.form.get("email") or None}
            await visit.api.send("POST", "admin-invoice-mail", body)
        except ApiFailure as problem:
            failure = problem
        else:
            return visit.redirect(INVOICE, number=number, customer_id=customer_id, done="mailed")
    customer = reply["snapshot"]["customer"]
    usual = (customer.get("billing") or {}).get("email") or customer["email"]
    form = Form(
        action=MAIL,
        submit="Send",
        cancel=back_to(visit, reply),
        hidden={"number": number, "customer_id": str(customer_id)},
        fields=[Field(name="email", label="To", type="email", maxlength=254, placeholder=usual,
                      hint="Empty: the customer's address for invoices.")],
    )  # fmt: skip
    return asking(f"Send {number} by mail?", reply, ["The PDF is mailed once more."], form, visit, failure)


async def remove_webhook(visit: Visit) -> Page | Reply:
    """Remove the customer's webhook for alerts."""
    back = visit.url(TAB.path, customer_id=visit.customer_id)
    if visit.customer is None:
        return Page(title="No customer is selected", parts=[Link("Customers", TABS["customers"].path)], status=404)
    if visit.is_post:
        await visit.api.send("PUT", "admin-alert-webhook", {"customer_id": visit.customer_id, "url": None})
        return visit.redirect(TAB.path, customer_id=visit.customer_id, done="webhook_removed")
    url = (await visit.api.get("admin-alert-webhook", customer_id=visit.customer_id))["url"]
    form = Form(action=REMOVE, submit="Remove the webhook", style="danger", fields=[], cancel=Link("Cancel", back),
                hidden={"customer_id": str(visit.customer_id)})  # fmt: skip
    about = Prose(paragraphs=[], items=[
        f"{visit.customer['email']} gets no alerts at {url or 'its webhook'} any more.",
        "Alerts that wait to be sent there are removed, too.",
    ])  # fmt: skip
    missing = [] if url else [Notice("info", "This customer has no webhook.")]
    return Page(title="Remove the webhook?", parts=[*missing, Card("What will happen", [about, form])])
