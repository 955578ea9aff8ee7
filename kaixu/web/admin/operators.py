"""The people of the tab of operators: list, create, change, switch off, and what is given anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from kaixu.accounts.operator_identity import OPERATORS
from kaixu.accounts.operator_passwords import LEAST_LENGTH, MOST_LENGTH
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import NotFound
from kaixu.web.addresses import gateway_url
from kaixu.web.api_calls import ApiFailure, QueryValue
from kaixu.web.components import (
    Button,
    Card,
    Cell,
    Column,
    Empty,
    Facts,
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
    Snippet,
    Stack,
    Table,
    Time,
)
from kaixu.web.failures import failure_notice
from kaixu.web.form_data import shown_again
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .audit import audit, audit_routes
from .operator_sessions import session_routes
from .operator_tokens import token_routes
from .operator_views import (
    AUDIT,
    NEW,
    PEOPLE,
    PERSON,
    RESET,
    ROLE_OPTIONS,
    ROLE_WORDS,
    SESSIONS,
    TAB,
    TOKENS,
    state_of,
    views,
    ways_in,
)

#: What is given anew: what happens, and the word on the button.
RESETS = {
    "password": (
        "A new password",
        "The gateway makes a new password, shows it once, and ends every session. The old password stops working.",
        "Make a new password",
    ),
    "invitation": (
        "A new invitation",
        "The gateway makes a link by which the person chooses a password, valid for 72 hours and usable once. An "
        "earlier link stops working; a password that is set keeps working until then.",
        "Make a link",
    ),
    "totp": (
        "Remove the second factor",
        "The authenticator and its recovery codes stop counting: until a new one is set up, the password alone is "
        "enough. Make sure that it is this person who asks.",
        "Remove it",
    ),
    "sso": (
        "Forget the single sign-on user",
        "The gateway forgets which user of the identity provider this is. The next user with the same address becomes "
        "this operator.",
        "Forget it",
    ),
}

DONE = {
    "changed": "The change is saved.",
    "off": "The operator is switched off: sessions have ended, tokens do not work.",
    "on": "The operator is switched on again.",
    "totp": "The second factor is removed.",
    "sso": "The single sign-on user is forgotten.",
}

ABOUT = Prose(
    tip=True,
    paragraphs=[
        "Give each person a login of their own: the audit log then says who did what, and leaving is one switch. "
        "The admin password of the environment stays as the way in when nobody else can log in. Once it is not needed, "
        "switch it off in kaixu.yaml with operators.admin_password."
    ],
    items=[f"{role}: {words}" for role, words in ROLE_WORDS.items()],
)


def operator_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return [
        *site.operator_page(PEOPLE, people, tab=TAB, twin=list_of),
        *site.operator_page(NEW, new, tab=TAB, access=OPERATORS, posts=True),
        *site.operator_page(PERSON, person, tab=TAB, access=OPERATORS, posts=True),
        *site.operator_page(RESET, reset, tab=TAB, access=OPERATORS, posts=True),
        *session_routes(site),
        *token_routes(site),
        *audit_routes(site),
    ]


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list."""
    return "admin-operators", {}


def person_path(operator_id: int) -> str:
    """The page of an operator."""
    return f"{PERSON}?operator_id={operator_id}"


async def people(visit: Visit) -> Page | Reply:
    """All operators; for those who may not see them, the audit log."""
    if not visit.may(OPERATORS):
        return await audit(visit)
    rows = (await visit.api.get("admin-operators"))["operators"]
    parts: list[Part] = [views(visit)]
    if (done := done_notice(visit)) is not None:
        parts.append(done)
    table = Table(
        id="operators",
        caption="People",
        columns=[
            Column(title="E-mail", wide=True),
            Column(title="Role"),
            Column(title="State"),
            Column(title="Logs in with"),
            Column(title="Last login"),
            Column(title="Created", phone=False),
        ],
        rows=[operator_row(one) for one in rows],
        empty=Empty(
            text="Nobody has a login of their own yet: everybody shares the admin password.",
            link=Link("Create the first operator", NEW),
        ),
    )
    parts += [table, ABOUT]
    return Page(
        title=TAB.title,
        subtitle="Who may log in here, with which role.",
        parts=parts,
        actions=[Link("Create an operator", NEW, icon="plus")],
        twins=twins_of(visit),
        curl=curl_of(visit, "admin-operators", {}),
    )


