"""What integrations store of a customer: their settings, and whether secrets are set; changing both. Never a value."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Mapping
from typing import Any

from kaixu.accounts.operator_identity import CUSTOMERS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import (
    Badge,
    Button,
    Card,
    Code,
    Column,
    Empty,
    Field,
    Form,
    Link,
    Notice,
    Page,
    Part,
    Prose,
    Row,
    Table,
    Time,
)
from kaixu.web.failures import failure_notice
from kaixu.web.form_data import shown_again
from kaixu.web.setting_fields import Setting, changes_in, field_of, settings_of, text_of
from kaixu.web.site import Site
from kaixu.web.twins import curl_of
from kaixu.web.visits import Visit

from .customer_actions import DETAILS, TAB

INTEGRATIONS = "/gateway/customer/integrations"
SECRET = "/gateway/customer/integrations/secret"  # noqa: S105 - a path
MOST_META = 200

DONE = {
    "settings": "The settings are saved; they hold from the next call on.",
    "unchanged": "Nothing was changed.",
    "reset": "The default holds again.",
    "set": "The secret is stored, encrypted.",
    "cleared": "The secret is removed.",
}


def customer_integration_pages(site: Site) -> list[Route]:
    """The routes of both pages."""
    return [
        *site.operator_page(INTEGRATIONS, integrations, tab=TAB, posts=True),
        *site.operator_page(SECRET, secret, tab=TAB, access=CUSTOMERS, posts=True),
    ]


async def integrations(visit: Visit) -> Page | Reply:
    """The page; a form on it is sent to the same address."""
    if visit.customer is None:
        return visit.redirect(TAB.path)
    if not visit.is_post:
        return await page(visit, None)
    try:
        done = await change(visit)
    except (ApiFailure, Unprocessable) as failure:
        return await page(visit, failure)
    return visit.redirect(INTEGRATIONS, customer_id=visit.customer_id, done=done)


async def change(visit: Visit) -> str:
    """Save settings, or give one its default; the word for what was done."""
    name = visit.form.get("integration")
    body: dict[str, Any] = {"customer_id": visit.customer_id, "integration": name}
    if reset := visit.form.get("reset"):
        await visit.api.send("PATCH", "admin-integration-settings", body | {"reset": [reset]})
        return "reset"
    listed = await visit.api.get("admin-integration-settings", customer_id=visit.customer_id)
    shown = next((one for one in listed["integrations"] if one["integration"] == name), None)
    if shown is None:
        raise Unprocessable("this integration has no settings any more", hint="Open the page again.")
    changes = changes_in(declared_settings(visit, name), shown["settings"], visit.form)
    if not changes:
        return "unchanged"
    await visit.api.send("PATCH", "admin-integration-settings", body | {"settings": changes})
    return "settings"


def declared_settings(visit: Visit, name: str) -> list[Setting]:
    """The settings that an integration which is on declares."""
    state = visit.services.catalog.integrations.get(name)
    if state is None or state.state != "on" or state.integration is None or state.integration.customer is None:
        return []
    return settings_of(state.integration.customer)


async def page(visit: Visit, refused: ApiFailure | Unprocessable | None) -> Page:
    """All integrations, each with its settings and its secrets."""
    assert visit.customer is not None
    may_change = visit.may(CUSTOMERS)
    settings, secrets = await gather(
        visit.api.get("admin-integration-settings", customer_id=visit.customer_id),
        visit.api.get("admin-integration-secrets", customer_id=visit.customer_id),
    )
    by_name = {one["integration"]: one for one in settings["integrations"]}
    names = sorted({*by_name, *(one["integration"] for one in secrets["secrets"])})
    parts: list[Part] = []
    if refused is not None and visit.form.get("integration") not in by_name:
        parts.append(failure_notice(refused))
    elif refused is None and (text := DONE.get(visit.query.get("done", ""))) is not None:
        parts.append(Notice("good", text))
    for name in names:
        inside: list[Part] = []
        if name in by_name:
            problem = refused if visit.form.get("integration") == name else None
            inside += settings_parts(visit, by_name[name], may_change=may_change, refused=problem)
        own = [one for one in secrets["secrets"] if one["integration"] == name]
        if own:
            inside.append(secret_table(visit, name, own, may_change=may_change))
        parts.append(Card(name, inside, id=f"integration-{name}"))
    if not names:
        parts.append(Prose(paragraphs=["No integration that is on stores anything of customers."]))
    query = {"customer_id": visit.customer_id}
    return Page(
        title=f"Integrations of {visit.customer['email']}",
        subtitle="What each integration stores of this customer. Values of secrets are never shown.",
        parts=[*parts, Link("Back to the customer", visit.url(DETAILS, **query))],
        curl=curl_of(visit, "admin-integration-settings", query),
        status=200 if refused is None else refused.status,
    )


def settings_parts(
    visit: Visit, shown: Mapping[str, Any], *, may_change: bool, refused: ApiFailure | Unprocessable | None
) -> list[Part]:
    """The settings as a table with where they come from, and the form that changes them."""
    name = shown["integration"]
    declared = declared_settings(visit, name)
    parts: list[Part] = []
    if shown["problem"]:
        parts.append(Notice("bad", "A stored setting cannot be used any more.", shown["problem"]))
    own = set(shown["own"])
    rows = [setting_row(visit, name, one, shown, is_own=one.name in own, may_change=may_change) for one in declared]
    rows += [Row(cells=[key, Code(str(value)[:MOST_META]), "not used"]) for key, value in shown["unused"].items()]
    parts.append(
        Table(
            id=f"settings-{name}",
            caption="Settings",
            columns=[Column(title="Setting"), Column(title="Value", wide=True), Column(title="From")],
            rows=rows,
            empty=Empty(text="No settings."),
            note="" if declared else "The integration is off; its settings are kept.",
        )
    )
    if may_change and declared:
        form = Form(
            action=visit.url(INTEGRATIONS, customer_id=visit.customer_id),
            fields=[field_of(one, shown["settings"][one.name], is_own=one.name in own) for one in declared],
            submit="Save",
            hidden={"integration": name},
            id=f"settings-form-{name}",
        )
        parts.append(form if refused is None else shown_again(form, visit.form, refused))
    return parts


def setting_row(
    visit: Visit, integration: str, one: Setting, shown: Mapping[str, Any], *, is_own: bool, may_change: bool
) -> Row:
    """One setting."""
    value = text_of(one, shown["settings"][one.name])
    actions: list[Button | Link] = []
    if is_own and may_change:
        actions.append(
            Button(
                "Use the default",
                visit.url(INTEGRATIONS, customer_id=visit.customer_id),
                hidden={"integration": integration, "reset": one.name},
                title=f"Use the default of {one.label}",
            )
        )
    source = Badge("info", "this customer") if is_own else Badge("off", "default")
    return Row(cells=[one.label, Code(value[:MOST_META]) if value else "none", source], actions=actions)


def secret_table(visit: Visit, name: str, secrets: list[dict[str, Any]], *, may_change: bool) -> Table:
    """The secrets of one integration: whether each is set, and what may be shown of it."""
    rows = []
    for one in secrets:
        query = {"customer_id": visit.customer_id, "integration": name, "name": one["name"]}
        actions: list[Button | Link] = []
        if may_change and one["title"] is not None:
            actions.append(Link("Replace" if one["is_set"] else "Set", visit.url(SECRET, **query)))
        if may_change and one["is_set"]:
            actions.append(Link("Clear", visit.url(SECRET, **query, do="clear")))
        meta = ", ".join(f"{key}: {value}" for key, value in one["meta"].items())
        rows.append(
            Row(
                cells=[
                    one["title"] or one["name"],
                    Badge("good", "set") if one["is_set"] else Badge("off", "not set"),
                    Time(one["set_at"]),
                    one["set_by"],
                    meta[:MOST_META] or None,
                ],
                actions=actions,
            )
        )
    return Table(
        id=f"secrets-{name}",
        caption="Secrets",
        columns=[
            Column(title="Secret", wide=True),
            Column(title="State"),
            Column(title="Set"),
            Column(title="By", phone=False),
            Column(title="Details", phone=False),
        ],
        rows=rows,
    )


async def secret(visit: Visit) -> Page | Reply:
    """Set a secret, or ask whether to clear it."""
    if visit.customer is None:
        return visit.redirect(TAB.path)
    named = {field: visit.query.get(field) or visit.form.get(field) for field in ("integration", "name")}
    is_clearing = (visit.query.get("do") or visit.form.get("do")) == "clear"
    body: dict[str, Any] = {"customer_id": visit.customer_id, **named}
    back = visit.url(INTEGRATIONS, customer_id=visit.customer_id)
    form = Form(
        action=visit.url(SECRET, customer_id=visit.customer_id),
        fields=[]
        if is_clearing
        else [
            Field(name="value", label="Value", type="password", required=True, autocomplete="new-password",
                  hint="Stored encrypted. It replaces the one before, and is never shown again.")
        ],
        submit="Clear it" if is_clearing else "Store it",
        style="danger" if is_clearing else "primary",
        hidden={**named, "do": "clear" if is_clearing else "set"},
        cancel=Link("Back", back),
        id="secret",
    )  # fmt: skip
    status = 200
    if visit.is_post:
        try:
            if is_clearing:
                await visit.api.send("DELETE", "admin-integration-secrets", body)
            else:
                await visit.api.send("PUT", "admin-integration-secrets", body | {"value": visit.form.raw("value")})
        except (ApiFailure, Unprocessable) as failure:
            form, status = shown_again(form, visit.form, failure), failure.status
        else:
            done = "cleared" if is_clearing else "set"
            return visit.redirect(INTEGRATIONS, customer_id=visit.customer_id, done=done)
    listed = await visit.api.get("admin-integration-secrets", customer_id=visit.customer_id)
    found = next((one for one in listed["secrets"] if (one["integration"], one["name"]) == tuple(named.values())), None)
    if found is None:
        return visit.redirect(INTEGRATIONS, customer_id=visit.customer_id)
    title = found["title"] or found["name"]
    told = Prose(
        paragraphs=[
            f"{named['integration']} cannot act for {visit.customer['email']} without it."
            if is_clearing
            else f"{named['integration']} uses it in calls of {visit.customer['email']}."
        ]
    )
    heading = f"Clear: {title}" if is_clearing else title
    return Page(title=heading, parts=[Card("", [told, form], width=6)], status=status)
