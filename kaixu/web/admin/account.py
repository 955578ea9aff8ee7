"""One's own account: the password, the second factor, sessions and tokens."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from kaixu.accounts.operator_identity import OWN
from kaixu.accounts.operator_passwords import LEAST_LENGTH, MOST_LENGTH
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import (
    Badge,
    Button,
    Card,
    Cell,
    Facts,
    Field,
    Form,
    Link,
    Notice,
    Page,
    Part,
    Picture,
    Prose,
    Snippet,
    Time,
)
from kaixu.web.failures import failure_notice
from kaixu.web.form_data import shown_again
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .operator_sessions import end_sessions, session_table
from .operator_tokens import token_table
from .operator_views import ACCOUNT, MAY_TOKENS, METHODS, PEOPLE, TAB, views

PASSWORD = "/gateway/account/password"  # noqa: S105 - an address
TOTP = "/gateway/account/second-factor"
CONFIRM = "/gateway/account/second-factor/confirm"
TOTP_OFF = "/gateway/account/second-factor/off"

DONE = {
    "password": "The password is changed. All your other sessions have ended.",
    "off": "The second factor is switched off.",
    "revoked": "The session has ended.",
    "others": "All your other sessions have ended.",
    "token": "The token is revoked.",
}


def account_pages(site: Site) -> list[Route]:
    """The routes of the account."""
    pages = ((ACCOUNT, account), (PASSWORD, password), (TOTP, totp), (CONFIRM, confirm), (TOTP_OFF, totp_off))
    return [
        route for path, build in pages for route in site.operator_page(path, build, tab=TAB, access=OWN, posts=True)
    ]


async def account(visit: Visit) -> Page | Reply:
    """The account; a POST ends a session or revokes a token."""
    parts: list[Part] = [views(visit)]
    status = 200
    if visit.is_post:
        try:
            if visit.form.get("token_id"):
                await visit.api.send("DELETE", "admin-tokens", token_id=visit.form.get("token_id"))
                return visit.redirect(ACCOUNT, done="token")
            return visit.redirect(ACCOUNT, done=await end_sessions(visit))
        except ApiFailure as failure:
            status = failure.status
            parts.append(failure_notice(failure))
    me = (await visit.api.get("admin-session-check"))["operator"]
    if visit.query.get("done") in DONE:
        parts.append(Notice(state="good", text=DONE[visit.query["done"]]))
    if me["id"] is None:
        parts.append(admin_password_notice(visit))
        return Page(title="My account", parts=[*parts, Card("Login", [Facts(facts(me))], width=6)], status=status)
    sessions = await visit.api.get("admin-sessions", operator_id=me["id"], limit=20)
    parts += [
        Card("Login", [Facts(facts(me))], width=6),
        Card("Second factor", factor_parts(me), width=6),
        Card("Password", [password_form()], width=6, id="password"),
        Card("Sessions", [Prose(paragraphs=[END_OTHERS]), end_others()], width=6),
        session_table(visit, sessions["sessions"], ACCOUNT),
    ]
    if visit.may(MAY_TOKENS):
        tokens = await visit.api.get("admin-tokens", operator_id=me["id"], limit=20)
        parts.append(token_table(tokens["tokens"], ACCOUNT))
    return Page(title="My account", subtitle=me["email"] or "", parts=parts, status=status)


END_OTHERS = "If you have forgotten to log out somewhere, end everything but this session."


def end_others() -> Button:
    """Ends all of one's own sessions but this one."""
    return Button("End all other sessions", ACCOUNT, hidden={"others": "true"}, icon="log-out")


def admin_password_notice(visit: Visit) -> Notice:
    """Why there is nothing to change here."""
    return Notice(
        state="info",
        text="You are logged in with the admin password of the environment. It has no account of its own.",
        hint="Create an operator for yourself, and log in as that one: then there is a password, a second factor, and "
        "your name in the audit log.",
        actions=[Link("Operators", PEOPLE)],
    )


