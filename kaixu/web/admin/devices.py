"""The tab of devices: which install ids hold the seats of a customer's keys, and revoking one."""

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
    Code,
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
    Table,
    Time,
)
from kaixu.web.device_changes import switch_device, switched_device
from kaixu.web.failures import failure_notice
from kaixu.web.lists import pages_of
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .choose_customer import choose_customer
from .key_actions import DETAILS

TAB = TABS["devices"]
LIMIT = 50
#: Who has revoked a device, where it was a key of the customer; others are operators.
CUSTOMERS = ("user", "owner")
#: The most keys that can be chosen from.
MOST_KEYS = 200


def device_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.operator_page(TAB.path, devices, tab=TAB, posts=True, twin=list_of)


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list, with the filters of the page."""
    filters = {name: visit.query.get(name) for name in ("api_key_id", "cursor")}
    return "admin-devices", {"customer_id": visit.customer_id, "limit": LIMIT, **filters}


async def devices(visit: Visit) -> Page | Reply:
    """The list, and what its buttons send."""
    if visit.customer is None:
        why = "Here is every device that has called with a customer's keys."
        return Page(title=TAB.title, parts=[await choose_customer(visit, why, also_off=True)])
    parts: list[Part] = []
    status = 200
    if visit.is_post:
        try:
            done = await switch_device(visit, "admin-devices")
        except ApiFailure as failure:
            parts.append(failure_notice(failure))
            status = failure.status
        else:
            parameters = {"customer_id": visit.customer_id, "api_key_id": visit.form.get("filter")}
            return visit.redirect(TAB.path, **parameters, **done)
    name, query = list_of(visit)
    reply = await visit.api.get(name, **query)
    keys = await visit.api.get("admin-keys", customer_id=visit.customer_id, limit=MOST_KEYS)
    parts += [
        *done_notice(visit, reply["devices"]),
        filters(visit, keys["keys"]),
        table(visit, reply),
        Card("Seats and install ids", [about(visit, visit.customer)], open=False),
    ]
    return Page(
        title=TAB.title,
        subtitle=f"Of {visit.customer['email']}, the last seen first.",
        parts=parts,
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
        status=status,
    )


def done_notice(visit: Visit, listed: list[dict[str, Any]]) -> list[Notice]:
    """What was just done, with a way back."""
    word = visit.query.get("done", "")
    if word == "restored":
        return [Notice(state="good", text="The device has its seat again.")]
    device = switched_device(visit, listed)
    if word != "revoked" or device is None:
        return []
    undo: list[Button | Link] = [switch_button(visit, device, label="Undo")] if visit.may(KEYS) else []
    name = f"Device {device['install_id']}" if device["install_id"] else "The seat of calls without an install id"
    text = f"{name} of key …{device['key_last4']} is revoked: its next call is refused, and its seat is free."
    return [Notice(state="warn", text=text, actions=undo, ends_after_s=10)]


def about(visit: Visit, customer: Mapping[str, Any]) -> Prose:
    """What a seat is, and what holds for this customer."""
    seats = customer["max_devices_per_key"]
    own = f"Keys without a limit of their own have {seats} seats." if seats else (
        "Keys without a limit of their own have no seat limit; still at most 1,000 devices are stored for a key."
    )  # fmt: skip
    required = (
        "This customer must name a device with every call."
        if customer["require_install_id"]
        else "Calls without an install id are let in, unless their key requires one; they share one seat."
    )
    billing = visit.url(TABS["billing"].path, customer_id=visit.customer_id)
    return Prose(
        tip=True,
        paragraphs=[
            "A client names its device in the header x-kaixu-install-id. A device takes a seat of its key with its "
            "first call and keeps it, so a key with three seats works on three devices; the fourth is refused with "
            "SEATS_FULL."
        ],
        items=[
            own,
            required,
            "Revoking a device refuses it from its next call and frees its seat. It can be restored while a seat is "
            "free.",
            "A rotated key keeps its devices: they are listed under the newest key.",
        ],
        links=[Link("Change seats under Billing & Controls", billing, icon="credit-card")],
    )


def filters(visit: Visit, keys: list[dict[str, Any]]) -> Form:
    """The key."""
    chosen = visit.query.get("api_key_id", "")
    options = [Option(str(one["id"]), f"{one['label']} …{one['key_last4']}") for one in keys]
    if chosen and chosen not in {option.value for option in options}:
        options.append(Option(chosen, f"key {chosen}"))
    return Form(
        action=TAB.path,
        method="get",
        inline=True,
        target="devices",
        submit="Filter",
        hidden={"customer_id": str(visit.customer_id)},
        fields=[
            Field(name="api_key_id", label="Key", type="select", value=chosen, options=[Option("", "all"), *options])
        ],
    )


def table(visit: Visit, reply: Mapping[str, Any]) -> Table:
    """The list itself."""
    next_href, first_href = pages_of(visit, reply["next_cursor"])
    integration = visit.url(TABS["integration"].path, customer_id=visit.customer_id)
    return Table(
        id="devices",
        caption="Devices",
        columns=[
            Column(title="Key"),
            Column(title="Install ID", wide=True),
            Column(title="First seen"),
            Column(title="Last seen"),
            Column(title="Revoked"),
            Column(title="User-Agent", phone=False),
        ],
        rows=[device_row(visit, one) for one in reply["devices"]],
        next_href=next_href,
        first_href=first_href,
        empty=Empty(text="This key has no devices yet.", link=Link("All keys", visit.changed(api_key_id=None)))
        if visit.query.get("api_key_id")
        else Empty(
            text="No device yet: one takes its seat with its first call.", link=Link("How clients call", integration)
        ),
    )


def device_row(visit: Visit, one: Mapping[str, Any]) -> Row:
    """A device's row."""
    key = Link(
        f"…{one['key_last4']}", visit.url(DETAILS, customer_id=visit.customer_id, key_id=one["api_key_id"]), drawer=True
    )
    install = Code(one["install_id"]) if one["install_id"] else Muted("calls without an install id")
    revoked = one["revoked_at"] is not None
    by = "by the customer" if one["revoked_by"] in CUSTOMERS else one["revoked_by"] and f"by {one['revoked_by']}"
    return Row(
        cells=[
            Stack([key, Muted(one["key_label"])], lines=True),
            Stack([install, Muted(one["device_label"])], lines=True) if one["device_label"] else install,
            Time(one["first_seen_at"]),
            Time(one["last_seen_at"], form="ago"),
            Stack([Badge("off", "revoked"), Time(one["revoked_at"]), *([Muted(by)] if by else [])], lines=True)
            if revoked
            else Badge("good", "no"),
            one["last_seen_ua"] or Muted("not sent"),
        ],
        actions=[switch_button(visit, one)] if visit.may(KEYS) else [],
        state="off" if revoked else None,
    )


def switch_button(visit: Visit, one: Mapping[str, Any], *, label: str = "") -> Button:
    """Revokes a device, or restores it."""
    revoked = one["revoked_at"] is not None
    hidden = {
        "customer_id": str(visit.customer_id),
        "api_key_id": str(one["api_key_id"]),
        "install_id": one["install_id"],
        "revoked": "false" if revoked else "true",
        "filter": visit.query.get("api_key_id", ""),
    }
    name = one["install_id"] or "the seat without an install id"
    return Button(
        label or ("Restore" if revoked else "Revoke"),
        TAB.path,
        hidden=hidden,
        style="plain" if revoked else "danger",
        title=f"{'Restore' if revoked else 'Revoke'} {name}",
    )
