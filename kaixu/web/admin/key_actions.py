"""Changes of a key by one press or on a page that asks first: revoke, restore, rotate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from kaixu.accounts.operator_identity import KEYS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import NotFound, Unprocessable
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Button, Card, Facts, Field, Form, Link, Notice, Option, Page, Prose, Time
from kaixu.web.form_data import shown_again
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .handover import handover

TAB = TABS["keys"]
NEW = "/gateway/keys/new"
CHANGE = "/gateway/keys/change"
ROTATE = "/gateway/keys/rotate"
REVOKE = "/gateway/keys/revoke"
DETAILS = "/gateway/key"

#: The fields of the list that a change comes back to.
KEPT = ("q", "revoked", "role", "sort", "order")

OVERLAPS = (
    Option("0", "none: the old key stops at once"),
    Option("3600", "one hour"),
    Option("86400", "one day"),
    Option("604800", "seven days"),
)


def key_action_pages(site: Site) -> list[Route]:
    """The routes of the changes."""
    return [
        *site.operator_page(REVOKE, revoke, tab=TAB, access=KEYS, posts=True),
        *site.operator_page(ROTATE, rotate, tab=TAB, access=KEYS, posts=True),
    ]


async def key_of(visit: Visit, text: str) -> Mapping[str, Any]:
    """The selected customer's key with this id. Raises `NotFound`."""
    chain = await chain_of(visit, text)
    return next(one for one in chain if str(one["id"]) == text)


async def chain_of(visit: Visit, text: str) -> list[dict[str, Any]]:
    """A key of the selected customer with those that it replaced and that replaced it. Raises `NotFound`."""
    found: list[dict[str, Any]] = []
    if visit.customer is not None and text.isascii() and text.isdigit() and 0 < int(text[:19]) < 10**18:
        reply = await visit.api.get("admin-keys", customer_id=visit.customer_id, chain_of=text)
        found = reply["keys"]
    if not any(str(one["id"]) == text for one in found):
        raise NotFound("this customer has no such key", hint="Choose one of the list.", code="UNKNOWN_KEY")
    return found


def revoke_button(visit: Visit, key: Mapping[str, Any], *, label: str = "", back: str = "") -> Button:
    """Revokes a key at once, or restores it. `back`: "key" shows its details afterwards."""
    is_revoked = key["revoked_at"] is not None
    hidden = {
        "customer_id": str(key["customer_id"]),
        "key_id": str(key["id"]),
        "change": "restore" if is_revoked else "revoke",
        **({"back": back} if back else {name: visit.query[name] for name in KEPT if visit.query.get(name)}),
    }
    title = f"{'Restore' if is_revoked else 'Revoke'} key …{key['key_last4']}"
    words = "Un-revoke" if is_revoked else "Revoke"
    return Button(label or words, REVOKE, hidden=hidden, style="plain" if is_revoked else "danger", title=title)


async def revoke(visit: Visit) -> Page | Reply:
    """Revoke the key, or restore it; the page after it offers to undo that."""
    if not visit.is_post or visit.customer is None:
        return visit.redirect(TAB.path, customer_id=visit.customer_id)
    key = await key_of(visit, visit.form.get("key_id"))
    change = visit.form.get("change")
    if change not in ("revoke", "restore"):
        raise Unprocessable("the form does not say whether to revoke or restore", field="change")
    await visit.api.send("PATCH", "admin-keys", {"revoked": change == "revoke"}, key_id=key["id"])
    done = "revoked" if change == "revoke" else "restored"
    if visit.form.get("back") == "key":
        return visit.redirect(DETAILS, customer_id=visit.customer_id, key_id=key["id"], done=done)
    filters = {name: visit.form.get(name) for name in KEPT}
    return visit.redirect(TAB.path, customer_id=visit.customer_id, **filters, done=done, done_id=key["id"])


def revoked_notice(visit: Visit, key: Mapping[str, Any], word: str, *, back: str = "") -> list[Notice]:
    """What was just done to a key, with a way back; nothing where it is not so any more."""
    if word not in ("revoked", "restored") or (key["revoked_at"] is not None) != (word == "revoked"):
        return []
    undo: list[Button | Link] = []
    if visit.may(KEYS) and key["replaced_by"] is None:
        undo.append(revoke_button(visit, key, label="Undo", back=back))
    name = f"Key …{key['key_last4']} ({key['label']})"
    if word == "restored":
        return [Notice(state="good", text=f"{name} works again.", actions=undo, ends_after_s=10)]
    text = f"{name} is revoked: its next call is refused, and so are its sessions."
    return [Notice(state="warn", text=text, actions=undo, ends_after_s=10)]


