"""The tab of a customer's keys: the list, with search, filters, sorting and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.accounts.operator_identity import KEYS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import QueryValue
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
    Money,
    Muted,
    Option,
    Page,
    Part,
    Prose,
    Row,
    Stack,
    Table,
    Time,
)
from kaixu.web.lists import pages_of, sort_links
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .choose_customer import choose_customer
from .key_actions import CHANGE, DETAILS, NEW, ROTATE, TAB, chain_of, revoke_button, revoked_notice
from .limit_words import from_plan, limit_name, models_of, money_or, names_of, number_or

GROUPS = "/gateway/key-groups"
REQUESTS = "/gateway/key-requests"

LIMIT = 50
FILTERS = ("q", "revoked", "role", "sort", "order", "cursor")
STATES = (Option("", "all"), Option("false", "not revoked"), Option("true", "revoked"))
ROLES = (Option("", "all"), *(Option(one, one) for one in ("viewer", "deployer", "admin", "owner")))


def key_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.operator_page(TAB.path, keys, tab=TAB, twin=list_of)


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list, with the filters of the page."""
    filters = {name: visit.query.get(name) for name in FILTERS}
    return "admin-keys", {"customer_id": visit.customer_id, "limit": LIMIT, **filters}


async def keys(visit: Visit) -> Page | Reply:
    """The list."""
    requests = Link("Requests for keys", REQUESTS, icon="mail")
    if visit.customer is None:
        why = "Here are a customer's keys, with what each may do and spend."
        return Page(title=TAB.title, parts=[await choose_customer(visit, why, also_off=True)], actions=[requests])
    name, query = list_of(visit)
    reply = await visit.api.get(name, **query)
    groups = (await visit.api.get("admin-key-groups", customer_id=visit.customer_id))["groups"]
    parts: list[Part] = []
    if visit.query.get("done") in ("revoked", "restored") and (text := visit.query.get("done_id")):
        changed = next(one for one in await chain_of(visit, text) if str(one["id"]) == text)
        parts += revoked_notice(visit, changed, visit.query["done"])
    names = {one["id"]: one["name"] for one in groups}
    parts += [filters(visit), table(visit, reply, names), Card("What is here", [ABOUT], open=False)]
    actions = [requests, Link("Groups", visit.url(GROUPS, customer_id=visit.customer_id), icon="layers")]
    if visit.may(KEYS):
        new = Link("Create sub-key", visit.url(NEW, customer_id=visit.customer_id), icon="plus")
        actions.insert(0, new)
    return Page(
        title=TAB.title,
        subtitle=f"Of {visit.customer['email']}. Click a key for its usage, devices and limits.",
        parts=parts,
        actions=actions,
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
    )


ABOUT = Prose(
    tip=True,
    paragraphs=[
        "All keys of a customer share the customer cap. A sub-key is a key with limits of its own: one for each "
        "laptop, colleague or job, so that one can be limited or revoked without the others."
    ],
    items=[
        "Cap override: what this key may spend, within the customer cap. Binds first says which cap leaves the least "
        "room for its next call, and how much.",
        "Rotate: a new key with the same settings replaces this one, which stops at once or after an overlap. Use it "
        "when a key may have leaked, and as a habit.",
        "Revoke: the next call with the key is refused. It can be taken back, unless the key was rotated.",
        "Max devices: how many install ids may use the key; revoking one under Devices frees its seat.",
        "Allowed providers and models narrow what the customer may use. The full key is shown only when it is made: "
        "the gateway stores a hash.",
    ],
)


def filters(visit: Visit) -> Form:
    """Search, state and role."""
    kept = {name: visit.query[name] for name in ("sort", "order") if visit.query.get(name)}
    return Form(
        action=TAB.path,
        method="get",
        inline=True,
        target="keys",
        submit="Filter",
        hidden={"customer_id": str(visit.customer_id), **kept},
        fields=[
            Field(name="q", label="Search", type="search", value=visit.query.get("q", ""), maxlength=100,
                  placeholder="Label or last four characters"),
            Field(name="revoked", label="State", type="select", value=visit.query.get("revoked", ""), options=STATES),
            Field(name="role", label="Role", type="select", value=visit.query.get("role", ""), options=ROLES),
        ],
    )  # fmt: skip


