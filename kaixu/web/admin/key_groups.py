"""Groups of a customer's keys: the list, and the pages that create, change and delete one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.accounts.operator_identity import KEYS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import NotFound, Unprocessable
from kaixu.web.api_calls import ApiFailure, QueryValue
from kaixu.web.components import (
    Card,
    Column,
    Empty,
    Facts,
    Field,
    Form,
    Link,
    Money,
    Notice,
    Number,
    Page,
    Part,
    Prose,
    Row,
    Stack,
    Table,
    Time,
)
from kaixu.web.form_data import FormData, shown_again
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .choose_customer import choose_customer
from .key_actions import TAB
from .keys import GROUPS, held_of
from .limit_words import cents_text, money_or, number_or

CHANGE = "/gateway/key-groups/change"
DELETE = "/gateway/key-groups/delete"

DONE = {
    "created": "The group is created. Keys are put into it by their settings.",
    "changed": "Saved. The new limits hold from the next call on.",
    "deleted": "The group is deleted.",
}
FORM_NAMES = {"monthly_cap_cents": "monthly_cap", "day_cap_cents": "day_cap"}


def key_group_pages(site: Site) -> list[Route]:
    """The routes of groups."""
    return [
        *site.operator_page(GROUPS, groups, tab=TAB, posts=True, twin=list_of),
        *site.operator_page(CHANGE, change, tab=TAB, access=KEYS, posts=True),
        *site.operator_page(DELETE, delete, tab=TAB, access=KEYS, posts=True),
    ]


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list."""
    return "admin-key-groups", {"customer_id": visit.customer_id}


async def groups(visit: Visit) -> Page | Reply:
    """The list, and the form of a new group."""
    if visit.customer is None:
        choice = await choose_customer(visit, "Here are the groups of a customer's keys.", also_off=True)
        return Page(title="Key groups", parts=[choice])
    form = group_form(visit, {}, action=GROUPS, submit="Create group")
    status = 200
    if visit.is_post:
        try:
            body = {"customer_id": visit.customer_id, **read_group(visit.form)}
            await visit.api.send("POST", "admin-key-groups", body)
        except (ApiFailure, Unprocessable) as failure:
            form, status = again(form, visit, failure), failure.status
        else:
            return visit.redirect(GROUPS, customer_id=visit.customer_id, done="created")
    name, query = list_of(visit)
    listed = (await visit.api.get(name, **query))["groups"]
    parts: list[Part] = []
    if (word := visit.query.get("done", "")) in DONE and not visit.is_post:
        parts.append(Notice(state="good", text=DONE[word]))
    parts.append(table(visit, listed))
    if visit.may(KEYS):
        parts.append(Card("Create a group", [form], width=7))
    parts.append(Card("What groups are for", [ABOUT], width=5))
    return Page(
        title="Key groups",
        subtitle=f"Of {visit.customer['email']}.",
        parts=parts,
        actions=[Link("Keys", visit.url(TAB.path, customer_id=visit.customer_id), icon=TAB.icon)],
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
        status=status,
    )


ABOUT = Prose(
    tip=True,
    paragraphs=[
        "A group has limits for all of its keys together, such as those of a team. They hold beside the limits of each "
        "key and of the customer."
    ],
    items=[
        "A key is in one group at most; its rotations are in the same.",
        "The group's month is that of the keys that are in it now: a key brings what it has spent, and takes it along.",
        "A group with keys that are not revoked cannot be deleted: they would lose their limits.",
    ],
)


def table(visit: Visit, listed: list[dict[str, Any]]) -> Table:
    """The groups."""
    return Table(
        id="groups",
        caption="Groups",
        columns=[
            Column(title="ID", align="right"),
            Column(title="Name", wide=True),
            Column(title="Active keys", align="right"),
            Column(title="Spent", align="right"),
            Column(title="Available", align="right"),
            Column(title="Monthly cap", align="right"),
            Column(title="Cap of a day", align="right"),
            Column(title="RPM", align="right"),
            Column(title="TPM", align="right", hint="Tokens a minute"),
            Column(title="Created", phone=False),
        ],
        rows=[
            Row(
                drawer=False,
                cells=[
                    one["id"],
                    one["name"],
                    Number(one["active_keys"]),
                    Stack([Money(one["spent_usd"]), held_of(one)], lines=True),
                    Money(one["available_usd"]) if "available_usd" in one else "customer cap",
                    money_or(one["monthly_cap_cents"], "customer cap"),
                    money_or(one["day_cap_cents"], "none"),
                    number_or(one["rpm_limit"], "each key's"),
                    number_or(one["tpm_limit"], "each key's"),
                    Time(one["created_at"], form="date"),
                ],
                actions=[
                    Link("Change", visit.url(CHANGE, customer_id=visit.customer_id, group_id=one["id"])),
                    Link("Delete", visit.url(DELETE, customer_id=visit.customer_id, group_id=one["id"])),
                ]
                if visit.may(KEYS)
                else [],
            )
            for one in listed
        ],
        empty=Empty(text="This customer has no groups. Its keys have limits of their own, and share the customer cap."),
    )


