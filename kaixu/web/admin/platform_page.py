"""One surface of the platform tab: its facts, the form of its notes, and its document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from kaixu.accounts.operator_identity import SETTINGS
from kaixu.accounts.platforms import HEALTH, LIFECYCLE, MOST_NOTES, MOST_OWNER, MOST_STATE_BYTES, ONBOARDING
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import (
    Badge,
    Card,
    Cell,
    Code,
    Facts,
    Field,
    Form,
    Link,
    Notice,
    Option,
    Page,
    Part,
    Prose,
    Snippet,
    Time,
)
from kaixu.web.form_data import shown_again
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

TAB = TABS["platforms"]
SURFACE = "/gateway/platforms/surface"
STATE = "/gateway/platforms/document"
DELETE = "/gateway/platforms/delete-document"

#: A document as a form sends it: each of its characters may take three.
MOST_FORM_BYTES = 4 * MOST_STATE_BYTES

CHOICES = (
    ("health_status", "Health", HEALTH),
    ("onboarding_stage", "Onboarding", ONBOARDING),
    ("lifecycle_status", "Lifecycle", LIFECYCLE),
)


def platform_page_routes(site: Site) -> list[Route]:
    """The routes of one surface."""
    return [
        *site.operator_page(SURFACE, surface, tab=TAB, posts=True),
        *site.operator_page(STATE, document, tab=TAB, access=SETTINGS, posts=True, max_body_bytes=MOST_FORM_BYTES),
        *site.operator_page(DELETE, delete_document, tab=TAB, access=SETTINGS, posts=True),
    ]


def surface_path(app_id: str) -> str:
    """The address of a surface's page."""
    return f"{SURFACE}?app_id={quote(app_id, safe='')}"


def app_of(visit: Visit) -> str:
    """The surface that the page is about."""
    return visit.form.get("app_id") or visit.query.get("app_id", "")


async def surface(visit: Visit) -> Page | Reply:
    """The facts and the notes; a POST saves the notes."""
    reply = await visit.api.get("admin-platform-state", app_id=app_of(visit))
    one = reply["platform"]
    form = ops_form(one)
    status = 200
    if visit.is_post:
        # Saving replaces the notes whole: what the form does not show is kept.
        body = {name: visit.form.get(name) for name, _, _ in CHOICES}
        body |= {"app_id": one["app_id"], "owner": visit.form.get("owner"), "notes": visit.form.raw("notes")}
        try:
            await visit.api.send("PUT", "admin-platform-ops", {**body, "flags": one["platform_ops"]["flags"]})
            return visit.redirect(TAB.path, done="saved")
        except ApiFailure as failure:
            form, status = shown_again(form, visit.form, failure), failure.status
    may_change = visit.may(SETTINGS)
    parts: list[Part] = [Card("Surface", [facts(one)], width=6)]
    if may_change:
        parts.append(Card("Notes of operators", [form], width=6, id="ops"))
    else:
        parts.append(Card("Notes of operators", [noted(one["platform_ops"])], width=6, id="ops"))
    parts.append(Card("Document", document_parts(reply, may_change=may_change)))
    url = one["launch_url"]
    actions = [Link("Launch", url, icon="rocket", external=not url.startswith("/")), Link("All surfaces", TAB.path)]
    return Page(title=one["title"], subtitle=one["description"], parts=parts, actions=actions, status=status)


def facts(one: Mapping[str, Any]) -> Facts:
    """What kaixu.yaml says, and what the gateway found."""
    check = one["health"]
    items: list[tuple[str, Cell]] = [
        ("App id", Code(one["app_id"], copy=True)),
        ("Launch address", one["launch_url"]),
        ("Visibility", one["visibility"]),
        ("Storage", f"{one['storage_mode']}: {one['storage_status']}"),
        ("Summary", one["summary_text"] or "–"),
    ]
    if check["state"] == "unchecked":
        items.append(("Health address", "none in kaixu.yaml"))
    else:
        found = Badge("good", "up") if check["state"] == "up" else Badge("bad", "down", hint=check["error"] or "")
        items += [
            ("Health address", found),
            ("Status", "–" if check["status"] is None else str(check["status"])),
            ("Looked at", Time(check["checked_at"], form="ago")),
            ("Since", Time(check["since"])),
        ]
        if check["error"]:
            items.append(("Problem", check["error"]))
    return Facts(items)


def noted(ops: Mapping[str, Any]) -> Facts:
    """The notes, for those who may only read them."""
    items: list[tuple[str, Cell]] = [(label, ops[name]) for name, label, _ in CHOICES]
    items += [
        ("Owner", ops["owner"] or "–"),
        ("Notes", ops["notes"] or "–"),
        ("Updated by", ops["updated_by"] or "–"),
        ("Updated", Time(ops["updated_at"], none="never")),
    ]
    return Facts(items)


