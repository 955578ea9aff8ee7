"""Top-ups of the current month: booking one by hand, those that there are, and paying by Stripe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import (
    Badge,
    Card,
    Column,
    Empty,
    Facts,
    Field,
    Form,
    Link,
    Money,
    Notice,
    Part,
    Prose,
    Row,
    Table,
    Time,
)
from kaixu.web.formats import sentence, usd_of_cents
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit

from .billing_policy import Again

SOURCES = {"manual": "by hand", "code": "redemption code", "stripe": "Stripe"}


async def add_top_up(visit: Visit) -> str:
    """Book a top-up; a form that is sent twice counts once. Raises `ApiFailure`, `Unprocessable`."""
    cents = visit.form.cents("amount")
    if not cents:
        raise Unprocessable("the amount must be more than 0", field="amount")
    body = {
        "customer_id": visit.customer_id,
        "amount_cents": cents,
        "month": visit.form.get("month"),
        "idempotency_key": visit.form.get("idempotency_key"),
    }
    try:
        reply = await visit.api.send("POST", "admin-topup", body)
    except ApiFailure as failure:
        failure.field = "amount" if failure.field == "amount_cents" else failure.field
        raise
    return "topup" if reply["applied"] else "repeated"


async def top_up_card(visit: Visit, usage: Mapping[str, Any], again: Again, *, may_bill: bool) -> Card:
    """The form, and the month's top-ups."""
    month = usage["month"]
    draft = await visit.api.get("admin-invoices", customer_id=visit.customer_id, month=month)
    form = Form(
        action=TABS["billing"].path,
        submit="Top up",
        id="topup-form",
        inline=True,
        hidden={"do": "topup", "customer_id": str(visit.customer_id), "month": month,
                "idempotency_key": f"page-{uuid4()}"},
        fields=[Field(name="amount", label=f"Amount, for {month}", unit="USD", required=True, maxlength=20,
                      placeholder="25.00")],
    )  # fmt: skip
    rows = [
        Row(cells=[Time(one["created_at"]), Money(usd_of_cents(one["amount_cents"])),
                   SOURCES.get(one["source"], one["source"]),
                   Badge("good" if one["status"] == "applied" else "off", one["status"])])
        for one in reversed(draft["snapshot"]["topups"])
    ]  # fmt: skip
    table = Table(
        id="topups",
        caption=f"Top-ups of {month}",
        columns=[Column(title="Booked"), Column(title="Amount", align="right"), Column(title="By", wide=True),
                 Column(title="State")],
        rows=rows,
        empty=Empty(text="No top-ups in this month."),
    )  # fmt: skip
    rollup = usage["rollup"]
    facts = Facts([("Extra this month", Money(rollup["extra_usd"])), ("Available", Money(rollup["available_usd"]))])
    about = Prose(
        tip=True,
        paragraphs=[
            "Top up by hand when a customer has paid you directly. It raises the cap of the month; what is left of "
            "it ends with the month, unless `gateway.rollover` in kaixu.yaml carries it into the next one. On the "
            "invoice it counts as a payment, not as usage."
        ],
    )
    parts: list[Part] = [facts, *([again("topup", form)] if may_bill else []), table, about]
    return Card("Top-ups", parts, width=5, id="topups-card")


async def checkout_card(visit: Visit) -> Card:
    """Whether customers can pay by Stripe, as the API says it."""
    codes = Link("Redemption codes", "/gateway/billing/codes")
    try:
        await visit.api.get("stripe-create-checkout")
    except ApiFailure as failure:
        text = sentence(failure.message)
        hint = "It needs the Stripe integration, with STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET. Until then, top up "
        hint += "by hand, or give the customer a redemption code."
        return Card("Stripe checkout", [Notice("off", text, hint, [codes])], width=5)
    return Card("Stripe checkout", [Notice("good", "Customers can top up by Stripe.", "", [codes])], width=5)
