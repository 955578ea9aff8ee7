"""The dashboard's devices: which hold seats of the keys; revoke one, give it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import ApiFailure, QueryValue
from kaixu.web.components import (
    Badge,
    Button,
    Code,
    Column,
    Empty,
    Form,
    Muted,
    Notice,
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
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .budget import seats_text
from .scope import scope_fields, scope_query, sees_account

TAB = TABS["own-devices"]
MOST_LISTED = 200

#: Who has revoked a device, in words.
REVOKERS = {"user": "with a key", "owner": "with an admin key"}


def own_device_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.customer_page(TAB.path, devices, tab=TAB, posts=True, twin=list_of)


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list."""
    return "user-devices", scope_query(visit)


async def devices(visit: Visit) -> Page | Reply:
    """The list, and what its buttons send."""
    parts: list[Part] = []
    status = 200
    if visit.is_post:
        try:
            done = await switch_device(visit, "user-devices")
        except ApiFailure as failure:
            parts.append(failure_notice(failure))
            status = failure.status
        else:
            scope = visit.form.get("scope") or None
            return visit.redirect(TAB.path, scope=scope, **done)
    name, query = list_of(visit)
    listed = (await visit.api.get(name, **query))["devices"]
    parts += done_notice(visit, listed)
    if fields := scope_fields(visit):
        parts.append(Form(action=TAB.path, method="get", inline=True, submit="Show", target="devices", fields=fields))
    parts += [table_of(visit, listed), about(visit)]
    return Page(
        title=TAB.title,
        subtitle="Who calls with your keys, the last seen first.",
        parts=parts,
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
        status=status,
    )


def done_notice(visit: Visit, listed: list[dict[str, Any]]) -> list[Notice]:
    """What was just done, with a way back."""
    word = visit.query.get("done", "")
    if word == "restored":
        return [Notice("good", "The device has its seat again.")]
    device = switched_device(visit, listed)
    if word != "revoked" or device is None or device["revoked_by"] not in REVOKERS:
        return []
    text = f"{name_of(device)} is revoked: its next call is refused, and its seat is free."
    return [Notice("warn", text, actions=[switch_button(visit, device, "Undo")], ends_after_s=10)]


def name_of(one: Mapping[str, Any]) -> str:
    """The install id of a device; calls without one share a seat."""
    return str(one["install_id"]) or "The seat of calls without an install id"


def table_of(visit: Visit, listed: list[dict[str, Any]]) -> Table:
    """The devices."""
    note = f"The {MOST_LISTED} that were seen last." if len(listed) >= MOST_LISTED else ""
    return Table(
        id="devices",
        caption="Devices",
        columns=[
            Column(title="Key"),
            Column(title="Install ID", wide=True),
            Column(title="First seen", phone=False),
            Column(title="Last seen"),
            Column(title="Revoked"),
            Column(title="User-Agent", phone=False),
        ],
        rows=[device_row(visit, one) for one in listed],
        empty=Empty(
            text="No device has called yet. A client names its device in the header x-kaixu-install-id; it appears "
            "here with its first call."
        ),
        note=note,
    )


def device_row(visit: Visit, one: Mapping[str, Any]) -> Row:
    """A device, with what may be done about it: what others have revoked, only they give back."""
    by = one["revoked_by"]
    may_restore = by == "user" or (by == "owner" and sees_account(visit))
    is_revoked = one["revoked_at"] is not None
    actions = []
    if not is_revoked:
        actions.append(switch_button(visit, one, "Revoke"))
    elif may_restore:
        actions.append(switch_button(visit, one, "Restore"))
    revoked = Stack([Badge("bad", "revoked"), Muted(REVOKERS.get(by, "by the operator"))], lines=True)
    return Row(
        cells=[
            Stack([f"…{one['key_last4']}", Muted(one["key_label"] or "")], lines=True),
            Code(one["install_id"], copy=True) if one["install_id"] else Muted("calls without an install id"),
            Time(one["first_seen_at"]),
            Time(one["last_seen_at"], form="ago"),
            revoked if is_revoked else Badge("good", "in use"),
            Muted(one["last_seen_ua"] or "–"),
        ],
        actions=actions,
        state="off" if is_revoked else None,
    )


def switch_button(visit: Visit, one: Mapping[str, Any], label: str) -> Button:
    """The button that revokes a device or gives it back."""
    hidden = {
        "api_key_id": str(one["api_key_id"]),
        "install_id": one["install_id"] or "",
        "revoked": "true" if label == "Revoke" else "false",
        "scope": visit.query.get("scope", ""),
    }
    return Button(label, TAB.path, hidden, "danger" if label == "Revoke" else "plain", title=f"{label} {name_of(one)}")


def about(visit: Visit) -> Prose:
    """What a seat is."""
    assert visit.summary is not None
    return Prose(
        tip=True,
        paragraphs=[
            f"Your key: {seats_text(visit.summary['limits'])}. A device takes a seat with its first call and keeps it. "
            "Revoking it refuses its next call and frees the seat; it can be restored while a seat is free. What your "
            "operator has revoked, only the operator gives back."
        ],
    )