def done_notice(visit: Visit) -> Notice | None:
    """The result of the change before; switching off can be taken back for a moment."""
    done = visit.query.get("done", "")
    if done not in DONE:
        return None
    operator_id = visit.query.get("operator_id", "")
    if done == "off" and operator_id.isdecimal():
        undo = Button("Undo", PERSON, hidden={"operator_id": operator_id, "switch": "on"}, icon="undo-2")
        return Notice(state="good", text=DONE[done], actions=[undo], ends_after_s=10)
    return Notice(state="good", text=DONE[done])


def operator_row(one: Mapping[str, Any]) -> Row:
    """An operator's row."""
    name: Cell = Stack([one["email"], Muted(one["name"])], lines=True) if one["name"] else one["email"]
    return Row(
        href=person_path(one["id"]),
        state=None if one["disabled_at"] is None else "off",
        cells=[
            name,
            one["role"],
            state_of(one),
            ways_in(one),
            Time(one["last_login_at"], form="ago", none="never"),
            Time(one["created_at"], form="date"),
        ],
    )


async def new(visit: Visit) -> Page | Reply:
    """The form of a new operator; the reply to it shows the password or the link once."""
    form = Form(
        action=NEW,
        submit="Create the operator",
        cancel=Link("Cancel", PEOPLE),
        fields=[
            Field(name="email", label="E-mail", type="email", required=True, maxlength=254),
            Field(name="name", label="Name", maxlength=200),
            Field(name="role", label="Role", type="select", value="viewer", options=ROLE_OPTIONS),
            Field(
                name="way",
                label="First login",
                type="select",
                value="invite",
                options=[
                    Option("invite", "by a link: the person chooses a password"),
                    Option("password", "with a password that the gateway makes"),
                ],
                hint="Either is shown once, on the next page.",
            ),
        ],
    )
    status = 200
    if visit.is_post:
        body = {name: visit.form.get(name) for name in ("email", "name", "role")}
        try:
            made = await visit.api.send(
                "POST", "admin-operators", {**body, "invite": visit.form.get("way") != "password"}
            )
            return shown_once(visit, made, f"{made['operator']['email']} is created")
        except ApiFailure as failure:
            form, status = shown_again(form, visit.form, failure), failure.status
    parts: list[Part] = [Card("New operator", [form], width=6), Card("Roles", [ABOUT], width=6)]
    return Page(title="Create an operator", parts=parts, status=status)


def shown_once(visit: Visit, made: Mapping[str, Any], title: str) -> Page:
    """A password or an invitation, which only this reply has."""
    one = made["operator"]
    parts: list[Part] = []
    if made["invitation"] is not None:
        hint = f"Send it to {one['email']}. It works once, for 72 hours."
        # Without GATEWAY_URL the API has only the path: the address that the operator uses is the best there is.
        link = made["invitation"] if "://" in made["invitation"] else gateway_url(visit) + made["invitation"]
        parts.append(Card("The invitation", [Snippet(link, title="Link", secret=True, hint=hint)]))
    if made["password"] is not None:
        hint = f"Hand it to {one['email']} on a channel you trust. It can be changed under My account."
        parts.append(Card("The password", [Snippet(made["password"], title="Password", secret=True, hint=hint)]))
    if not parts:
        parts.append(Notice(state="good", text="The password is set."))
    links = [Link("This operator", person_path(one["id"])), Link("All operators", PEOPLE)]
    return Page(title=title, parts=[*parts, Prose(paragraphs=[], links=links)])


async def find(visit: Visit) -> dict[str, Any]:
    """The operator that the page is about. Raises `NotFound`."""
    wanted = visit.form.get("operator_id") or visit.query.get("operator_id", "")
    for one in (await visit.api.get("admin-operators"))["operators"]:
        if str(one["id"]) == wanted:
            found: dict[str, Any] = one
            return found
    raise NotFound("there is no such operator")