async def rotate(visit: Visit) -> Page | Reply:
    """What a rotation does, the form that asks for the overlap, and the new key."""
    key = await key_of(visit, visit.form.get("key_id") or visit.query.get("key_id", ""))
    form = Form(
        action=ROTATE,
        hidden={
            "customer_id": str(visit.customer_id),
            "key_id": str(key["id"]),
            "idempotency_key": visit.form.get("idempotency_key") or str(uuid4()),
        },
        fields=[
            Field(name="overlap_s", label="Overlap", type="select", value="0", options=OVERLAPS,
                  hint="How long the old key goes on beside the new one. Choose none for a key that has leaked."),
        ],
        submit="Rotate this key",
        style="danger",
        cancel=Link("Keep the key", visit.url(TAB.path, customer_id=visit.customer_id)),
    )  # fmt: skip
    if not visit.is_post:
        return rotate_page(key, form) if key["replaced_by"] is None else rotated_before(visit, key)
    try:
        reply = await visit.api.send(
            "PUT",
            "admin-keys",
            rotate_key_id=key["id"],
            overlap_s=visit.form.number("overlap_s") or 0,
            idempotency_key=visit.form.get("idempotency_key"),
        )
    except (ApiFailure, Unprocessable) as failure:
        return rotate_page(key, shown_again(form, visit.form, failure), status=failure.status)
    return await rotated_page(visit, key, reply)


def rotate_page(key: Mapping[str, Any], form: Form, *, status: int = 200) -> Page:
    """What will happen, and the form."""
    about = Prose(
        paragraphs=[
            "The gateway makes a new key with the same settings, role and expiry, and shows it once. The old one is "
            "refused from its next call on, or once the overlap is over."
        ],
        items=[
            "Devices, rates and this month's spend go on: both keys share them while they overlap.",
            "A change of limits or allowlists of one is one of both.",
            "A key that was rotated can neither be rotated again nor restored; its successor can.",
        ],
    )
    facts = Facts(
        [
            ("Key", f"{key['id']}, …{key['key_last4']}"),
            ("Label", key["label"]),
            ("Role", key["role"]),
            ("Last seen", Time(key["last_seen_at"], form="ago", none="never")),
            ("Expires", Time(key["expires_at"], none="never")),
        ]
    )
    parts = [Card("The key", [facts], width=6), Card("What happens", [about], width=6), Card("Rotate", [form])]
    return Page(title=f"Rotate key …{key['key_last4']}", parts=parts, status=status)


def rotated_before(visit: Visit, key: Mapping[str, Any]) -> Page:
    """The page of a key that has a successor."""
    text = f"Key …{key['key_last4']} was rotated before: key {key['replaced_by']} has taken its place."
    where = visit.url(ROTATE, customer_id=visit.customer_id, key_id=key["replaced_by"])
    notice = Notice(state="info", text=text, actions=[Link("Rotate its successor", where)])
    keys = Link("Keys of this customer", visit.url(TAB.path, customer_id=visit.customer_id))
    return Page(title=f"Rotate key …{key['key_last4']}", parts=[notice, keys])


async def rotated_page(visit: Visit, key: Mapping[str, Any], reply: Mapping[str, Any]) -> Page:
    """The new key, once; a form that was sent twice has rotated once, and shows no key."""
    new = reply["new_key"]
    keys = Link("Keys of this customer", visit.url(TAB.path, customer_id=visit.customer_id))
    title = f"Key …{key['key_last4']} is replaced by …{new['key_last4']}"
    if not reply["applied"]:
        text = "This form was sent before. The key was rotated then, and the new one shown then: it is not stored."
        hint = "If nobody has a copy, rotate the new key."
        again = Link("Rotate the new key", visit.url(ROTATE, customer_id=visit.customer_id, key_id=new["id"]))
        return Page(title=title, parts=[Notice(state="warn", text=text, hint=hint, actions=[again, keys])])
    return Page(title=title, parts=[*await handover(visit, new, needs_install=bool(key["require_install_id"])), keys])
