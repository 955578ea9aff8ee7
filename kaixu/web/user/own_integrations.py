"""The dashboard's settings of integrations: what each leaves to the customer, and whether secrets are set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.catalog.catalog import Catalog
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import (
    Badge,
    Button,
    Card,
    Column,
    Facts,
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
from kaixu.web.navigation import OWN_SETTINGS
from kaixu.web.setting_fields import Setting, changes_in, field_of, settings_of
from kaixu.web.site import Site
from kaixu.web.twins import curl_of
from kaixu.web.visits import Visit

from .scope import sees_account

SECRET = "/gateway/dashboard/integrations/secret"  # noqa: S105 - a path

#: Messages above the settings; the API has more.
MOST_MESSAGES = 5

DONE = {
    "settings": "The settings are saved; they hold from the next call on.",
    "unchanged": "Nothing was changed.",
    "set": "It is stored, encrypted.",
    "cleared": "It is removed.",
}

ROLES = "Settings of integrations are seen and changed with a key of the role admin or owner."


def own_integration_setting_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return [
        *site.customer_page(OWN_SETTINGS.path, integrations, tab=OWN_SETTINGS, posts=True),
        *site.customer_page(SECRET, secret, tab=OWN_SETTINGS, posts=True),
    ]


async def integrations(visit: Visit) -> Page | Reply:
    """The page; its forms are sent to the same address."""
    if not sees_account(visit):
        return Page(title=OWN_SETTINGS.title, parts=[Notice("info", ROLES)])
    if not visit.is_post:
        return await page(visit, None)
    try:
        done = await change(visit)
    except (ApiFailure, Unprocessable) as failure:
        return await page(visit, failure)
    return visit.redirect(OWN_SETTINGS.path, done=done)


async def change(visit: Visit) -> str:
    """Save settings; the word for what was done."""
    name = visit.form.get("integration")
    listed = (await visit.api.get("user-integrations"))["integrations"]
    shown = next((one for one in listed if one["integration"] == name), None)
    if shown is None:
        raise Unprocessable("this integration has no settings for you any more", hint="Open the page again.")
    changes = changes_in(own_settings(visit.services.catalog, shown), shown["settings"], visit.form)
    if not changes:
        return "unchanged"
    await visit.api.send("PATCH", "user-integration-settings", {"integration": name, "settings": changes})
    return "settings"


def own_settings(catalog: Catalog, shown: Mapping[str, Any]) -> list[Setting]:
    """The settings that a customer may change, as they are filled in."""
    state = catalog.integrations[shown["integration"]]
    if state.integration is None or state.integration.customer is None:
        return []
    return [one for one in settings_of(state.integration.customer) if one.name in shown["settings"]]


async def page(visit: Visit, refused: ApiFailure | Unprocessable | None) -> Page:
    """A card for each integration."""
    own = await visit.api.get("user-integrations")
    listed, messages = own["integrations"], own["messages"]
    names = {one["integration"] for one in listed}
    parts: list[Part] = []
    if refused is not None and visit.form.get("integration") not in names:
        parts.append(failure_notice(refused))
    elif refused is None and (text := DONE.get(visit.query.get("done", ""))) is not None:
        parts.append(Notice("good", text))
    parts += [message_card(number, one) for number, one in enumerate(messages[:MOST_MESSAGES], start=1)]
    for one in listed:
        problem = refused if visit.form.get("integration") == one["integration"] else None
        parts.append(card(visit, one, problem))
    if not listed and not messages:
        parts.append(Prose(paragraphs=["No integration has settings for you."]))
    return Page(
        title=OWN_SETTINGS.title,
        subtitle="What integrations do for your account. Tokens are stored encrypted, and never shown.",
        parts=parts,
        curl=curl_of(visit, "user-integrations", {}),
        status=200 if refused is None else refused.status,
    )


def message_card(number: int, one: Mapping[str, Any]) -> Card:
    """What an integration has written."""
    link = one["link"]
    links = [] if link is None else [Link(link["text"], link["url"], external=not link["url"].startswith("/"))]
    how = "by mail" if one["is_mailed"] else "only here"
    facts = Facts([("From", one["integration"]), ("Written", Time(one["created_at"])), ("Sent", how)])
    return Card(one["subject"], [Prose(paragraphs=one["paragraphs"], links=links), facts], id=f"message-{number}")


def card(visit: Visit, one: Mapping[str, Any], refused: ApiFailure | Unprocessable | None) -> Card:
    """The settings and secrets of one integration."""
    name = one["integration"]
    parts: list[Part] = []
    settings = own_settings(visit.services.catalog, one)
    if settings:
        form = Form(
            action=OWN_SETTINGS.path,
            fields=[field_of(each, one["settings"][each.name], is_own=each.name in one["own"]) for each in settings],
            submit="Save",
            hidden={"integration": name},
            id=f"settings-form-{name}",
        )
        parts.append(form if refused is None else shown_again(form, visit.form, refused))
    if one["secrets"]:
        parts.append(secret_table(visit, name, one["secrets"]))
    return Card(name, parts, id=f"integration-{name}")


def secret_table(visit: Visit, name: str, secrets: list[dict[str, Any]]) -> Table:
    """Whether each secret is set."""
    rows = []
    for one in secrets:
        query = {"integration": name, "name": one["name"]}
        actions: list[Button | Link] = [Link("Replace" if one["is_set"] else "Set", visit.url(SECRET, **query))]
        if one["is_set"]:
            actions.append(Link("Clear", visit.url(SECRET, **query, do="clear")))
        state = Badge("good", "set") if one["is_set"] else Badge("off", "not set")
        rows.append(Row(cells=[one["title"], state, Time(one["set_at"])], actions=actions))
    return Table(
        id=f"secrets-{name}",
        caption="Secrets",
        columns=[Column(title="Secret", wide=True), Column(title="State"), Column(title="Set")],
        rows=rows,
    )


async def secret(visit: Visit) -> Page | Reply:
    """Set a secret, or ask whether to clear it."""
    named = {field: visit.query.get(field) or visit.form.get(field) for field in ("integration", "name")}
    is_clearing = (visit.query.get("do") or visit.form.get("do")) == "clear"
    listed = (await visit.api.get("user-integrations"))["integrations"]
    found = next(
        (
            each
            for one in listed
            if one["integration"] == named["integration"]
            for each in one["secrets"]
            if each["name"] == named["name"]
        ),
        None,
    )
    if found is None:
        return visit.redirect(OWN_SETTINGS.path)
    form = Form(
        action=SECRET,
        fields=[]
        if is_clearing
        else [Field(name="value", label="Value", type="password", required=True, autocomplete="new-password",
                    hint="Stored encrypted. It replaces the one before, and is never shown again.")],
        submit="Clear it" if is_clearing else "Store it",
        style="danger" if is_clearing else "primary",
        hidden={**named, "do": "clear" if is_clearing else "set"},
        cancel=Link("Back", OWN_SETTINGS.path),
        id="secret",
    )  # fmt: skip
    status = 200
    if visit.is_post:
        try:
            if is_clearing:
                await visit.api.send("DELETE", "user-integration-secrets", named)
            else:
                value = visit.form.raw("value")
                await visit.api.send("PUT", "user-integration-secrets", {**named, "value": value})
        except (ApiFailure, Unprocessable) as failure:
            form, status = shown_again(form, visit.form, failure), failure.status
        else:
            return visit.redirect(OWN_SETTINGS.path, done="cleared" if is_clearing else "set")
    heading = f"Clear: {found['title']}" if is_clearing else found["title"]
    return Page(title=heading, parts=[Card("", [form], width=6)], status=status)