def ops_form(one: Mapping[str, Any]) -> Form:
    """The form of the notes."""
    ops = one["platform_ops"]
    return Form(
        id="ops-form",
        action=SURFACE,
        submit="Save ops",
        hidden={"app_id": one["app_id"]},
        hint=f"Last saved by {ops['updated_by']}." if ops["updated_by"] else "",
        fields=[
            *(
                Field(name=name, label=label, type="select", value=ops[name],
                      options=[Option(value, value) for value in values])
                for name, label, values in CHOICES
            ),
            Field(name="owner", label="Owner", value=ops["owner"], maxlength=MOST_OWNER, hint="Who looks after it."),
            Field(name="notes", label="Notes", type="textarea", value=ops["notes"], maxlength=MOST_NOTES, rows=5),
        ],
    )  # fmt: skip


def document_parts(reply: Mapping[str, Any], *, may_change: bool) -> list[Part]:
    """The document, and how it is changed."""
    app_id, state = reply["app"]["app_id"], reply["state"]
    if reply["app"]["storage_mode"] != "platform-state":
        text = (
            "This surface keeps its data elsewhere. With storage_mode: platform-state it could store a document here."
        )
        return [Prose(paragraphs=[text])]
    query = f"?app_id={quote(app_id, safe='')}"
    ways: list[Link] = []
    if may_change:
        ways.append(Link("Replace the document" if state is not None else "Store a document", STATE + query))
        if state is not None:
            ways.append(Link("Delete the document", DELETE + query, icon="trash-2"))
    links = Prose(paragraphs=[], links=ways)
    if state is None:
        return [Prose(paragraphs=["The surface has stored no document yet."]), links]
    one = reply["platform"]
    about = Facts([("Stored by", one["updated_by"] or "–"), ("Updated", Time(one["updated_at"]))])
    return [about, Snippet(pretty(state), language="json", title="Document"), links]


def pretty(state: object) -> str:
    """A document as text."""
    return msgspec.json.format(msgspec.json.encode(state), indent=2).decode()


async def document(visit: Visit) -> Page | Reply:
    """The form that replaces a document."""
    reply = await visit.api.get("admin-platform-state", app_id=app_of(visit))
    app_id, title = reply["app"]["app_id"], reply["app"]["title"]
    form = Form(
        action=STATE,
        submit="Store the document",
        hidden={"app_id": app_id},
        cancel=Link("Cancel", surface_path(app_id)),
        fields=[
            Field(name="state", label="Document", type="textarea", rows=18, required=True,
                  value=pretty(reply["state"] if reply["state"] is not None else {}),
                  hint=f"A JSON object of at most {MOST_STATE_BYTES // 1024} KiB. It replaces what is stored."),
        ],
    )  # fmt: skip
    status = 200
    if visit.is_post:
        try:
            await visit.api.send("PUT", "admin-platform-state", {"state": json_object(visit)}, app_id=app_id)
            return visit.redirect(TAB.path, done="stored")
        except Unprocessable as error:
            form, status = shown_again(form, visit.form, error), 422
        except ApiFailure as failure:
            form, status = shown_again(form, visit.form, failure), failure.status
    return Page(title=f"Document of {title}", parts=[Card("", [form])], status=status)


def json_object(visit: Visit) -> dict[str, Any]:
    """The document of the form. Raises `Unprocessable`."""
    try:
        state = msgspec.json.decode(visit.form.raw("state"))
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unprocessable(f"this is not JSON: {error}", field="state") from None
    if not isinstance(state, dict):
        raise Unprocessable("this must be a JSON object, in {…}", field="state")
    return state


async def delete_document(visit: Visit) -> Page | Reply:
    """Says what is deleted; a POST deletes it."""
    reply = await visit.api.get("admin-platform-state", app_id=app_of(visit))
    app_id, title = reply["app"]["app_id"], reply["app"]["title"]
    if visit.is_post:
        await visit.api.send("DELETE", "admin-platform-state", app_id=app_id)
        return visit.redirect(TAB.path, done="deleted")
    if reply["state"] is None:
        return Page(title=title, parts=[Notice(state="info", text="There is no document."), Link("Back", TAB.path)])
    text = (
        f"The document of {title} is removed from the gateway. The surface starts without it the next time. "
        "The audit log keeps who deleted it and its hash, not its content: copy it first if you may need it."
    )
    form = Form(
        action=DELETE,
        fields=[],
        submit="Delete the document",
        style="danger",
        hidden={"app_id": app_id},
        cancel=Link("Cancel", surface_path(app_id)),
    )
    parts: list[Part] = [Notice(state="warn", text=text), Snippet(pretty(reply["state"]), title="Document"), form]
    return Page(title="Delete the document?", parts=parts)