def facts(me: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """Who is logged in."""
    return [
        ("Name", me["name"] or "–"),
        ("E-mail", me["email"] or "–"),
        ("Role", me["role"]),
        ("Logged in with", METHODS.get(me["method"], me["method"] or "–")),
        ("This session ends", Time(me["expires_at"])),
    ]


def password_form() -> Form:
    """The form of another password."""
    about = f"{LEAST_LENGTH} characters or more."
    return Form(
        id="password-form",
        action=PASSWORD,
        submit="Change the password",
        fields=[
            Field(name="current_password", label="Current password", type="password", required=True,
                  autocomplete="current-password", maxlength=MOST_LENGTH),
            Field(name="password", label="New password", type="password", required=True, autocomplete="new-password",
                  maxlength=MOST_LENGTH, hint=about),
            Field(name="again", label="Once more", type="password", required=True, autocomplete="new-password",
                  maxlength=MOST_LENGTH),
        ],
    )  # fmt: skip


async def password(visit: Visit) -> Page | Reply:
    """Changes the password."""
    form, status = password_form(), 200
    if visit.is_post:
        try:
            if visit.form.raw("password") != visit.form.raw("again"):
                raise Unprocessable("the two passwords differ", field="again")
            body = {name: visit.form.raw(name) for name in ("current_password", "password")}
            await visit.api.send("POST", "admin-password", body)
            return visit.redirect(ACCOUNT, done="password")
        except Unprocessable as error:
            form, status = shown_again(form, visit.form, error), 422
        except ApiFailure as failure:
            if failure.status == 403:
                failure.field = "current_password"
            form, status = shown_again(form, visit.form, failure), failure.status
    return Page(title="Change the password", parts=[Card("", [form], width=6), Link("My account", ACCOUNT)],
                status=status)  # fmt: skip


def factor_parts(me: Mapping[str, Any]) -> list[Part]:
    """Whether there is a second factor, and the way to change that."""
    if me["has_totp"]:
        state: Cell = Badge("good", "on")
        way = Link("Switch it off", TOTP_OFF)
    else:
        state = Badge("warn", "off")
        way = Link("Set up an authenticator", TOTP)
    about = (
        "With a second factor a login needs your password and a six-digit code of an authenticator on your phone. "
        "Recovery codes are for the day on which the phone is lost."
    )
    return [Facts([("Second factor", state)]), Prose(paragraphs=[about], links=[way])]


def own_password(label: str) -> Field:
    """The password again: a stolen session must not be enough."""
    hint = "Operators of single sign-on without a password leave it empty."
    return Field(name="password", label=label, type="password", autocomplete="current-password",
                 maxlength=MOST_LENGTH, hint=hint)  # fmt: skip


async def totp(visit: Visit) -> Page | Reply:
    """Asks for the password; then shows the QR code, once, with the form of the first code."""
    form = Form(
        action=TOTP,
        submit="Show the QR code",
        cancel=Link("Cancel", ACCOUNT),
        fields=[own_password("Your password")],
    )
    status = 200
    if visit.is_post:
        try:
            offered = await visit.api.send("POST", "admin-totp", {"password": visit.form.raw("password")})
            return offer_page(offered)
        except ApiFailure as failure:
            if failure.status == 403:
                failure.field = "password"
            form, status = shown_again(form, visit.form, failure), failure.status
    text = "Until a code of the new authenticator is confirmed, nothing changes."
    return Page(title="Set up an authenticator", parts=[Card("", [Prose(paragraphs=[text]), form], width=6)],
                status=status)  # fmt: skip


def offer_page(offered: Mapping[str, Any]) -> Page:
    """The QR code, and where the first code goes."""
    image = b64encode(offered["qr_svg"].encode()).decode()
    steps = [
        "Scan the code with an authenticator app, or type the secret into it.",
        "Type the six digits that it shows. Only then the second factor is on.",
    ]
    picture = Picture(f"data:image/svg+xml;base64,{image}", text="QR code of the new secret", width=220)
    return Page(
        title="Scan the QR code",
        parts=[
            Card("1. Scan", [picture, Snippet(offered["secret"], title="Secret")], width=6),
            Card("2. Confirm", [Prose(paragraphs=[], items=steps), confirm_form()], width=6),
        ],
    )


def confirm_form() -> Form:
    """The form of the first code."""
    return Form(
        id="confirm",
        action=CONFIRM,
        submit="Switch it on",
        cancel=Link("Cancel", ACCOUNT),
        fields=[
            Field(name="code", label="Code", required=True, autocomplete="one-time-code", maxlength=40,
                  placeholder="123456")
        ],
    )  # fmt: skip


async def confirm(visit: Visit) -> Page | Reply:
    """Switches the second factor on, and shows the recovery codes once."""
    if not visit.is_post:
        return visit.redirect(ACCOUNT)
    try:
        codes = (await visit.api.send("PUT", "admin-totp", {"code": visit.form.get("code")}))["recovery_codes"]
    except ApiFailure as failure:
        if failure.status in (400, 403, 422):
            failure.field = "code"
        form = shown_again(confirm_form(), visit.form, failure)
        parts: list[Part] = [Card("2. Confirm", [form], width=6), Link("Begin again with a new QR code", TOTP)]
        return Page(title="Confirm the authenticator", parts=parts, status=failure.status)
    hint = "Each works once instead of a code. Keep them where your phone is not."
    snippet = Snippet("\n".join(codes), title="Recovery codes", secret=True, hint=hint)
    return Page(
        title="The second factor is on",
        parts=[Card("Recovery codes", [snippet], width=6), Link("My account", ACCOUNT)],
    )


async def totp_off(visit: Visit) -> Page | Reply:
    """Says what switching it off means; a POST does it."""
    form = Form(
        action=TOTP_OFF,
        submit="Switch it off",
        style="danger",
        cancel=Link("Cancel", ACCOUNT),
        fields=[own_password("Your password")],
    )
    status = 200
    if visit.is_post:
        try:
            await visit.api.send("DELETE", "admin-totp", {"password": visit.form.raw("password")})
            return visit.redirect(ACCOUNT, done="off")
        except ApiFailure as failure:
            if failure.status == 403:
                failure.field = "password"
            form, status = shown_again(form, visit.form, failure), failure.status
    text = "From then on your password alone is enough, and your recovery codes stop counting."
    parts: list[Part] = [Notice(state="warn", text=text), Card("", [form], width=6)]
    return Page(title="Switch the second factor off?", parts=parts, status=status)
