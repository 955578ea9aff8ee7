"""What can be done to one customer from its row and its details: switch it off or on, delete it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kaixu.accounts.operator_identity import CUSTOMERS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure, json_of
from kaixu.web.components import Button, Card, Facts, Field, Form, Link, Money, Notice, Number, Page, Part, Prose
from kaixu.web.form_data import shown_again
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

TAB = TABS["customers"]
DETAILS = "/gateway/customer"
SWITCH = "/gateway/customer/switch"
DELETE = "/gateway/customer/delete"

#: The fields of the list that a change comes back to.
KEPT = ("q", "plan", "active", "sort", "order")

COUNTS = {
    "keys": "Keys",
    "devices": "Devices",
    "collections": "Collections",
    "documents": "Documents",
    "jobs": "Jobs",
    "files": "Files",
    "monitor_events": "Monitor events",
    "usage_events": "Usage events",
    "invoices": "Invoices",
    "in_flight": "Calls in flight",
    "unended_jobs": "Jobs that wait or run",
}


def customer_action_pages(site: Site) -> list[Route]:
    """The routes of the changes."""
    return [
        *site.operator_page(SWITCH, switch, tab=TAB, access=CUSTOMERS, posts=True),
        *site.operator_page(DELETE, delete, tab=TAB, access=CUSTOMERS, posts=True),
    ]


def switch_button(visit: Visit, customer: Mapping[str, Any], *, back: str, label: str = "") -> Button:
    """Switches a customer off, or on again. `back`: the page that is shown afterwards, with the list's filters."""
    kept = {name: visit.query[name] for name in KEPT if back == TAB.path and visit.query.get(name)}
    target = "false" if customer["is_active"] else "true"
    hidden = {"customer_id": str(customer["id"]), "active_now": target, "back": back, **kept}
    return Button(
        label or ("Switch off" if customer["is_active"] else "Switch on"),
        SWITCH,
        hidden=hidden,
        title=f"Switch {customer['email']} {'off' if customer['is_active'] else 'on'}",
    )


async def switch(visit: Visit) -> Page | Reply:
    """Switch the customer off or on, and go back to where it was pressed."""
    if not visit.is_post or visit.customer is None:
        return visit.redirect(TAB.path)
    word = visit.form.get("active_now")
    if word not in ("true", "false"):
        raise Unprocessable("the form does not say whether to switch on or off", field="active_now")
    is_active = word == "true"
    await visit.api.send("PATCH", "admin-customers", {"is_active": is_active}, customer_id=visit.customer_id)
    done = "on" if is_active else "off"
    if visit.form.get("back") == DETAILS:
        return visit.redirect(DETAILS, customer_id=visit.customer_id, done=done)
    kept = {name: visit.form.get(name) for name in KEPT}
    return visit.redirect(TAB.path, **kept, done=done, done_id=visit.customer_id)


async def delete(visit: Visit) -> Page | Reply:
    """What a deletion would remove, the form that asks for the address, and the deletion."""
    if visit.customer is None:
        return visit.redirect(TAB.path)
    # A preview changes nothing, so it may be opened from anywhere, like every page that is only read.
    reply = await visit.api.reply(
        "DELETE",
        "admin-customers",
        query={"customer_id": visit.customer_id, "dry_run": True},
        headers={"sec-fetch-site": "same-origin"},
    )
    preview = json_of(reply)
    form = Form(
        action=DELETE,
        hidden={"customer_id": str(visit.customer_id)},
        fields=[
            Field(name="confirm", label="The customer's e-mail address", required=True, maxlength=254,
                  hint=f"Type {preview['email']} to confirm."),
        ],
        submit="Delete this customer",
        style="danger",
        cancel=Link("Keep the customer", visit.url(DETAILS, customer_id=visit.customer_id)),
    )  # fmt: skip
    if not visit.is_post:
        return delete_page(visit, preview, form)
    try:
        await visit.api.send(
            "DELETE", "admin-customers", {"confirm": visit.form.get("confirm")}, customer_id=visit.customer_id
        )
    except ApiFailure as failure:
        return delete_page(visit, preview, shown_again(form, visit.form, failure), status=failure.status)
    return visit.redirect(TAB.path, done="deleted")


def delete_page(visit: Visit, preview: Mapping[str, Any], form: Form, *, status: int = 200) -> Page:
    """What would be removed, what would stay, and the form."""
    waits = [
        text
        for text, count in (
            ("calls are in flight", preview["in_flight"]),
            ("jobs wait or run", preview["unended_jobs"]),
        )
        if count
    ]
    parts: list[Part] = []
    if waits:
        text = f"This cannot be deleted now: {' and '.join(waits)}."
        hint = "Switch the customer off first, and come back when they have ended."
        parts.append(Notice(state="warn", text=text, hint=hint))
    if Decimal(preview["unbilled_usd"]) > 0:
        text = f"${preview['unbilled_usd']} was spent and is on no invoice yet. After the deletion it can be on none."
        link = Link("Issue the invoice first", visit.url(TABS["billing"].path, customer_id=visit.customer_id))
        parts.append(Notice(state="warn", text=text, actions=[link]))
    counted = Facts([(label, Number(preview[name])) for name, label in COUNTS.items()])
    unbilled = Facts([("Spent, not invoiced", Money(preview["unbilled_usd"]))])
    about = Prose(
        paragraphs=[
            "The customer becomes anonymous at once and every key is refused. Then devices, collections with their "
            "texts, files, jobs, answers, monitor events and alerts are removed, in steps; the gateway finishes an "
            "interrupted deletion by itself. It cannot be undone."
        ],
        items=[
            "What stays without any name: usage events and sums by month, so that the books still add up.",
            "What stays as it is: issued invoices, with name and address, because tax law asks for them; and the audit "
            "log, which still names the address.",
        ],
    )
    parts += [
        Card("What there is", [counted, unbilled], width=6),
        Card("What happens", [about], width=6),
        Card("Delete", [form]),
    ]
    return Page(title=f"Delete {preview['email']}", parts=parts, status=status)