def table(visit: Visit, reply: Mapping[str, Any], groups: Mapping[int, str]) -> Table:
    """The list itself."""
    sorts = sort_links(visit, {"id": "desc", "spent": "desc", "last_seen": "desc"}, default="id")
    next_href, first_href = pages_of(visit, reply["next_cursor"])
    is_filtered = any(visit.query.get(one) for one in ("q", "revoked", "role"))
    new = Link("Create the first one", visit.url(NEW, customer_id=visit.customer_id)) if visit.may(KEYS) else None
    return Table(
        id="keys",
        caption="Keys",
        columns=[
            Column(title="ID", align="right", **sorts["id"]),
            Column(title="Last4"),
            Column(title="Label", wide=True),
            Column(title="Revoked"),
            Column(title="Spent", align="right", hint="This month; held for calls in flight below", **sorts["spent"]),
            Column(title="Binds first", hint="The cap that leaves the least room for the next call"),
            Column(title="Cap override", align="right"),
            Column(title="RPM override", align="right"),
            Column(title="Max devices", align="right"),
            Column(title="Require install", phone=False),
            Column(title="Allowed providers", phone=False),
            Column(title="Allowed models", phone=False),
            Column(title="Last seen", **sorts["last_seen"]),
            Column(title="Created", phone=False),
        ],
        rows=[key_row(visit, one, groups) for one in reply["keys"]],
        next_href=next_href,
        first_href=first_href,
        empty=Empty(text="No key fits these filters.", link=Link("Show all", visit.url(customer_id=visit.customer_id)))
        if is_filtered
        else Empty(text="This customer has no keys yet, so it cannot make a call.", link=new),
    )


def key_row(visit: Visit, one: Mapping[str, Any], groups: Mapping[int, str]) -> Row:
    """A key's row."""
    customer = visit.customer or {}
    group = groups.get(one["group_id"]) if one["group_id"] is not None else None
    who = Muted(f"{one['role']}, group {group}" if group is not None else one["role"])
    seats = customer.get("max_devices_per_key")
    default_rpm = visit.services.settings.default_rpm_limit
    needs_install = one["require_install_id"] or customer.get("require_install_id")
    return Row(
        id=f"key-{one['id']}",
        href=visit.url(DETAILS, customer_id=one["customer_id"], key_id=one["id"]),
        cells=[
            one["id"],
            Code(one["key_last4"]),
            Stack([one["label"], who], lines=True),
            state_of(one),
            Stack([Money(one["spent_usd"]), held_of(one)], lines=True),
            Stack([Money(one["room_usd"]), Muted(limit_name(one["binds"]))], lines=True),
            money_or(one["monthly_cap_cents"], "customer cap"),
            from_plan(number_or(one["rpm_limit"], f"gateway's {default_rpm}"), "rpm_limit", one),
            number_or(one["max_devices"], f"customer's {seats}" if seats else "no seat limit"),
            "yes" if needs_install else Muted("no"),
            names_of(one["allowed_providers"] or None, everything="customer's", nothing="none"),
            models_of(one["allowed_models"], everything="customer's"),
            Time(one["last_seen_at"], form="ago", none="never"),
            Time(one["created_at"], form="date"),
        ],
        actions=row_actions(visit, one),
        state="off" if one["revoked_at"] is not None else None,
    )


def held_of(one: Mapping[str, Any]) -> Cell:
    """What calls in flight hold; nothing where they hold nothing."""
    return Stack([Muted("held"), Money(one["held_usd"])]) if one["held_cents"] else Muted("nothing held")


def state_of(one: Mapping[str, Any]) -> Cell:
    """Whether a key works, in words."""
    if one["revoked_at"] is not None:
        word = "rotated" if one["replaced_by"] is not None else "revoked"
        return Stack([Badge("off", word), Time(one["revoked_at"], form="date")], lines=True)
    if one["expires_at"] is not None:
        badge = Badge("warn", "overlaps") if one["replaced_by"] is not None else Badge("info", "expires")
        return Stack([badge, Time(one["expires_at"], form="date")], lines=True)
    return Badge("good", "no")


def row_actions(visit: Visit, one: Mapping[str, Any]) -> list[Button | Link]:
    """What can be done to a key from its row."""
    if not visit.may(KEYS):
        return []
    address = {"customer_id": one["customer_id"], "key_id": one["id"]}
    is_over = one["revoked_at"] is not None and one["replaced_by"] is not None
    if is_over:
        return []
    actions: list[Button | Link] = [Link("Change", visit.url(CHANGE, **address))]
    if one["revoked_at"] is None and one["replaced_by"] is None:
        actions.append(Link("Rotate", visit.url(ROTATE, **address)))
    return [*actions, revoke_button(visit, one)]