def group_form(visit: Visit, row: Mapping[str, Any], *, action: str, submit: str) -> Form:
    """A group's settings."""
    hidden = {"customer_id": str(visit.customer_id)}
    if row:
        hidden["group_id"] = str(row["id"])
    list_link = Link("Cancel", visit.url(GROUPS, customer_id=visit.customer_id))
    return Form(
        action=action,
        submit=submit,
        hidden=hidden,
        cancel=list_link if row else None,
        fields=[
            Field(name="name", label="Name", required=True, maxlength=60, value=row.get("name", ""),
                  placeholder="research"),
            Field(name="monthly_cap", label="Monthly cap", unit="USD", maxlength=20,
                  value=cents_text(row.get("monthly_cap_cents")) or "",
                  hint="Empty: the customer cap binds, and each key's own."),
            Field(name="day_cap", label="Cap of a day", unit="USD", maxlength=20,
                  value=cents_text(row.get("day_cap_cents")) or "", hint="Days are UTC. Empty: none."),
            Field(name="rpm_limit", label="Requests a minute", type="number", min="0",
                  value=text_of(row.get("rpm_limit")), hint="Of all its keys. Empty: only each key's own limit."),
            Field(name="tpm_limit", label="Tokens a minute", type="number", min="0",
                  value=text_of(row.get("tpm_limit")), hint="Of all its keys. Empty: only each key's own limit."),
        ],
    )  # fmt: skip


def text_of(value: int | None) -> str:
    """A number as the value of a field."""
    return "" if value is None else str(value)


def read_group(form: FormData) -> dict[str, Any]:
    """The form as the API takes it. Raises `Unprocessable`."""
    return {
        "name": form.get("name"),
        "monthly_cap_cents": form.cents("monthly_cap"),
        "day_cap_cents": form.cents("day_cap"),
        "rpm_limit": form.number("rpm_limit"),
        "tpm_limit": form.number("tpm_limit"),
    }


def again(form: Form, visit: Visit, failure: ApiFailure | Unprocessable) -> Form:
    """The form with what was wrong."""
    if failure.field is not None:
        failure.field = FORM_NAMES.get(failure.field, failure.field)
    return shown_again(form, visit.form, failure)


async def group_of(visit: Visit) -> Mapping[str, Any]:
    """The selected customer's group. Raises `NotFound`."""
    text = visit.form.get("group_id") or visit.query.get("group_id", "")
    listed = []
    if visit.customer is not None:
        listed = (await visit.api.get("admin-key-groups", customer_id=visit.customer_id))["groups"]
    for one in listed:
        if str(one["id"]) == text:
            found: Mapping[str, Any] = one
            return found
    raise NotFound("this customer has no such group", hint="Choose one of the list.", code="UNKNOWN_GROUP")


async def change(visit: Visit) -> Page | Reply:
    """The form with a group's settings."""
    group = await group_of(visit)
    form = group_form(visit, group, action=CHANGE, submit="Save")
    status = 200
    if visit.is_post:
        try:
            await visit.api.send("PATCH", "admin-key-groups", read_group(visit.form), group_id=group["id"])
        except (ApiFailure, Unprocessable) as failure:
            form, status = again(form, visit, failure), failure.status
        else:
            return visit.redirect(GROUPS, customer_id=visit.customer_id, done="changed")
    parts = [Card("Limits of the group", [form], width=7), Card("What groups are for", [ABOUT], width=5)]
    return Page(title=f"Change group {group['name']}", parts=parts, status=status)


async def delete(visit: Visit) -> Page | Reply:
    """What a deletion does, and the form."""
    group = await group_of(visit)
    form = Form(
        action=DELETE,
        hidden={"customer_id": str(visit.customer_id), "group_id": str(group["id"])},
        fields=[],
        submit="Delete this group",
        style="danger",
        cancel=Link("Keep the group", visit.url(GROUPS, customer_id=visit.customer_id)),
    )
    status = 200
    if visit.is_post:
        try:
            await visit.api.send("DELETE", "admin-key-groups", group_id=group["id"])
        except ApiFailure as failure:
            form, status = shown_again(form, visit.form, failure), failure.status
        else:
            return visit.redirect(GROUPS, customer_id=visit.customer_id, done="deleted")
    facts = Facts(
        [("Active keys in it", Number(group["active_keys"])), ("Spent this month", Money(group["spent_usd"]))]
    )
    about = Prose(
        paragraphs=[
            "The group and its limits are removed. Revoked keys that were in it stay as they are; what was spent stays "
            "in the books of the customer. Keys that are not revoked must leave the group first."
        ]
    )
    return Page(
        title=f"Delete group {group['name']}", parts=[Card("What happens", [facts, about, form])], status=status
    )
