"""The tab that creates a customer and its master key in one step, and shows the key once."""

from __future__ import annotations

from typing import Any

from kaixu.accounts.operator_identity import CUSTOMERS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Card, Field, Form, Link, Notice, Page, Prose
from kaixu.web.form_data import shown_again
from kaixu.web.formats import plain_text
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .handover import handover

TAB = TABS["create"]


def create_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.operator_page(TAB.path, create, tab=TAB, access=CUSTOMERS, posts=True)


async def create(visit: Visit) -> Page | Reply:
    """The form, and the page with the new key."""
    plans = await visit.api.get("admin-plans")
    form = create_form([plan["name"] for plan in plans["plans"]])
    if not visit.is_post:
        return form_page(form)
    try:
        body = {
            "email": visit.form.get("email"),
            "plan_name": visit.form.get("plan_name") or None,
            "monthly_cap_cents": visit.form.cents("monthly_cap"),
        }
        customer = (await visit.api.send("POST", "admin-customers", body))["customer"]
    except Unprocessable as error:
        return form_page(shown_again(form, visit.form, error), status=422)
    except ApiFailure as failure:
        if failure.field == "monthly_cap_cents":
            failure.field = "monthly_cap"
        return form_page(shown_again(form, visit.form, failure), status=failure.status)
    visit.customer = customer
    try:
        body = {"customer_id": customer["id"], "label": "master", "role": "owner"}
        key = (await visit.api.send("POST", "admin-keys", body))["api_key"]
    except ApiFailure as failure:
        text = f"{customer['email']} was created, but its key was not: {plain_text(failure.message)}."
        way = Link("Create the key under Keys", visit.url(TABS["keys"].path, customer_id=customer["id"]))
        return Page(
            title=TAB.title, parts=[Notice(state="bad", text=text, hint=failure.hint, actions=[way])], status=502
        )
    return await created_page(visit, customer, key)


def create_form(plans: list[str]) -> Form:
    """The three fields of a new customer."""
    return Form(
        action=TAB.path,
        submit="Create + issue master key",
        fields=[
            Field(name="email", label="E-mail", type="email", required=True, maxlength=254,
                  hint="Unique. Invoices and alerts go to it."),
            Field(name="plan_name", label="Plan", placeholder="starter", maxlength=40, suggestions=plans,
                  hint="A plan of kaixu.yaml sets limits and prices; any other name is only a label."),
            Field(name="monthly_cap", label="Monthly cap", unit="USD", placeholder="20", maxlength=20,
                  hint="What all keys together may spend in a month. Empty: the plan's cap."),
        ],
    )  # fmt: skip


def form_page(form: Form, *, status: int = 200) -> Page:
    """The page with the form."""
    about = Prose(
        tip=True,
        paragraphs=[
            "This makes the customer and, in the same step, a first key with the role owner. The key is shown a single "
            "time: the gateway stores only its hash, so nobody can read it again. Copy it at once and hand it over on "
            "a channel you trust. Further keys, with limits of their own, are made under Keys."
        ],
    )
    parts = [Card("New customer", [form], width=6), Card("What happens", [about], width=6)]
    return Page(title="Create a customer", parts=parts, status=status)


async def created_page(visit: Visit, customer: dict[str, Any], key: dict[str, Any]) -> Page:
    """The key, once, and what to send to the client with it."""
    links = [
        Link("Keys of this customer", visit.url(TABS["keys"].path, customer_id=customer["id"])),
        Link("Integration", visit.url(TABS["integration"].path, customer_id=customer["id"])),
        Link("Create another", TAB.path),
    ]
    return Page(
        title=f"{customer['email']} is created",
        parts=[*await handover(visit, key, title="The master key"), Prose(paragraphs=[], links=links)],
    )