async def person(visit: Visit) -> Page | Reply:
    """One operator: facts, name and role, the switch, and what can be given anew."""
    one = await find(visit)
    form = Form(
        id="person",
        action=PERSON,
        submit="Save",
        hidden={"operator_id": str(one["id"])},
        fields=[
            Field(name="name", label="Name", value=one["name"] or "", maxlength=200),
            Field(name="role", label="Role", type="select", value=one["role"], options=ROLE_OPTIONS),
        ],
    )
    status, problem = 200, None
    if visit.is_post:
        switch = visit.form.get("switch")
        body: dict[str, Any] = {"operator_id": one["id"]}
        body |= {"is_disabled": switch == "off"} if switch else {
            "name": visit.form.get("name") or None, "role": visit.form.get("role")
        }  # fmt: skip
        try:
            await visit.api.send("PATCH", "admin-operators", body)
            done = switch if switch in ("on", "off") else "changed"
            return visit.redirect(PEOPLE, done=done, operator_id=one["id"] if done == "off" else None)
        except ApiFailure as failure:
            status = failure.status
            if switch:
                problem = failure_notice(failure)
            else:
                form = shown_again(form, visit.form, failure)
    parts: list[Part] = [problem] if problem is not None else []
    parts += [
        Card("Operator", [Facts(facts(one)), switch_button(one)], width=6),
        Card("Name and role", [form], width=6),
        Card("Give anew", [Prose(paragraphs=[], links=reset_links(one))], width=6),
        Card("More", [Prose(paragraphs=[], links=more_links(one))], width=6),
    ]
    return Page(title=one["email"], subtitle=one["name"] or "", parts=parts, status=status,
                actions=[Link("All operators", PEOPLE)])  # fmt: skip


def facts(one: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """What is known of an operator."""
    return [
        ("State", state_of(one)),
        ("Role", one["role"]),
        ("Logs in with", ways_in(one)),
        ("Last login", Time(one["last_login_at"], none="never")),
        ("Created", Time(one["created_at"])),
        ("Switched off", Time(one["disabled_at"], none="no")),
    ]


def switch_button(one: Mapping[str, Any]) -> Button:
    """Switches the operator off, at once, or on."""
    hidden = {"operator_id": str(one["id"])}
    if one["disabled_at"] is None:
        return Button("Switch off", PERSON, hidden={**hidden, "switch": "off"}, style="danger", icon="ban",
                      title="Sessions end at once")  # fmt: skip
    return Button("Switch on", PERSON, hidden={**hidden, "switch": "on"}, icon="check")


def reset_links(one: Mapping[str, Any]) -> list[Link]:
    """What can be given anew; each leads to a page that says what will happen."""
    links = []
    for name, (title, _, _) in RESETS.items():
        is_there = {"totp": one["has_totp"], "sso": one["has_single_sign_on"]}.get(name, True)
        if is_there:
            links.append(Link(title, f"{RESET}?{urlencode({'operator_id': one['id'], 'reset': name})}"))
    return links


def more_links(one: Mapping[str, Any]) -> list[Link]:
    """Where else this operator is."""
    return [
        Link("Sessions", f"{SESSIONS}?operator_id={one['id']}"),
        Link("API tokens", f"{TOKENS}?operator_id={one['id']}"),
        Link("What they changed", f"{AUDIT}?operator_id={one['id']}"),
        Link("What was changed about them", f"{AUDIT}?{urlencode({'target': 'operator:' + one['email']})}"),
    ]


async def reset(visit: Visit) -> Page | Reply:
    """Says what will happen; a POST does it, and shows what is shown once."""
    one = await find(visit)
    name = visit.form.get("reset") or visit.query.get("reset", "")
    if name not in RESETS:
        raise NotFound("there is nothing of this name to give anew")
    title, text, word = RESETS[name]
    fields: list[Field] = []
    if name == "password":
        fields = [
            Field(name="password", label="Password", type="password", autocomplete="new-password",
                  maxlength=MOST_LENGTH, hint=f"{LEAST_LENGTH} characters or more. Empty: the gateway makes one.")
        ]  # fmt: skip
    form = Form(
        action=RESET,
        fields=fields,
        submit=word,
        style="danger",
        hidden={"operator_id": str(one["id"]), "reset": name},
        cancel=Link("Cancel", person_path(one["id"])),
    )
    status = 200
    if visit.is_post:
        body: dict[str, Any] = {"operator_id": one["id"], "reset": name}
        if name == "password" and visit.form.raw("password"):
            body["password"] = visit.form.raw("password")
        try:
            made = await visit.api.send("PUT", "admin-operators", body)
            if name in ("totp", "sso"):
                return visit.redirect(PEOPLE, done=name)
            return shown_once(visit, made, f"{title} for {one['email']}")
        except ApiFailure as failure:
            form, status = shown_again(form, visit.form, failure), failure.status
    parts: list[Part] = [Notice(state="warn", text=text), Card(one["email"], [form], width=6)]
    return Page(title=f"{title}?", parts=parts, status=status)
