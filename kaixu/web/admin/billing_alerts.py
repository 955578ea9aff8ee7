"""A customer's alerts: those that were raised, and the customer's own webhook for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.web.components import (
    Badge,
    Card,
    Cell,
    Column,
    Empty,
    Field,
    Form,
    Link,
    Muted,
    Notice,
    Page,
    Part,
    Prose,
    Row,
    Snippet,
    Stack,
    State,
    Table,
    Time,
)
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit

from .billing_policy import Again

LIMIT = 10
LEVELS: dict[str, State] = {"info": "info", "warn": "warn", "error": "bad"}
DELIVERIES: dict[str, State] = {"sent": "good", "waiting": "info", "failed": "bad"}
REMOVE = "/gateway/billing/webhook"


async def alert_cards(visit: Visit, again: Again, *, may_change: bool) -> list[Card]:
    """The newest alerts, and the webhook."""
    reply = await visit.api.get("admin-alerts", customer_id=visit.customer_id, limit=LIMIT)
    table = Table(
        id="alerts",
        caption="Newest alerts",
        columns=[Column(title="Raised"), Column(title="Alert", wide=True), Column(title="Delivered")],
        rows=[alert_row(one) for one in reply["alerts"]],
        empty=Empty(text="No alert was raised for this customer. Thresholds are part of the policy."),
        note=f"The newest {LIMIT}; all of them: GET admin-alerts, or kaixu alerts list."
        if reply["next_before_id"]
        else "",
    )
    url = (await visit.api.get("admin-alert-webhook", customer_id=visit.customer_id))["url"]
    state = Notice("good", f"Alerts are sent to {url}") if url else Notice("off", "No webhook is set.")
    form = Form(
        action=TABS["billing"].path,
        submit="Replace the webhook" if url else "Set the webhook",
        id="webhook-form",
        hidden={"do": "webhook", "customer_id": str(visit.customer_id)},
        fields=[Field(name="url", label="Address", type="url", required=True, maxlength=2000,
                      placeholder="https://hooks.example.com/kaixu", wide=True,
                      hint="https, not in a private network. It is stored encrypted; only its host is shown again.")],
    )  # fmt: skip
    remove = [Link("Remove it", visit.url(REMOVE, customer_id=visit.customer_id))] if url and may_change else []
    about = Prose(
        tip=True,
        paragraphs=["The same alerts can be mailed to the customer: see the policy. Each crossing is told once."],
    )
    parts: list[Part] = [state, *([again("webhook", form)] if may_change else []), about]
    return [Card("Alerts", [table], width=7), Card("The customer's webhook", parts, width=5, links=remove)]


def alert_row(one: Mapping[str, Any]) -> Row:
    """An alert."""
    deliveries: list[Cell] = [
        Badge(DELIVERIES.get(sent["state"], "info"), f"{kind} {sent['state']}", sent["error"] or sent["receiver"] or "")
        for kind, ones in (("webhook", one["webhooks"]), ("mail", one["mails"]))
        for sent in ones
    ]
    badge = Badge(LEVELS.get(one["level"], "info"), one["type"].replace("_", " ").lower())
    return Row(
        cells=[
            Time(one["created_at"]),
            Stack([badge, one["message"]], lines=True),
            Stack(deliveries, lines=True) if deliveries else Muted("nobody"),
        ]
    )


async def webhook_page(visit: Visit) -> Page:
    """Set the webhook, and show the key of its signatures once. Raises `ApiFailure`."""
    body = {"customer_id": visit.customer_id, "url": visit.form.get("url")}
    reply = await visit.api.send("PUT", "admin-alert-webhook", body)
    back = Link("Back to Billing & Controls", visit.url(TABS["billing"].path, customer_id=visit.customer_id))
    return Page(
        title="The webhook is set",
        parts=[
            Notice("good", f"Alerts of this customer are sent to {reply['url']}"),
            Card("The key of its signatures", [
                Snippet(reply["secret"], title="Secret", secret=True,
                        hint="The receiver checks webhook-signature with it (Standard Webhooks). The customer's jobs "
                             "are signed with the same key."),
            ]),
            back,
        ],
    )  # fmt: skip
