"""The pages that make a key and change one: the same form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.accounts.operator_identity import KEYS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Card, Form, Link, Page, Prose
from kaixu.web.form_data import shown_again
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .handover import handover
from .key_actions import CHANGE, DETAILS, NEW, TAB, key_of
from .key_form import FORM_NAMES, key_form, read_key_form


def key_settings_pages(site: Site) -> list[Route]:
    """The routes of the two pages."""
    return [
        *site.operator_page(NEW, new_key, tab=TAB, access=KEYS, posts=True),
        *site.operator_page(CHANGE, change_key, tab=TAB, access=KEYS, posts=True),
    ]


async def new_key(visit: Visit) -> Page | Reply:
    """The form of a sub-key, and the key, once."""
    if visit.customer is None:
        return visit.redirect(TAB.path)
    form = await form_of(visit, {})
    if not visit.is_post:
        return form_page(visit, "Create a sub-key", form)
    try:
        body = read_key_form(visit.form, is_new=True)
        reply = await visit.api.send("POST", "admin-keys", {"customer_id": visit.customer_id, **body})
    except (ApiFailure, Unprocessable) as failure:
        return form_page(visit, "Create a sub-key", again(form, visit, failure), status=failure.status)
    key = reply["api_key"]
    links = [
        Link("Keys of this customer", visit.url(TAB.path, customer_id=visit.customer_id)),
        Link("Create another", visit.url(NEW, customer_id=visit.customer_id)),
    ]
    parts = [
        *await handover(visit, key, needs_install=bool(body["require_install_id"])),
        Prose(paragraphs=[], links=links),
    ]
    return Page(title=f"Key …{key['key_last4']} is created", parts=parts)


async def change_key(visit: Visit) -> Page | Reply:
    """The form with a key's settings."""
    if visit.customer is None:
        return visit.redirect(TAB.path)
    key = await key_of(visit, visit.form.get("key_id") or visit.query.get("key_id", ""))
    form = await form_of(visit, key)
    title = f"Change key …{key['key_last4']}"
    if not visit.is_post:
        return form_page(visit, title, form)
    try:
        body = read_key_form(visit.form, is_new=False)
        await visit.api.send("PATCH", "admin-keys", body, key_id=key["id"])
    except (ApiFailure, Unprocessable) as failure:
        return form_page(visit, title, again(form, visit, failure), status=failure.status)
    return visit.redirect(DETAILS, customer_id=visit.customer_id, key_id=key["id"], done="changed")


async def form_of(visit: Visit, key: Mapping[str, Any]) -> Form:
    """The form, with the customer's groups and what its plan sets."""
    assert visit.customer is not None
    groups = (await visit.api.get("admin-key-groups", customer_id=visit.customer_id))["groups"]
    plan: Mapping[str, Any] = {}
    if visit.customer["plan_version"] is not None:
        plan = (await visit.api.get("admin-plans", name=visit.customer["plan_name"]))["plan"]["settings"]
    where = visit.url(DETAILS, customer_id=visit.customer_id, key_id=key["id"]) if key else ""
    cancel = Link("Cancel", where or visit.url(TAB.path, customer_id=visit.customer_id))
    action, submit = (CHANGE, "Save") if key else (NEW, "Create sub-key")
    return key_form(visit, action=action, submit=submit, row=key, groups=groups, plan=plan, cancel=cancel)


def again(form: Form, visit: Visit, failure: ApiFailure | Unprocessable) -> Form:
    """The form with what was wrong. The API's field is shown at the field of the form that stands for it."""
    if failure.field is not None:
        failure.field = FORM_NAMES.get(failure.field, failure.field)
    return shown_again(form, visit.form, failure)


def form_page(visit: Visit, title: str, form: Form, *, status: int = 200) -> Page:
    """The page with the form."""
    assert visit.customer is not None
    about = Prose(
        tip=True,
        paragraphs=["Every field may stay empty. Below each it says which limit holds then."],
        items=[
            "All limits that apply to a call must let it in: those of the key, its group, the customer and its plan.",
            "A cap of the key lies within the customer cap: it never adds to it.",
            "Changes hold from the next call on, on every gateway.",
        ],
    )
    parts = [
        Card(f"For {visit.customer['email']}", [form], width=8),
        Card("How limits work together", [about], width=4),
    ]
    return Page(title=title, parts=parts, status=status)
