"""API tokens of operators: for scripts, with scopes and an end; shown once, revoked at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.accounts.operator_identity import OPERATORS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.addresses import gateway_url
from kaixu.web.api_calls import ApiFailure, QueryValue
from kaixu.web.components import (
    Badge,
    Button,
    Card,
    Cell,
    Code,
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
    Table,
    Time,
)
from kaixu.web.failures import failure_notice
from kaixu.web.form_data import shown_again
from kaixu.web.lists import pages_of
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .operator_sessions import is_past
from .operator_views import MAY_TOKENS, TAB, TOKENS, operator_name, scope_options, views

LIMIT = 50
NEW = "/gateway/operators/tokens/new"
DAYS, MOST_DAYS = 90, 3650


def token_routes(site: Site) -> list[Route]:
    """The routes of tokens."""
    return [
        *site.operator_page(TOKENS, tokens, tab=TAB, access=MAY_TOKENS, posts=True, twin=list_of),
        *site.operator_page(NEW, new, tab=TAB, access=MAY_TOKENS, posts=True),
    ]


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list, with the filters of the page."""
    given = {name: visit.query.get(name) for name in ("operator_id", "ended", "before_id")}
    return "admin-tokens", {"limit": LIMIT, **given}


async def tokens(visit: Visit) -> Page | Reply:
    """The list; a POST revokes a token."""
    parts: list[Part] = [views(visit)]
    status = 200
    if visit.is_post:
        try:
            await visit.api.send("DELETE", "admin-tokens", token_id=visit.form.get("token_id"))
            return visit.redirect(TOKENS, done="revoked")
        except ApiFailure as failure:
            status = failure.status
            parts.append(failure_notice(failure))
    if visit.query.get("done") == "revoked":
        text = "The token is revoked: it is refused from the next request on. It cannot be restored; make another one."
        parts.append(Notice(state="good", text=text))
    name, query = list_of(visit)
    reply = await visit.api.get(name, **query)
    next_href, first_href = pages_of(visit, reply["next_before_id"], "before_id")
    filters = Form(
        action=TOKENS,
        method="get",
        inline=True,
        target="tokens",
        submit="Filter",
        hidden={"operator_id": visit.query["operator_id"]} if visit.query.get("operator_id") else {},
        fields=[
            Field(name="ended", label="Also revoked and expired ones", type="checkbox",
                  checked=visit.query.get("ended") == "true"),
        ],
    )  # fmt: skip
    table = token_table(reply["tokens"], TOKENS, next_href=next_href, first_href=first_href)
    tip = Prose(
        tip=True,
        paragraphs=[
            "A token is for a script: it needs no login and no cookie. Give it the fewest scopes that it needs, and an "
            "end. It never may more than the role of its operator, and stops when the operator is switched off."
        ],
    )
    return Page(
        title="API tokens",
        subtitle="Everybody's tokens." if visit.may(OPERATORS) else "Your tokens.",
        parts=[*parts, filters, table, tip],
        actions=[Link("Make a token", NEW, icon="plus")],
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
        status=status,
    )


def token_table(rows: list[dict[str, Any]], action: str, *, next_href: str = "", first_href: str = "") -> Table:
    """Tokens, newest first. `action`: the page whose form revokes one."""
    return Table(
        id="tokens",
        caption="API tokens",
        columns=[
            Column(title="Name", wide=True),
            Column(title="Token"),
            Column(title="State"),
            Column(title="Scopes"),
            Column(title="Operator"),
            Column(title="Last used"),
            Column(title="Ends"),
        ],
        rows=[token_row(one, action) for one in rows],
        next_href=next_href,
        first_href=first_href,
        empty=Empty(text="There are no tokens here.", link=Link("Make a token", NEW)),
    )


def token_row(one: Mapping[str, Any], action: str) -> Row:
    """A token's row."""
    is_over = one["revoked_at"] is not None or is_past(one)
    state: Cell = Badge("good", "valid")
    if one["revoked_at"] is not None:
        state = Badge("off", "revoked", hint=f"by {one['revoked_by']}")
    elif is_over:
        state = Badge("off", "expired")
    used: Cell = Time(one["last_used_at"], form="ago", none="never")
    if one["last_address"]:
        used = Stack([used, Muted(one["last_address"])], lines=True)
    return Row(
        state="off" if is_over else None,
        cells=[
            one["name"],
            Code(f"…{one['last4']}"),
            state,
            ", ".join(one["scopes"]),
            operator_name(one),
            used,
            Time(one["revoked_at"] or one["expires_at"], form="date"),
        ],
        actions=[] if is_over else [Button("Revoke", action, hidden={"token_id": str(one["id"])}, style="danger")],
    )


async def new(visit: Visit) -> Page | Reply:
    """The form; the reply to it shows the token once."""
    form = Form(
        action=NEW,
        submit="Make the token",
        cancel=Link("Cancel", TOKENS),
        fields=[
            Field(name="name", label="Name", required=True, maxlength=80, placeholder="nightly report",
                  hint="What it is for: the audit log shows it with what it does."),
            Field(name="expires_in_days", label="Ends after", type="number", unit="days", value=str(DAYS), min="1",
                  max=str(MOST_DAYS), step="1"),
            Field(name="scopes", label="Scopes", type="checkboxes", values=["read"], options=scope_options(visit)),
        ],
    )  # fmt: skip
    status = 200
    if visit.is_post:
        try:
            body = {
                "name": visit.form.get("name"),
                "scopes": visit.form.all("scopes"),
                "expires_in_days": visit.form.number("expires_in_days"),
            }
            made = (await visit.api.send("POST", "admin-tokens", body))["token"]
            return made_page(visit, made)
        except Unprocessable as error:
            form, status = shown_again(form, visit.form, error), 422
        except ApiFailure as failure:
            form, status = shown_again(form, visit.form, failure), failure.status
    return Page(title="Make an API token", parts=[Card("New token", [form])], status=status)


def made_page(visit: Visit, made: Mapping[str, Any]) -> Page:
    """The token, once, and how it is sent."""
    url = gateway_url(visit) + "/api/admin-customers"
    command = f'curl -s {url} -H "authorization: Bearer $KAIXU_TOKEN"'
    parts: list[Part] = [
        Card("The token", [Snippet(made["token"], title=made["name"], secret=True)]),
        Card("How it is used", [Snippet(command, language="sh", title="Set KAIXU_TOKEN to it")]),
        Prose(paragraphs=[], links=[Link("All tokens", TOKENS)]),
    ]
    return Page(title=f"{made['name']} is made", parts=parts)
