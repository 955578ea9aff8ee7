"""Requests for keys by mail address: the list, and the decision on those that are held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.accounts.operator_identity import KEYS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import ApiFailure, QueryValue
from kaixu.web.components import (
    Badge,
    Button,
    Card,
    Cell,
    Column,
    Empty,
    Field,
    Form,
    Link,
    Muted,
    Notice,
    Option,
    Page,
    Part,
    Prose,
    Row,
    Stack,
    State,
    Table,
    Time,
)
from kaixu.web.failures import failure_notice
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .key_actions import DETAILS, TAB
from .keys import REQUESTS

#: The states of requests in words.
STATES: dict[str, tuple[State, str]] = {
    "held": ("warn", "waits for you"),
    "issued": ("good", "key issued"),
    "link": ("info", "link mailed"),
    "used": ("good", "link used"),
    "replaced": ("off", "another link was used"),
    "repeated": ("off", "repeated while one waited"),
    "denied": ("bad", "refused"),
    "suspended": ("bad", "customer switched off"),
    "unsendable": ("bad", "no mail could be sent"),
}
DONE: dict[str, tuple[State, str]] = {
    "approved": ("good", "Approved: a link to the key is mailed."),
    "denied": ("info", "Refused. Nothing is mailed."),
}


def key_request_pages(site: Site) -> list[Route]:
    """The routes of requests."""
    return site.operator_page(REQUESTS, requests, tab=TAB, posts=True, twin=list_of)


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list, with the filters of the page."""
    return "admin-key-requests", {"state": visit.query.get("state"), "email": visit.query.get("email")}


async def requests(visit: Visit) -> Page | Reply:
    """The list, and a decision."""
    parts: list[Part] = []
    status = 200
    if visit.is_post:
        decision = visit.form.get("decision")
        try:
            body = {"id": visit.form.get("id"), "decision": decision}
            await visit.api.send("POST", "admin-key-requests", body)
        except ApiFailure as failure:
            parts.append(failure_notice(failure))
            status = failure.status
        else:
            return visit.redirect(REQUESTS, state="held", done="approved" if decision == "approve" else "denied")
    elif (word := visit.query.get("done", "")) in DONE:
        state, text = DONE[word]
        parts.append(Notice(state=state, text=text))
    name, query = list_of(visit)
    listed = (await visit.api.get(name, **query))["requests"]
    parts += [filters(visit), table(visit, listed), Card("What is here", [ABOUT], open=False)]
    return Page(
        title="Requests for keys",
        subtitle="Whoever asks for a key on the page /request-key. Those that are held wait for your decision.",
        parts=parts,
        actions=[Link("The page for clients", "/request-key", icon="external-link")],
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
        status=status,
    )


ABOUT = Prose(
    tip=True,
    paragraphs=[
        "With the setting selfservice in kaixu.yaml, a client gets a starter key by its address alone: at once, by a "
        "link in a mail, or after you have approved. A customer who asks again gets a link first: the old key is "
        "replaced only when the owner of the mailbox uses it."
    ],
    items=[
        "Approving mails a link to the recipient; the key is made when the link is used.",
        "Refusing mails nothing, so that nobody learns whether an address is known.",
        "What a starter key may do: the settings DEFAULT_SELFSERVE_… of the environment.",
    ],
)


def filters(visit: Visit) -> Form:
    """State and address."""
    options = [Option("", "all"), *(Option(name, words) for name, (_, words) in STATES.items())]
    return Form(
        action=REQUESTS,
        method="get",
        inline=True,
        target="requests",
        submit="Filter",
        fields=[
            Field(name="email", label="E-mail", type="search", value=visit.query.get("email", ""), maxlength=254,
                  placeholder="ada@example.com"),
            Field(name="state", label="State", type="select", value=visit.query.get("state", ""), options=options),
        ],
    )  # fmt: skip


def table(visit: Visit, listed: list[dict[str, Any]]) -> Table:
    """The requests, newest first."""
    is_filtered = bool(visit.query.get("state") or visit.query.get("email"))
    return Table(
        id="requests",
        caption="Requests",
        columns=[
            Column(title="Asked"),
            Column(title="E-mail", wide=True),
            Column(title="State"),
            Column(title="Customer", align="right"),
            Column(title="Key", align="right"),
            Column(title="Link valid until", phone=False),
            Column(title="Decided", phone=False),
        ],
        rows=[request_row(visit, one) for one in listed],
        empty=Empty(text="No request fits these filters.", link=Link("Show all", REQUESTS))
        if is_filtered
        else Empty(text="Nobody has asked for a key yet.", link=Link("The page for clients", "/request-key")),
        note="The newest 500." if len(listed) == 500 else "",
    )


def request_row(visit: Visit, one: Mapping[str, Any]) -> Row:
    """A request, with the decision where it is held."""
    state, words = STATES.get(one["state"], ("off", one["state"]))
    recipient = one["recipient"]
    address: Cell = one["address"]
    if recipient and recipient != one["address"]:
        address = Stack([one["address"], Muted(f"mail to {recipient}")], lines=True)
    actions: list[Button | Link] = []
    if one["state"] == "held" and visit.may(KEYS):
        actions = [
            Button("Approve", REQUESTS, hidden={"id": one["id"], "decision": "approve"}, style="primary",
                   title=f"Approve the request of {one['address']}"),
            Button("Refuse", REQUESTS, hidden={"id": one["id"], "decision": "deny"},
                   title=f"Refuse the request of {one['address']}"),
        ]  # fmt: skip
    customer, key = one["customer_id"], one["key_id"]
    keys = visit.url(TABS["keys"].path, customer_id=customer)
    return Row(
        cells=[
            Time(one["created_at"]),
            address,
            Badge(state, words),
            Link(str(customer), keys) if customer is not None else None,
            Link(str(key), visit.url(DETAILS, customer_id=customer, key_id=key), drawer=True)
            if key is not None and customer is not None
            else None,
            Time(one["expires_at"]),
            Stack([Time(one["decided_at"]), Muted(one["decided_by"])], lines=True) if one["decided_at"] else None,
        ],
        actions=actions,
    )
