"""Sessions of operators: one's own, or everybody's for owners; revoked at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kaixu.accounts.operator_identity import OPERATORS, OWN
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import ApiFailure, QueryValue
from kaixu.web.components import (
    Badge,
    Button,
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
    Row,
    Table,
    Time,
)
from kaixu.web.failures import failure_notice
from kaixu.web.lists import pages_of
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .operator_views import METHODS, SESSIONS, TAB, operator_name, views

LIMIT = 50
DONE = {"revoked": "The session has ended: every process refuses it from now on.",
        "others": "All your other sessions have ended."}  # fmt: skip


def session_routes(site: Site) -> list[Route]:
    """The routes of sessions."""
    return site.operator_page(SESSIONS, sessions, tab=TAB, posts=True, twin=list_of)


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list, with the filters of the page."""
    given = {name: visit.query.get(name) for name in ("operator_id", "ended", "before_id")}
    return "admin-sessions", {"limit": LIMIT, **given}


async def sessions(visit: Visit) -> Page | Reply:
    """The list; a POST ends sessions."""
    parts: list[Part] = [views(visit)]
    status = 200
    if visit.is_post:
        try:
            done = await end_sessions(visit)
            return visit.redirect(SESSIONS, done=done)
        except ApiFailure as failure:
            status = failure.status
            parts.append(failure_notice(failure))
    if visit.query.get("done") in DONE:
        parts.append(Notice(state="good", text=DONE[visit.query["done"]]))
    name, query = list_of(visit)
    reply = await visit.api.get(name, **query)
    next_href, first_href = pages_of(visit, reply["next_before_id"], "before_id")
    filters = Form(
        action=SESSIONS,
        method="get",
        inline=True,
        target="sessions",
        submit="Filter",
        hidden={"operator_id": visit.query["operator_id"]} if visit.query.get("operator_id") else {},
        fields=[
            Field(name="ended", label="Also those that are over", type="checkbox",
                  checked=visit.query.get("ended") == "true"),
        ],
    )  # fmt: skip
    parts += [filters, session_table(visit, reply["sessions"], SESSIONS, next_href=next_href, first_href=first_href)]
    everybody = "Everybody's" if visit.may(OPERATORS) and not visit.query.get("operator_id") else "The operator's"
    return Page(
        title="Sessions",
        subtitle=f"{everybody} logins with a browser." if visit.may(OPERATORS) else "Your logins with a browser.",
        parts=parts,
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
        status=status,
    )


async def end_sessions(visit: Visit) -> str:
    """End one session, or all others of one's own. Raises `ApiFailure`."""
    if visit.form.get("others"):
        await visit.api.send("DELETE", "admin-sessions", others=True)
        return "others"
    await visit.api.send("DELETE", "admin-sessions", session_id=visit.form.get("session_id"))
    return "revoked"


def session_table(
    visit: Visit, rows: list[dict[str, Any]], action: str, *, next_href: str = "", first_href: str = ""
) -> Table:
    """Sessions, newest first. `action`: the page whose form ends one."""
    return Table(
        id="sessions",
        caption="Sessions",
        columns=[
            Column(title="Operator", wide=True),
            Column(title="Logged in with"),
            Column(title="State"),
            Column(title="Address"),
            Column(title="Browser", phone=False),
            Column(title="Last seen"),
            Column(title="Ends"),
        ],
        rows=[session_row(visit, one, action) for one in rows],
        next_href=next_href,
        first_href=first_href,
        empty=Empty(text="No session fits.", link=Link("All open sessions", SESSIONS)),
    )


def session_row(visit: Visit, one: Mapping[str, Any], action: str) -> Row:
    """A session's row; one that is open can be ended."""
    is_over = one["revoked_at"] is not None or is_past(one)
    state: Cell = Badge("good", "open")
    if one["is_current"]:
        state = Badge("info", "this one")
    elif one["revoked_at"] is not None:
        state = Badge("off", "ended", hint=f"by {one['revoked_by']}")
    elif is_over:
        state = Badge("off", "expired")
    may_end = visit.may(OWN) and not one["is_current"] and not is_over
    hidden = {"session_id": str(one["id"])}
    return Row(
        state="off" if is_over else None,
        cells=[
            operator_name(one),
            METHODS.get(one["method"], one["method"]),
            state,
            one["address"] or Muted("–"),
            Muted((one["user_agent"] or "–")[:60]),
            Time(one["last_seen_at"], form="ago"),
            Time(one["revoked_at"] or one["expires_at"]),
        ],
        actions=[Button("Revoke", action, hidden=hidden, style="danger")] if may_end else [],
    )


def is_past(one: Mapping[str, Any]) -> bool:
    """Whether a session has expired."""
    return datetime.fromisoformat(one["expires_at"]) <= datetime.now(UTC)
